"""Which relations are kept, and which column of each is derived: every column at most once, none from itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tasks.covariates.margins import Float64
from tasks.covariates.traits.bound import Bound, Linear, Ordered


class Plan:
    """Relations that can be kept together.

    A column is the target of at most one relation, except that several lows bound one column; no column decides itself.

    Parameters
    ----------
    cells : mapping of str to ndarray of float64, shape (n,)
        Training rows.
    """

    def __init__(self, cells: Mapping[str, Float64]) -> None:
        self.by_target: dict[str, Bound] = {}
        self._present = {name: ~np.isnan(values) for name, values in cells.items()}

    def add(self, bound: Bound) -> bool:
        """Add a relation; return whether it could be added."""
        if self.implied(bound):
            return True
        present = self.by_target.get(bound.target)
        if any(bound.target in self._ancestors(name) for name in bound.inputs):
            return False
        if isinstance(present, Ordered) and isinstance(bound, Ordered):
            lows = tuple(dict.fromkeys((*present.lows, *bound.lows)))
            self.by_target[bound.target] = Ordered(bound.target, lows, max(present.usual, bound.usual))
            return True
        if present is not None:
            return False
        self.by_target[bound.target] = bound
        return True

    def implied(self, bound: Bound) -> bool:
        """Return whether the relations taken in already make this one hold: a low that leads up to its target."""
        return isinstance(bound, Ordered) and all(self._leads(low, bound.target, low, bound.target) for low in bound.lows)

    def links(self, low: str, between: str, high: str) -> bool:
        """Return whether a column is known wherever the two that it stands between are known."""
        return not (self._present[low] & self._present[high] & ~self._present[between]).any()

    def in_order(self) -> tuple[Bound, ...]:
        """Return the relations so that each comes after those that decide its inputs; sums come as early as they can."""
        placed: list[Bound] = []
        waiting = sorted(self.by_target.values(), key=lambda bound: not (isinstance(bound, Linear) and len(bound.terms) > 1))
        while waiting:
            targets = {bound.target for bound in waiting}
            ready = next(bound for bound in waiting if not targets & set(bound.inputs))
            placed.append(ready)
            waiting.remove(ready)
        return tuple(placed)

    def _ancestors(self, name: str) -> set[str]:
        """Return a column and all columns that decide it."""
        ancestors: set[str] = set()
        waiting = [name]
        while waiting:
            one = waiting.pop()
            if one not in ancestors:
                ancestors.add(one)
                waiting.extend(self.by_target[one].inputs if one in self.by_target else ())
        return ancestors

    def _leads(self, low: str, high: str, first: str, last: str) -> bool:
        """Return whether orders lead from one column up to another, through columns that are known where ``first`` and ``last`` are."""
        if low == high:
            return True
        if high != last and not self.links(first, high, last):
            return False
        bound = self.by_target.get(high)
        if isinstance(bound, Ordered):
            return any(self._leads(low, each, first, last) for each in bound.lows)
        if isinstance(bound, Linear) and len(bound.terms) == 1 and bound.terms[0][1] == 1 and not bound.offset:
            return self._leads(low, bound.terms[0][0], first, last)
        return False
