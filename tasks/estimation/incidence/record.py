"""What a release's manifest says of competing causes: incidences, times lost and their contrasts, by one-step estimates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.contract.columns import cause_name
from tasks.contract.disclosure import rounded
from tasks.contract.nuisance import Float64
from tasks.contract.rng import UInt64
from tasks.contract.roles import TableSchema
from tasks.contract.survival import TimesToEvent
from tasks.estimation.survival.numbers import Number, contrast_entries, event_share
from tasks.nuisance.curve_sums import CurveSums


def cause_records(
    schema: TableSchema, rows: pa.Table, curves: CurveSums, shares: Sequence[Float64], w: Float64, clusters: UInt64 | None
) -> list[dict[str, Any]]:
    """Return the estimates of every cause's incidence; none where an event has one cause.

    Parameters
    ----------
    schema : TableSchema
        With a time to event.
    rows : pyarrow.Table
        As in :func:`tasks.estimation.survival.record.survival_record`.
    curves : CurveSums
        Of :class:`tasks.nuisance.survival_fold.TimesPredictions`, over all rows.
    shares : sequence of K ndarray of float64, shape (n,)
        P(A = a | W), truncated.
    w : ndarray of float64, shape (n,)
        Row weights.
    clusters : ndarray of uint64, shape (n,), optional
        Hash of each row's cluster.

    Returns
    -------
    list of dict
        By cause, that of interest first: ``cause``, its label; ``estimates``: ``time_lost``, ``incidence`` of arms and their differences;
        ``curves``: F(t) of each arm at the end of each period; ``events``: the share of rows with an event of the cause.
    """
    outcome = schema.survival
    assert outcome is not None  # the caller looked
    a, time, e = (rows.column(name).to_numpy() for name in ("a", "time", "e"))
    edges, (incidence, se) = np.array(outcome.edges), curves.estimate()
    records = []
    for number, label in enumerate(outcome.causes, start=1):
        of_arms = [_single(rows, outcome, number, arm, a == arm, share, w) for arm, share in enumerate(shares)]
        points, events = [], []
        for arm, share in enumerate(shares):
            ordered, place = np.sort(time[a == arm]), number * len(shares) + arm
            at_risk = len(ordered) - np.searchsorted(ordered, edges, side="left")
            # a one-step curve may leave [0, 1] or fall by a trifle
            rising = np.maximum.accumulate(np.clip(incidence[place], 0.0, 1.0))
            points += [
                {"arm": schema.arms[arm], "time": float(t), "incidence": float(f), "se": float(error), "at_risk": rounded(int(count))}
                for t, f, error, count in zip(edges, rising, se[place], at_risk, strict=True)
            ]
            came = (e == number).astype(np.float64)
            events.append({"arm": schema.arms[arm], **event_share(came, w * (a == arm) / share, clusters)})
        estimates = contrast_entries(schema.arms, of_arms, w, clusters)
        records.append({"cause": label, "estimates": estimates, "curves": points, "events": events})
    return records


def _single(rows: pa.Table, outcome: TimesToEvent, cause: int, arm: int, here: Any, share: Float64, w: Float64) -> list[Number]:
    """Return one arm's numbers of a cause: the time lost, then F(t) at each time."""
    numbers = []
    for at, functional in enumerate(outcome.of_cause):
        value, pseudo = (rows.column(name).to_numpy() for name in (cause_name(cause, at, arm), f"u{cause}_{at}"))
        influence = value + np.where(here, (pseudo - value) / share, 0.0)
        point = float(np.average(influence, weights=w))
        numbers.append(Number(functional.estimand, arm, None, functional.time, point, influence - point))
    return numbers
