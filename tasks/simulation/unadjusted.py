"""What a trial with a time to event is often planned by: Kaplan and Meier's means, Aalen and Johansen's incidence, log-rank tests."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tasks.contract.nuisance import Float64
from tasks.contract.results import Estimate
from tasks.contract.survival import Functional
from tasks.estimation.contrasts import contrasts_of
from tasks.estimation.incidence.aalen_johansen import aalen_johansen, cause_influence
from tasks.estimation.joint import joint_quantile
from tasks.estimation.survival.kaplan_meier import influence, kaplan_meier
from tasks.estimation.survival.logrank import logrank_test
from tasks.estimation.survival.risk_sets import ArmRows
from tasks.numerics.normal import Z95
from tasks.simulation.survival import TimesData
from tasks.targeting.influence import standard_error

#: The log-rank test's estimand, which has no truth in units of the outcome: hazards of arms that differ need not be proportional.
LOG_RATIO = "log_hazard_ratio"


def unadjusted(name: str, data: TimesData, labels: Sequence[str]) -> tuple[Estimate | None, ...]:
    """Evaluate one of ``UNADJUSTED`` on every number and pair of arms, in the order of ``Population.compared``.

    ``km`` is the difference of restricted means by Kaplan and Meier: the average effect (``"ate"``) in a trial. ``logrank`` is Peto's log
    hazard ratio, whose 95 % interval leaves out 0 where the log-rank test rejects at 5 %; stratified where the data set has strata. ``aj``
    is, where causes compete, the difference of times lost to the cause of interest by Aalen and Johansen, then of its F at each time.

    Parameters
    ----------
    name : str
    data : TimesData
    labels : sequence of K str
        The arms, the control first.

    Returns
    -------
    tuple of Estimate or None
        None where an arm is not followed up to the horizon, or arms are never at risk together.
    """
    rows, arms = ArmRows(data.a, data.y, data.event, strata=data.strata), range(len(labels))
    pairs = contrasts_of(len(labels))
    if name == "logrank":
        groups = [_tests(rows, pairs)]
    elif name == "km":
        groups = [_differences(name, [_mean(rows, arm, data.outcome.horizon) for arm in arms], pairs, len(rows.a))]
    else:
        numbers = ([_number(data, arm, functional) for arm in arms] for functional in data.outcome.of_cause)
        groups = [_differences(name, each, pairs, len(rows.a)) for each in numbers]
    return tuple(
        None if each is None else each._replace(arm=labels[arm], control=labels[control])
        for estimates in groups
        for each, (arm, control) in zip(estimates, pairs, strict=True)
    )


def _tests(rows: ArmRows, pairs: Sequence[tuple[int, int]]) -> list[Estimate | None]:
    n, estimates = len(rows.a), list[Estimate | None]()
    for arm, control in pairs:
        test = logrank_test(rows.of_arms((control, arm)), 2)
        if test is None:
            estimates.append(None)
            continue
        point, se = test.log_ratio, test.error
        one = Estimate(LOG_RATIO, "logrank", point, se, point - Z95 * se, point + Z95 * se, n, float(n), 0.0)
        # pairs are tested one by one: there is no interval for all
        estimates.append(one._replace(joint_low=math.nan, joint_high=math.nan))
    return estimates


def _differences(
    name: str, means: Sequence[tuple[float, Float64] | None], pairs: Sequence[tuple[int, int]], n: int
) -> list[Estimate | None]:
    """Compare numbers of arms with their influence values, each of shape (n,)."""
    w = np.ones(n)
    differences = [
        None if one is None or other is None else (one[0] - other[0], one[1] - other[1])
        for one, other in ((means[arm], means[control]) for arm, control in pairs)
    ]
    there = [values for each in differences if each is not None for values in [each[1]]]
    width = joint_quantile(np.column_stack(there), w) if len(pairs) > 1 and there else Z95
    estimates: list[Estimate | None] = []
    for each in differences:
        if each is None:
            estimates.append(None)
            continue
        point, se = each[0], standard_error(each[1], w)
        one = Estimate("ate", name, point, se, point - Z95 * se, point + Z95 * se, n, float(n), 0.0)
        estimates.append(one._replace(joint_low=point - width * se, joint_high=point + width * se))
    return estimates


def _mean(rows: ArmRows, arm: int, horizon: float) -> tuple[float, Float64] | None:
    """Return an arm's restricted mean and its influence values; None where its curve ends before the horizon."""
    here = rows.a == arm
    time, event = rows.time[here], rows.event[here]
    if len(time) == 0 or not event.any():
        return None
    steps = kaplan_meier(time, event, np.ones(len(time)))
    if float(time.max()) < horizon and steps.survival[-1] > 0.0:
        return None
    values = np.zeros(len(here))
    values[here] = influence(steps, time, event, steps.area(steps.times, horizon), horizon) * len(here)
    return float(steps.area(0.0, horizon)), values


def _number(data: TimesData, arm: int, functional: Functional) -> tuple[float, Float64] | None:
    """Return an arm's time lost, or incidence, of the first cause and its influence values; None where its follow-up ends before."""
    assert data.cause is not None  # causes compete
    here, until = data.a == arm, functional.time
    time, cause = data.y[here], np.minimum(data.cause[here], 2)
    if not cause.any():
        return None
    steps, area = aalen_johansen(time, cause, np.ones(len(time))), functional.estimand == "time_lost"
    if float(time.max()) < until and steps.free[-1] > 0.0:
        return None
    values = np.zeros(len(here))
    values[here] = cause_influence(steps, time, cause, until, area) * len(here)
    return float(steps.area(0.0, until)) if area else steps.at(until), values
