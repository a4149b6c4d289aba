"""A time to event in a source: what makes it unusable, and the periods on which its hazards are fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.contract.disclosure import SMALLEST_CELL, few, safe_bounds, tails
from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.nuisance import Float64, Int8
from tasks.contract.roles import TableSchema
from tasks.contract.spec import OutcomeSpec
from tasks.contract.survival import Grid, TimesToEvent

Mask = npt.NDArray[np.bool_]

#: Most periods up to the horizon, declared times aside, and most periods of later follow-up.
PERIODS, LATER = 20, 4
#: Fewest events of an arm up to the horizon that a release is made from.
FEWEST_EVENTS = 10
#: Most competing causes of a release.
MOST_CAUSES = 5


def last_events(name: str, arms: Sequence[str], a: Int8, time: Float64, event: Mask) -> list[float]:
    """Return the time of the last event of each arm.

    Parameters
    ----------
    name : str
        Of the treatment, for messages.
    arms : sequence of K str
        Labels.
    a : ndarray of int8, shape (n,)
    time, event : ndarray, shape (n,)
        As in :class:`tasks.contract.survival.EventRows`.

    Raises
    ------
    EstimationError
        If an arm has no event after time 0.
    """
    last = []
    for arm, label in enumerate(arms):
        times = time[(a == arm) & event & (time > 0.0)]
        if len(times) == 0:
            raise EstimationError(f"arm '{label}' of '{name}' must have an event; got only censored rows.", "Leave the arm's rows out.")
        last.append(float(times.max()))
    return last


def require_horizon(name: str, arms: Sequence[str], last: Sequence[float], horizon: float, times: Sequence[float], usable: float) -> None:
    """Refuse a horizon beyond an arm's last event, and times outside (0, horizon].

    Parameters
    ----------
    name : str
        Of the outcome.
    arms : sequence of K str
    last : sequence of K float
        :func:`last_events`.
    horizon : float
    times : sequence of float
    usable : float
        What the hint says of the largest usable horizon.

    Raises
    ------
    SpecError
    EstimationError
    """
    if not (np.isfinite(horizon) and horizon > 0.0):
        raise SpecError(f"horizon of the outcome '{name}' must be a time above 0; got {horizon:g}.", "Give a later one.")
    if horizon > min(last):
        raise EstimationError(
            f"horizon of the outcome '{name}' must be at most the last event of every arm; got {horizon:g}, "
            f"after the last event of arm '{arms[int(np.argmin(last))]}'.",
            f"The largest usable horizon is {usable:g}.",
        )
    wrong = [time for time in times if not 0.0 < time <= horizon]
    if wrong:
        raise SpecError(f"times of the outcome '{name}' must be in (0, {horizon:g}]; got {wrong[0]:g}.", "Leave it out.")


def with_periods(schema: TableSchema, rows: pa.Table, declared: OutcomeSpec) -> TableSchema:
    """Return the schema with the periods of its time to event; the schema itself where the outcome is none.

    Parameters
    ----------
    schema : TableSchema
    rows : pyarrow.Table
        Canonical rows, the first in hash order of a large source.
    declared : OutcomeSpec
        ``horizon`` and ``times``.

    Raises
    ------
    SpecError
        If the horizon or a time can't be used.
    EstimationError
        If an arm has too few events, or too few of a cause.
    """
    if schema.event is None or declared.horizon is None:
        return schema
    name, horizon, treatment = schema.outcome.name, declared.horizon, schema.treatment.name
    a, time = (np.asarray(rows.column(column).to_numpy()) for column in ("a", "y"))
    which = np.asarray(rows.column("e").to_numpy())
    event, causes = which > 0.5, schema.event.levels[1:] if declared.cause is not None else ()
    last = last_events(treatment, schema.arms, a, time, event)
    # five events of every arm lie at or beyond what the hint says: it is no cell of the source
    safe = [safe_bounds(*tails(time[event & (a == arm)]))[1] for arm in range(len(schema.arms))]
    require_horizon(name, schema.arms, last, horizon, declared.times, min(safe))
    for arm, label in enumerate(schema.arms):
        events = int(np.count_nonzero(event & (a == arm) & (time <= horizon)))
        if events < FEWEST_EVENTS:
            raise EstimationError(
                f"events of arm '{label}' up to the horizon must be at least {FEWEST_EVENTS}; got {few(events)}.",
                f"Choose a later outcomes.{name}.horizon, or leave the arm's rows out.",
            )
    if declared.cause is not None:
        _require_causes(schema, causes, a, np.where(time <= horizon, which, 0.0))
    edges = _edges(time, event, horizon, declared.times, 1.0 if schema.outcome.decimals == 0 else 0.0)
    centres = tuple(round(each, 3) for each in Grid(edges[: edges.index(horizon) + 1]).centres(time, event))
    times = tuple(sorted(set(declared.times)))
    outcome = TimesToEvent(horizon=horizon, times=times, edges=edges, centres=centres, causes=causes)
    return schema.model_copy(update={"survival": outcome})


def _require_causes(schema: TableSchema, causes: Sequence[str], a: Int8, which: Float64) -> None:
    """Refuse causes whose incidence can't be kept in every arm; ``which`` numbers the causes of events up to the horizon from 1.

    Raises
    ------
    SpecError
        If there is one cause, or more than ``MOST_CAUSES``.
    EstimationError
        If a cause has fewer than five events in an arm.
    """
    name, column = schema.outcome.name, "" if schema.event is None else schema.event.name
    if not 2 <= len(causes) <= MOST_CAUSES:
        raise SpecError(
            f"causes in event '{column}' must be 2 to {MOST_CAUSES} where outcomes.{name}.cause names one; got {len(causes)}.",
            "Leave outcomes.NAME.cause out of events of one cause; recode rare causes as one.",
        )
    for number, cause in enumerate(causes, start=1):
        total = int(np.count_nonzero(which == number))
        shown = f"cause '{cause}'" if total >= SMALLEST_CELL else "every cause"
        for arm, label in enumerate(schema.arms):
            events = int(np.count_nonzero((which == number) & (a == arm)))
            if events < SMALLEST_CELL:
                raise EstimationError(
                    f"events of {shown} up to the horizon must be at least {SMALLEST_CELL} in every arm; got {few(events)} in '{label}'.",
                    "Recode rare causes as one, or choose a later horizon.",
                )


def _edges(time: Float64, event: Mask, horizon: float, times: Sequence[float], unit: float) -> tuple[float, ...]:
    """Choose ends of periods: quantiles of event times, rounded; then of later times, as far as five rows are followed."""
    step = max(unit, 10.0 ** (np.floor(np.log10(horizon)) - 2.0))
    inside = _quantiles(time[event & (time > 0.0) & (time < horizon)], PERIODS, step)
    fixed = sorted({*times, horizon})
    apart = _apart([edge for edge in inside if 0.0 < edge < horizon], fixed, time[event])
    end = safe_bounds(*tails(time))[1]
    later: list[float] = []
    if end > horizon + step and np.count_nonzero(time > horizon) >= SMALLEST_CELL:
        later = [edge for edge in _quantiles(time[(time > horizon) & (time < end)], LATER, step) if horizon + step < edge < end - step]
        later.append(end)
    return tuple(float(edge) for edge in np.unique([*apart, *fixed, *later]))


def _apart(edges: Sequence[float], fixed: Sequence[float], events: Float64) -> list[float]:
    """Leave out edges that make a period of fewer than five events, as a rounded quantile next to a declared time does."""
    kept: list[float] = []
    for edge in edges:
        before = max([0.0, *kept, *(time for time in fixed if time < edge)])
        after = min(time for time in fixed if time >= edge)
        sizes = (np.count_nonzero((events > low) & (events <= high)) for low, high in ((before, edge), (edge, after)))
        if min(sizes) >= SMALLEST_CELL:
            kept.append(edge)
    return kept


def _quantiles(values: Float64, most: int, step: float) -> list[float]:
    """Return rounded quantiles that cut values into at most so many periods of ten or more."""
    periods = min(most, len(values) // (2 * SMALLEST_CELL))
    if periods < 2:
        return []
    cuts = np.round(np.quantile(values, np.arange(1, periods) / periods) / step) * step
    return [float(cut) for cut in np.unique(np.round(cuts, 9))]
