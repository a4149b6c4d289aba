"""What a release's manifest says of a time to event: curves, their contrasts, and shares of events, by one-step estimates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.contract.columns import clusters_of, nuisances_of, survey_weights
from tasks.contract.disclosure import rounded
from tasks.contract.nuisance import Float64, Int8
from tasks.contract.roles import TableSchema
from tasks.contract.survival import TimesToEvent
from tasks.estimation.incidence.record import cause_records
from tasks.estimation.survival.comparison import compare_hazards
from tasks.estimation.survival.numbers import Number, contrast_entries, event_share
from tasks.estimation.survival.risk_sets import ArmRows
from tasks.nuisance.curve_sums import CurveSums
from tasks.targeting.fluctuation import truncate_arms


def survival_record(
    schema: TableSchema, rows: pa.Table, curves: CurveSums, bound: float, strata: npt.NDArray[np.int64] | None = None
) -> dict[str, Any]:
    """Return the estimates of a table's curves.

    Parameters
    ----------
    schema : TableSchema
        With a time to event.
    rows : pyarrow.Table
        Nuisances as :func:`tasks.nuisance.task.collect` gives them, for a time to event.
    curves : CurveSums
        Over all rows.
    bound : float
        Propensities are kept at least so large.
    strata : ndarray of int64, shape (n,), optional
        Number of each row's stratum.

    Returns
    -------
    dict
        ``estimates``: ``survival``, ``rmst`` of arms and ``risk_difference``, ``rmst_difference`` of pairs, with intervals that hold
        alone and together; ``curves``: S(t) of each arm at the end of each period, with its standard error and the rows at risk, rounded
        to five; ``events``: the share of rows with an event, each arm weighted to all rows; ``logrank`` and ``hazard_ratios`` of
        :func:`tasks.estimation.survival.comparison.compare_hazards`, not adjusted. With competing causes ``causes`` holds those of
        :func:`tasks.estimation.incidence.record.cause_records`; all else is about events of any cause.
    """
    outcome = schema.survival
    assert outcome is not None  # the caller looked
    a, time, e = (rows.column(name).to_numpy() for name in ("a", "time", "e"))
    weights = survey_weights(rows)
    w = np.ones(len(a)) if weights is None else weights
    shares = truncate_arms(nuisances_of(rows), bound)
    single = _single(rows, outcome, a, shares, w)
    clusters, came = clusters_of(rows), (e > 0.5).astype(np.float64)
    events = [{"arm": schema.arms[arm], **event_share(came, w * (a == arm) / share, clusters)} for arm, share in enumerate(shares)]
    causes = {"causes": cause_records(schema, rows, curves, shares, w, clusters)} if outcome.causes else {}
    return {
        "estimates": contrast_entries(schema.arms, single, w, clusters),
        "curves": _curves(schema, curves, a, time),
        "events": events,
        **causes,
        **compare_hazards(ArmRows(a, time, e > 0.5, weights, clusters, strata), schema.arms).entries,
    }


def _single(rows: pa.Table, outcome: TimesToEvent, a: Int8, shares: Sequence[Float64], w: Float64) -> list[list[Number]]:
    """Return the numbers of each arm: the restricted mean, then S(t) at each time."""
    numbers = []
    for arm, share in enumerate(shares):
        of_arm = []
        for at, functional in enumerate(outcome.functionals):
            of_all, of_rows = (f"s{at}_{arm}", f"z{at}") if at else (f"q{arm}", "y")
            value, pseudo = (rows.column(name).to_numpy() for name in (of_all, of_rows))
            influence = value + np.where(a == arm, (pseudo - value) / share, 0.0)
            point = float(np.average(influence, weights=w))
            of_arm.append(Number(functional.estimand, arm, None, functional.time, point, influence - point))
        numbers.append(of_arm)
    return numbers


def _curves(schema: TableSchema, curves: CurveSums, a: Int8, time: Float64) -> list[dict[str, Any]]:
    assert schema.survival is not None  # the caller looked
    survival, se = curves.estimate()
    edges = np.array(schema.survival.edges)
    points = []
    for arm, label in enumerate(schema.arms):
        ordered = np.sort(time[a == arm])
        at_risk = len(ordered) - np.searchsorted(ordered, edges, side="left")
        # a one-step curve may leave [0, 1] or rise by a trifle
        falling = np.minimum.accumulate(np.clip(survival[arm], 0.0, 1.0))
        points += [
            {"arm": label, "time": float(t), "survival": float(s), "se": float(error), "at_risk": rounded(int(rows))}
            for t, s, error, rows in zip(edges, falling, se[arm], at_risk, strict=True)
        ]
    return points
