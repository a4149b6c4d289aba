"""The tilted law: support cells with shares learnt from trees, moved by an exponential tilt so that the mean is Q*."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from tasks.contract.labels import MOST_ARMS
from tasks.contract.nuisance import Float64, Int8
from tasks.mechanisms.laws.cells import Cells, build_cells
from tasks.mechanisms.laws.fields import DesignRecord, Number, Plain, Positive, design_record, read_design
from tasks.mechanisms.laws.protocol import Inversion, LawRows
from tasks.mechanisms.laws.splits import Splits, splits_of
from tasks.mechanisms.laws.spread import sheltered
from tasks.mechanisms.laws.support import Support
from tasks.mechanisms.laws.tables import TILTS, Placed, Tables, partials, place, quantiles, tabulate
from tasks.mechanisms.laws.trees import Int64, Trees, descend, grow
from tasks.nuisance.design import Design, fit_design

Count = Annotated[int, Field(ge=0)]
FAR = 2.0  # tilts in standard deviations of the statistic that count as large
_DIGITS = 6  # of published shares
_BLOCK = 32_768  # rows whose features are in memory at a time


class Params(BaseModel):
    """Parameters of the tilted law."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    statistic: Literal["value", "log"] = Field("value", description="what is tilted by: the outcome, or log(1 + outcome / its median)")
    trees: int = Field(8, ge=1, le=64, description="trees of an arm")
    leaves: int = Field(24, ge=2, le=256, description="most leaves of a tree")


class Strength(NamedTuple):
    """How hard rows had to be tilted.

    Attributes
    ----------
    quantiles : tuple of three float
        Median, 90 % and 99 % quantile of the absolute tilt, in standard deviations of the statistic.
    far : float
        Share of rows tilted by more than :data:`FAR`, or beyond all trees' laws.
    climbed : float
        Share of rows whose leaf does not have their mean, so that an ancestor's law is tilted.
    """

    quantiles: tuple[float, float, float]
    far: float
    climbed: float


