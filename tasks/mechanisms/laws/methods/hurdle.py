"""The hurdle law of a count: whether it is positive, and how large it then is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from scipy import optimize

from tasks.contract.labels import MOST_ARMS
from tasks.contract.nuisance import Float64, Int8
from tasks.mechanisms.laws.counts import counted, dispersion_of, draw_counts, invert_counts
from tasks.mechanisms.laws.fields import NotNegative, Plain, Positive
from tasks.mechanisms.laws.protocol import Inversion, LawRows
from tasks.mechanisms.laws.support import Support


class Params(BaseModel):
    """Parameters of the hurdle law: none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class HurdleLaw:
    """P(Y > 0) = s = min(1 - exp(-theta Q*), Q*); given that, Y - 1 is a count with mean Q* / s - 1.

    A positive count is at least 1, so s can't pass Q*.

    Attributes
    ----------
    theta : tuple of float
        By arm; 1 has the zeros of a Poisson law.
    dispersion : tuple of float
        Of Y - 1 among positive counts, by arm; 0 is Poisson.
    """

    theta: tuple[float, ...]
    dispersion: tuple[float, ...]

    @property
    def key(self) -> str:
        """Name of the method."""
        return "hurdle"

    @property
    def reach(self) -> tuple[float, float]:
        """Means of counts."""
        return 0.0, float("inf")

    def parts(self, a: Int8, mean: Float64) -> tuple[Float64, Float64, Float64]:
        """Return the chance of a positive count, the mean of Y - 1 among them, and its dispersion, shape (n,) each."""
        positive = chance(np.asarray(self.theta)[a], mean)
        beyond = np.maximum(mean / np.maximum(positive, 1e-300) - 1.0, 0.0)
        return positive, beyond, np.asarray(self.dispersion)[a]

    def draw(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Float64:  # noqa: ARG002, the OutcomeLaw protocol
        """Return counts as float64, shape (n,)."""
        positive, beyond, dispersion = self.parts(a, mean)
        counts = 1.0 + draw_counts(dispersion, beyond, rng)
        return np.where(rng.random(len(a)) < positive, counts, 0.0)

    def invert(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Inversion:  # noqa: ARG002, the OutcomeLaw protocol
        """Return the law at given rows."""
        positive, beyond, dispersion = self.parts(a, mean)
        counts, none = invert_counts(dispersion, beyond), 1.0 - positive

        def rest(u: Float64) -> Float64:
            return np.asarray(np.clip((u - none) / np.maximum(positive, 1e-300), 0.0, 1.0))

        return Inversion(
            lambda u: np.where(u < none, 0.0, 1.0 + counts.quantile(rest(u))),
            lambda u: np.where(u <= none, 0.0, positive * (rest(u) + counts.partial(rest(u)))),
        )


def chance(theta: Float64 | float, mean: Float64) -> Float64:
    """Return P(Y > 0), shape (n,)."""
    return np.asarray(np.minimum(-np.expm1(-theta * mean), mean))


@dataclass(frozen=True)
class Hurdle:
    """Fits theta by maximum likelihood and the dispersion by moments, arm by arm.

    Mullahy (1986), DOI 10.1016/0304-4076(86)90002-3; the positive part is a shifted count, whose mean is known in closed form.
    """

    rank: int = 4

    def suits(self, support: Support, kind: str) -> bool:
        """Return whether counts are unbounded."""
        return counted(support, kind)

    def fit(self, rows: LawRows, support: Support, rng: np.random.Generator) -> HurdleLaw:  # noqa: ARG002, the LawMethod protocol
        """Fit the law."""
        fits = [_fit(rows.y[of_arm], np.maximum(rows.mean[of_arm], 1e-9), rows.weights[of_arm]) for of_arm in rows.arms()]
        return HurdleLaw(tuple(fit[0] for fit in fits), tuple(fit[1] for fit in fits))

    def write(self, law: HurdleLaw) -> dict[str, Any]:
        """Return the law as a JSON object."""
        return _Record(theta=list(law.theta), dispersion=list(law.dispersion)).model_dump()

    def read(self, values: dict[str, Any]) -> HurdleLaw:
        """Read what ``write`` returned."""
        of = _Record.model_validate(values)
        return HurdleLaw(tuple(of.theta), tuple(of.dispersion))


def build(params: Params) -> Hurdle:  # noqa: ARG001, the registry's protocol
    """Return the method."""
    return Hurdle()


def _fit(y: Float64, mean: Float64, w: Float64) -> tuple[float, float]:
    """Return theta and dispersion of one arm."""
    positive = y > 0.0

    def loss(at: float) -> float:
        p = np.clip(chance(np.exp(at), mean), 1e-9, 1.0 - 1e-9)
        return -float(w @ np.where(positive, np.log(p), np.log1p(-p)))

    theta = float(np.exp(optimize.minimize_scalar(loss, bounds=(-8.0, 5.0), method="bounded").x))
    if not positive.any():
        return theta, 0.0
    beyond = np.maximum(mean / np.maximum(chance(theta, mean), 1e-300) - 1.0, 0.0)
    return theta, dispersion_of(y[positive] - 1.0, beyond[positive], w[positive])


class _Record(Plain):
    kind: Literal["hurdle"] = "hurdle"
    theta: list[Positive] = Field(min_length=2, max_length=MOST_ARMS)
    dispersion: list[NotNegative] = Field(min_length=2, max_length=MOST_ARMS)
