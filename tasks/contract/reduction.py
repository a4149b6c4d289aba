"""Sums over partitions: the one way a statistic of the whole table is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

State = TypeVar("State")
PartT = TypeVar("PartT", contravariant=True)


class Reduction(Protocol[State, PartT]):
    """A statistic that can be computed partition by partition.

    For every way of cutting the table, ``merge`` over ``visit`` of the pieces equals ``visit`` of the whole
    (up to rounding); ``advance`` turns a merged state into the start of the next pass, for iterative fits.
    """

    def start(self) -> State:
        """Return the neutral state."""
        ...

    def visit(self, state: State, part: PartT) -> State:
        """Return the state with one partition seen (runs on a worker)."""
        ...

    def merge(self, left: State, right: State) -> State:
        """Return the state that has seen what both have seen."""
        ...

    def advance(self, state: State) -> State:
        """Return the start of the next pass (the same state where there is only one pass)."""
        ...


def reduce_parts(reduction: Reduction[State, PartT], parts: Iterable[PartT]) -> State:
    """Run one pass of a reduction over partitions in their order."""
    state = reduction.start()
    for part in parts:
        state = reduction.merge(state, reduction.visit(reduction.start(), part))
    return state


class PassReduction(Reduction[State, PartT], Protocol[State, PartT]):
    """A reduction of several passes that tells when it has had enough of them."""

    def finished(self, state: State) -> bool:
        """Tell whether the start of a pass is the result."""
        ...


def reduce_passes(
    reduction: PassReduction[State, PartT], parts: Callable[[], Iterable[PartT]], report: Callable[[int], None] = lambda _: None
) -> State:
    """Run passes of a reduction over partitions, in their order, until it is finished.

    Parameters
    ----------
    reduction : PassReduction
    parts : callable
        Returns the partitions of one pass, the same ones in the same order each time.
    report : callable
        Called with the number of each pass, from 1, before it runs.

    Returns
    -------
    State
        Of the last ``advance``.
    """
    state, number = reduction.start(), 0
    while not reduction.finished(state):
        number += 1
        report(number)
        total = state
        for part in parts():
            total = reduction.merge(total, reduction.visit(state, part))
        state = reduction.advance(total)
    return state