@dataclass(frozen=True, eq=False)
class TiltLaw:
    """Y in support cells: shares from a tree's leaf, tilted to the mean.

    A row's law is a mixture over the trees of its arm. In each, p*_j(a, w) is proportional to p_j(a, w) exp(lambda t_j); lambda lies
    between two neighbours on a grid, whose laws are mixed so that the mean is exact. Where a leaf can't have the mean by a moderate
    tilt, its closest ancestor that can is tilted instead; the arm's own law has every mean between the outermost cells.

    Attributes
    ----------
    cells : Cells
    unit : float
        t_j is the mean of cell j where it is 0, else log(1 + mean / unit).
    trees : Trees
        Their first feature is the row's mean, the others are the design's columns.
    design : Design
    centre, spread : float
        By which the mean is standardised.
    """

    cells: Cells
    unit: float
    trees: Trees
    design: Design
    centre: float
    spread: float

    @property
    def key(self) -> str:
        """Name of the method."""
        return "tilt"

    @property
    def reach(self) -> tuple[float, float]:
        """Means of the outermost cells."""
        means = self.cells.means
        return float(means[0]), float(means[-1])

    @cached_property
    def tables(self) -> Tables:
        """The tilted laws of all nodes: computed once in a process, never stored."""
        means = self.cells.means
        return tabulate(self.trees, self.cells, means if self.unit == 0.0 else np.log1p(means / self.unit))

    @cached_property
    def splits(self) -> Splits:
        """The trees' splits, on covariates as they are."""
        return splits_of(self.trees, self.design, self.centre, self.spread)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("tables", "splits")}

    def place(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> tuple[Placed, Int64]:
        """Choose a tree for each row and tilt its leaf's law; return where, and the leaves."""
        trees, splits = self.trees, self.splits
        arms, tree = np.asarray(a, dtype=np.int8), rng.integers(trees.roots.shape[1], size=len(a), dtype=np.uint8)
        held = np.clip(mean, *self.reach)
        leaf = np.empty(len(a), dtype=np.int64)
        for start in range(0, len(a), _BLOCK):
            rows = slice(start, start + _BLOCK)
            columns = splits.columns(covariates.iloc[rows], held[rows])
            descend(
                trees.roots,
                arms[rows],
                tree[rows],
                columns,
                splits.feature,
                splits.threshold,
                splits.gap,
                trees.left,
                trees.right,
                leaf[rows],
            )
        return place(self.tables, self.trees, leaf, held), leaf

    def draw(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Float64:
        """Return outcomes, shape (n,)."""
        placed, _ = self.place(a, mean, covariates, rng)
        return quantiles(self.tables, self.trees, self.cells, placed, rng.random(len(a)))

    def invert(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Inversion:
        """Return the law given a tree for each row: its mean is that of the row whatever the tree."""
        placed, _ = self.place(a, mean, covariates, rng)
        shapes = (self.tables, self.trees, self.cells, placed)
        return Inversion(lambda u: quantiles(*shapes, u), lambda u: partials(*shapes, u))

    def strength(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Strength:
        """Return how hard these rows are tilted."""
        placed, leaf = self.place(a, mean, covariates, rng)
        last = len(TILTS) - 1
        tilt = (1.0 - placed.share) * TILTS[np.clip(placed.at - 1, 0, last)] + placed.share * TILTS[np.clip(placed.at, 0, last)]
        edge = (self.trees.parent[placed.node] < 0) & ((placed.at == 0) | (placed.at == last + 1))
        size = np.abs(tilt)
        at = tuple(float(np.round(value, 4)) for value in np.quantile(size, [0.5, 0.9, 0.99]))
        return Strength(
            (at[0], at[1], at[2]), float(np.round(np.mean((size > FAR) | edge), 4)), float(np.round(np.mean(placed.node != leaf), 4))
        )


@dataclass(frozen=True)
class Tilt:
    """Fits tilted laws."""

    params: Params
    rank: int = 5

    def suits(self, support: Support, kind: str) -> bool:
        """Return whether it is a choice: wherever atoms, a bound or a grid is found, and for counts."""
        return kind != "binary" and (support.shaped or kind == "count")

    def fit(self, rows: LawRows, support: Support, rng: np.random.Generator) -> TiltLaw:
        """Fit cells, trees and their leaves."""
        cells, cell = build_cells(rows.y, support)
        design = sheltered(fit_design(rows.covariates, squares=False), rows.covariates)
        centre, spread = float(rows.mean.mean()), float(rows.mean.std())
        spread = spread if spread > 1e-12 * max(1.0, abs(centre)) else 1.0
        x = np.concatenate((((rows.mean - centre) / spread)[None, :], design.columns(rows.covariates)))
        trees = grow(x.T, rows.a, cell, len(cells.low), rows.weights, self.params.trees, self.params.leaves, rng)
        design, trees = _needed(design, trees)
        shares = np.maximum(np.round(trees.weight, _DIGITS), 10.0**-_DIGITS)
        return TiltLaw(cells, self._unit(rows.y), trees._replace(weight=shares), design, centre, spread)

    def _unit(self, y: Float64) -> float:
        if self.params.statistic == "value" or float(y.min()) < 0.0 or not np.any(y > 0.0):
            return 0.0
        return float(f"{np.median(y[y > 0.0]):.1e}")

    def write(self, law: TiltLaw) -> dict[str, Any]:
        """Return the law as a JSON object."""
        trees = law.trees
        return _Record(
            step=law.cells.step,
            decimals=law.cells.decimals,
            low=law.cells.low.tolist(),
            width=law.cells.width.tolist(),
            points=law.cells.points.tolist(),
            unit=law.unit,
            centre=law.centre,
            spread=law.spread,
            design=design_record(law.design),
            roots=trees.roots.tolist(),
            feature=trees.feature.tolist(),
            threshold=trees.threshold.tolist(),
            left=trees.left.tolist(),
            right=trees.right.tolist(),
            parent=trees.parent.tolist(),
            start=trees.start.tolist(),
            cell=trees.cell.tolist(),
            weight=trees.weight.tolist(),
        ).model_dump()

    def read(self, values: dict[str, Any]) -> TiltLaw:
        """Read what ``write`` returned."""
        of = _Record.model_validate(values)
        cells = Cells(np.array(of.low), np.array(of.width), np.array(of.points, dtype=np.int64), of.step, of.decimals)
        whole = (np.array(each, dtype=np.int64) for each in (of.roots, of.feature, of.left, of.right, of.parent, of.start, of.cell))
        roots, feature, left, right, parent, start, cell = whole
        trees = Trees(roots, feature, np.array(of.threshold), left, right, parent, start, cell, np.array(of.weight))
        return TiltLaw(cells, of.unit, trees, read_design(of.design), of.centre, of.spread)


def build(params: Params) -> Tilt:
    """Return the method."""
    return Tilt(params)


def _needed(design: Design, trees: Trees) -> tuple[Design, Trees]:
    """Leave out the covariates that no split asks for."""
    used = set(trees.feature[trees.feature > 0].tolist())
    kept: list[int] = []
    numeric, category, at = [], [], 1
    for term in design.numeric:
        columns = range(at, at + 1 + (term.missing is not None) + (term.square is not None))
        at = columns.stop
        if used.intersection(columns):
            numeric.append(term)
            kept.extend(columns)
    for group in design.category:
        columns = range(at, at + len(group.levels))
        at = columns.stop
        if used.intersection(columns):
            category.append(group)
            kept.extend(columns)
    new = np.full(at, -1, dtype=np.int64)
    new[[0, *kept]] = np.arange(len(kept) + 1)
    feature = np.where(trees.feature >= 0, new[np.maximum(trees.feature, 0)], -1)
    return Design(tuple(numeric), tuple(category)), trees._replace(feature=feature)


class _Record(Plain):
    kind: Literal["tilt"] = "tilt"
    step: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    decimals: int
    low: list[Number] = Field(min_length=1)
    width: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]]
    points: list[Count]
    unit: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    centre: Number
    spread: Positive
    design: DesignRecord
    roots: list[list[Count]] = Field(min_length=2, max_length=MOST_ARMS)
    feature: list[int]
    threshold: list[Number]
    left: list[int]
    right: list[int]
    parent: list[int]
    start: list[Count]
    cell: list[Count]
    weight: list[Positive]
