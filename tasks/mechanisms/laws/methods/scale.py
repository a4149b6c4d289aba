"""The location-scale law: Y = Q* + sigma(A, W) e, for outcomes without atoms, bounds or grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.contract.labels import MOST_ARMS
from tasks.contract.nuisance import Float64, Int8
from tasks.mechanisms.laws.arms import ArmLaw, centre_for, fit_arm
from tasks.mechanisms.laws.fields import (
    CategoryRecord,
    Number,
    NumericRecord,
    Plain,
    Positive,
    category_records,
    numeric_records,
    read_terms,
)
from tasks.mechanisms.laws.protocol import Inversion, LawRows
from tasks.mechanisms.laws.spread import ScaleModel, choose_scale
from tasks.mechanisms.laws.support import Support

_ROOT3 = float(np.sqrt(3.0))


class Params(BaseModel):
    """Parameters of the location-scale law: none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, eq=False)
class ScaleLaw:
    """Y = Q* + sigma(A, W) e, with e from its arm's law.

    Attributes
    ----------
    scale : ScaleModel or None
        sigma; None is one spread per arm.
    arms : tuple of two ArmLaw
        Laws of e by arm, the control first.
    bounds : tuple of two float, optional
        What outcomes are clipped to, infinite for none at an end: Q* + sigma e is then shifted so that the mean after clipping is Q*.
    grid : tuple of two float, optional
        Step and origin of the points that outcomes are rounded to at random, up or down, so that the mean is kept.
    """

    scale: ScaleModel | None
    arms: tuple[ArmLaw, ...]
    bounds: tuple[float, float] | None = None
    grid: tuple[float, float] | None = None

    @property
    def key(self) -> str:
        """Name of the method."""
        return "scale"

    @property
    def reach(self) -> tuple[float, float] | None:
        """The bounds."""
        return self.bounds

    def draw(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Float64:
        """Return outcomes, shape (n,)."""
        where, within = rng.random(len(mean)), rng.uniform(-_ROOT3, _ROOT3, len(mean))
        error = np.empty(len(mean))
        for arm, law in enumerate(self.arms):
            rows = a == arm
            block = np.minimum(np.searchsorted(law.edges, where[rows], side="right"), len(law.edges) - 1)
            error[rows] = law.centres[block] + law.spreads[block] * within[rows]
        if self.bounds is None and self.grid is None:
            return mean + error * (1.0 if self.scale is None else self.scale.predict(covariates, a))
        sigma = self._sigma(a, covariates)
        return self._landed(self._centre(a, mean, sigma) + error * sigma, self._coins(len(mean), rng))

    def invert(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Inversion:
        """Return the law at given rows; where outcomes are clipped, ``partial`` is that of the law before."""
        sigma = self._sigma(a, covariates)
        centre, coins = self._centre(a, mean, sigma), self._coins(len(mean), rng)
        read = _reader(self.arms, a)
        return Inversion(lambda u: self._landed(centre + sigma * read(u, False), coins), lambda u: mean * u + sigma * read(u, True))

    def _sigma(self, a: Int8, covariates: pd.DataFrame) -> Float64:
        return np.ones(len(a)) if self.scale is None else self.scale.predict(covariates, a)

    def _coins(self, rows: int, rng: np.random.Generator) -> Float64 | None:
        return None if self.grid is None else rng.random(rows)

    def _centre(self, a: Int8, mean: Float64, sigma: Float64) -> Float64:
        if self.bounds is None:
            return mean
        low, high = self.bounds
        centre = np.clip(mean, low, high)
        for arm, law in enumerate(self.arms):
            rows = a == arm
            centre[rows] = centre_for(law, centre[rows], sigma[rows], low, high)
        return centre

    def _landed(self, y: Float64, coins: Float64 | None) -> Float64:
        held = y if self.bounds is None else np.clip(y, *self.bounds)
        if self.grid is None or coins is None:
            return held
        step, origin = self.grid
        return np.asarray(origin + step * np.floor((held - origin) / step + coins))


def _reader(arms: tuple[ArmLaw, ...], a: Int8) -> Callable[[Float64, bool], Float64]:
    """Read the block, and the place within it, from one number: a block is as long as its weight."""

    def read(u: Float64, integral: bool) -> Float64:
        values = np.empty(len(u))
        for arm, law in enumerate(arms):
            rows = a == arm
            share = np.diff(law.edges, prepend=0.0)
            at = np.minimum(np.searchsorted(law.edges, u[rows], side="right"), len(share) - 1)
            place = np.clip((u[rows] - (law.edges[at] - share[at])) / np.maximum(share[at], 1e-300), 0.0, 1.0)
            if integral:
                before = np.concatenate(([0.0], np.cumsum(share * law.centres)))[at]
                values[rows] = before + share[at] * (law.centres[at] * place - law.spreads[at] * _ROOT3 * place * (1.0 - place))
            else:
                values[rows] = law.centres[at] + law.spreads[at] * _ROOT3 * (2.0 * place - 1.0)
        return values

    return read


@dataclass(frozen=True)
class Scale:
    """Fits location-scale laws."""

    rank: int = 1

    def suits(self, support: Support, kind: str) -> bool:
        """Return whether its draws lie in the support."""
        return kind == "continuous" and not support.shaped

    def fit(self, rows: LawRows, support: Support, rng: np.random.Generator) -> ScaleLaw:
        """Fit sigma, where it varies beyond chance, and the arms' laws."""
        a, w, residual = rows.a, rows.weights, rows.y - rows.mean
        scale = choose_scale(rows.covariates, a, residual, w, rng)
        sigma = np.ones(len(a)) if scale is None else scale.predict(rows.covariates, a)
        arms = tuple(fit_arm(residual[of_arm], sigma[of_arm], w[of_arm]) for of_arm in rows.arms())
        return ScaleLaw(scale, arms, _bounds(support), (support.step, support.origin) if support.grid else None)

    def write(self, law: ScaleLaw) -> dict[str, Any]:
        """Return the law as a JSON object; bounds and grid only where there are any, so that older readers know it."""
        arms = [_Arm(centres=arm.centres.tolist(), spreads=arm.spreads.tolist(), edges=arm.edges.tolist()) for arm in law.arms]
        bounds = None if law.bounds is None else [float(end) if np.isfinite(end) else None for end in law.bounds]
        record = _Record(arms=arms, scale=_scale(law.scale), bounds=bounds, grid=None if law.grid is None else list(law.grid)).model_dump()
        return {name: value for name, value in record.items() if name not in ("bounds", "grid") or value is not None}

    def read(self, values: dict[str, Any]) -> ScaleLaw:
        """Read what ``write`` returned."""
        of = _Record.model_validate(values)
        arms = tuple(ArmLaw(np.array(arm.centres), np.array(arm.spreads), np.array(arm.edges)) for arm in of.arms)
        model = None
        if of.scale is not None:
            design = read_terms(of.scale.numeric, of.scale.category)
            model = ScaleModel(design, np.array(of.scale.coefficients), of.scale.low, of.scale.high)
        low, high = (None, None) if of.bounds is None else of.bounds
        bounds = None if of.bounds is None else (-np.inf if low is None else low, np.inf if high is None else high)
        return ScaleLaw(model, arms, bounds, None if of.grid is None else (of.grid[0], of.grid[1]))


def build(params: Params) -> Scale:  # noqa: ARG001, the registry's protocol
    """Return the method."""
    return Scale()


def _bounds(support: Support) -> tuple[float, float] | None:
    """Return what draws are clipped to: the declared range, the safe range where there are bounds, zero where none passes it."""
    if support.declared:
        return support.low, support.high
    low = support.low if support.bounded[0] or support.grid else 0.0 if support.sign > 0 else -np.inf
    high = support.high if support.bounded[1] or support.grid else 0.0 if support.sign < 0 else np.inf
    return None if low == -np.inf and high == np.inf else (low, high)


class _Arm(Plain):
    centres: list[Number] = Field(min_length=1)
    spreads: list[Number]
    edges: list[Number]

    @model_validator(mode="after")
    def _even(self) -> _Arm:
        if not len(self.centres) == len(self.spreads) == len(self.edges):
            raise ValueError("centres, spreads and edges must be equally many")
        return self


class _Scale(Plain):
    numeric: list[NumericRecord]
    category: list[CategoryRecord]
    coefficients: list[Number]
    low: Number
    high: Number

    @model_validator(mode="after")
    def _fits(self) -> _Scale:
        if len(self.coefficients) != 2 + 2 * read_terms(self.numeric, self.category).width:
            raise ValueError("coefficients must be those of the terms")
        return self


class _Record(Plain):
    kind: Literal["continuous"] = "continuous"
    arms: list[_Arm] = Field(min_length=2, max_length=MOST_ARMS)
    scale: _Scale | None
    bounds: list[Number | None] | None = Field(None, min_length=2, max_length=2)
    grid: list[Positive | Number] | None = Field(None, min_length=2, max_length=2)


def _scale(model: ScaleModel | None) -> _Scale | None:
    if model is None:
        return None
    design = model.design
    return _Scale(
        numeric=numeric_records(design),
        category=category_records(design),
        coefficients=model.coefficients.tolist(),
        low=model.low,
        high=model.high,
    )
