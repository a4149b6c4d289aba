"""How replicates are cut into tasks, and when there are enough of them. No figure depends on the cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tasks.contract.errors import SpecError
from tasks.contract.nuisance import FoldedLearner
from tasks.contract.registry import names, resolve
from tasks.contract.spec.simulate import SimulateSpec
from tasks.simulation.contrasts import Series
from tasks.simulation.grid import Cell
from tasks.simulation.performance import Tally
from tasks.targeting.estimators import ALL, OBSERVED, OF_CAUSES, OF_EVENTS, UNADJUSTED

#: Replicates after which a cell is looked at: may it stop? Part of what decides the results.
ROUND = 200
COMMON = {name: place for place, name in enumerate(ALL)}
#: Rows of all data sets of one task, a matter of some seconds; of learners that are not made for thousands of small tables a twentieth.
ROWS, SLOW = 100_000, 20


class Work(NamedTuple):
    """So many replicates of a cell (by its number) from ``first`` on, under one draw of the law."""

    cell: int
    draw: int
    first: int
    replicates: int


def unadjusted_of(settings: SimulateSpec, kind: str, causes: bool = False) -> tuple[str, ...]:
    """Return what needs no cross-fit and is for a time to event alone: for "all", all of it that is for such an outcome.

    Raises
    ------
    SpecError
        If the outcome is none, or a name is of events with one cause where causes compete, or the other way round.
    """
    apt = OF_CAUSES if causes else OF_EVENTS
    if settings.estimators == "all":
        return apt if kind == "survival" else ()
    names = tuple(name for name in settings.estimators if name in UNADJUSTED)
    if names and kind != "survival":
        raise SpecError(
            f"estimators of simulate must be those of the outcome's kind; got '{names[0]}', which is for a time to event.",
            "Leave it out, or declare the outcome's kind as 'survival'.",
        )
    other = next((name for name in names if name not in apt), None)
    if other is not None:
        what = "compete (outcomes.NAME.cause)" if causes else "do not compete"
        raise SpecError(
            f"estimators of simulate must be those of the outcome: causes {what}; got '{other}'.",
            f"In its place there is {', '.join(apt)}.",
        )
    return names


def estimators_of(settings: SimulateSpec, missing: str = "drop") -> tuple[str, ...]:
    """Return the names of the estimators: for "all", all of the registry but those of subgroups, the common ones first.

    With ``missing="ipcw"``, where rows without outcome are kept, "all" are those that are built for them.
    """
    if settings.estimators != "all":
        return tuple(name for name in settings.estimators if name not in UNADJUSTED)
    if missing == "ipcw":
        return OBSERVED
    return tuple(sorted((name for name in names("estimator") if name != "gate"), key=lambda name: (COMMON.get(name, len(COMMON)), name)))


def batches(number: int, cell: Cell, draw: int, first: int, last: int) -> list[Work]:
    """Cut the replicates from ``first`` up to, not including, ``last`` into tasks."""
    size = ROWS if isinstance(resolve("learner", cell.learner), FoldedLearner) else ROWS // SLOW
    step = min(ROUND, max(2, size // cell.n))
    return [Work(number, draw, start, min(step, last - start)) for start in range(first, last, step)]


def enough(tallies: Mapping[Series, Tally], done: int, settings: SimulateSpec) -> bool:
    """Return whether a cell needs no more replicates."""
    if done >= settings.replicates:
        return True
    precise = [each.is_precise(settings.precision, settings.rmse_precision) for each in tallies.values()]
    return bool(precise) and all(precise)


def joined(one: Mapping[Series, Tally], other: Mapping[Series, Tally]) -> dict[Series, Tally]:
    """Add up the tallies of two sets of replicates, by estimator and contrast."""
    return {name: one.get(name, Tally()).plus(other.get(name, Tally())) for name in dict.fromkeys([*one, *other])}
