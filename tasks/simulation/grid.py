"""The grid: every combination of what the SPEC lists is a cell, a law that data sets are drawn from and a way to analyse them."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from tasks.contract.rng import salt
from tasks.contract.spec.simulate import DesignName, SimulateSpec


class Cell(NamedTuple):
    """One cell.

    Attributes
    ----------
    n : int
        Rows of each data set.
    design : {"randomized", "fitted", "tilted"}
        How treatment is assigned.
    tilt : float or None
        Factor on logit g of the tilted design; None elsewhere.
    effect_scale : float
        Factor on Q*1 - Q*0.
    withheld : str or None
        Name of the covariate that estimators don't see.
    noise : float
        Factor on the residuals of a continuous outcome.
    learner : str
        What g and Q are learnt with.
    """

    n: int
    design: DesignName
    tilt: float | None
    effect_scale: float
    withheld: str | None
    noise: float
    learner: str

    @property
    def key(self) -> str:
        """Name of the cell: it depends on the cell alone, so another grid that holds it draws the same data sets."""
        return f"{salt(*self):016x}"

    @property
    def title(self) -> str:
        """What is particular about the cell, in words."""
        words = [f"n = {self.n:,}", f"design {self.design}" if self.tilt is None else f"overlap tilted by {self.tilt:g}"]
        if self.effect_scale != 1.0:
            words.append("no effect" if self.effect_scale == 0.0 else f"effect × {self.effect_scale:g}")
        if self.withheld is not None:
            words.append(f"{self.withheld} withheld")
        if self.noise != 1.0:
            words.append(f"noise × {self.noise:g}")
        return ", ".join([*words, f"learner {self.learner}"])


def cells(settings: SimulateSpec) -> list[Cell]:
    """Return the cells of a grid, in the order of the SPEC's lists."""
    designs: list[tuple[DesignName, float | None]] = []
    for design in settings.designs:
        designs += [(design, tilt) for tilt in settings.tilts] if design == "tilted" else [(design, None)]
    withheld: tuple[str | None, ...] = (None, *settings.withheld)
    return [
        Cell(n, design, tilt, scale, hidden, noise, learner)
        for n, (design, tilt), scale, hidden, noise, learner in itertools.product(
            settings.rows, designs, settings.effect_scales, withheld, settings.noise, settings.learners
        )
    ]
