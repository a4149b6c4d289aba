"""CPU seconds of estimators: sums that add up over batches. They are kept apart from results, which don't vary between runs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from tasks.simulation.performance import UNKNOWN, Figure
from tasks.simulation.replicate import Replicate

#: Key of a whole replicate: drawn, cross-fitted, every estimator evaluated.
WHOLE = "replicate"


class Seconds(NamedTuple):
    """Number, sum and sum of squares of times."""

    timed: int = 0
    total: float = 0.0
    square: float = 0.0

    def plus(self, other: Seconds) -> Seconds:
        """Return the sums over both."""
        return Seconds(self.timed + other.timed, self.total + other.total, self.square + other.square)

    @property
    def mean(self) -> Figure:
        """Mean and its standard error."""
        if self.timed == 0:
            return UNKNOWN
        mean = self.total / self.timed
        variance = max(0.0, self.square / self.timed - mean**2)
        return Figure(mean, math.sqrt(variance / self.timed))


def seconds(done: Iterable[Replicate]) -> dict[str, Seconds]:
    """Sum up the times of replicates.

    Returns
    -------
    dict of str to Seconds
        Of each estimator: the cross-fitting that all share, and its own; and of the whole replicate, by ``WHOLE``.
    """
    costs: dict[str, Seconds] = {}
    for one in done:
        times = {each.estimator: one.fitting + each.seconds for each in one.outcomes}
        times[WHOLE] = one.drawing + one.fitting + sum(each.seconds for each in one.outcomes)
        for name, value in times.items():
            costs[name] = costs.get(name, Seconds()).plus(Seconds(1, value, value**2))
    return costs


def joined(batches: Iterable[dict[str, Seconds]]) -> dict[str, Seconds]:
    """Add up the times of batches."""
    costs: dict[str, Seconds] = {}
    for batch in batches:
        for name, value in batch.items():
            costs[name] = costs.get(name, Seconds()).plus(value)
    return costs
