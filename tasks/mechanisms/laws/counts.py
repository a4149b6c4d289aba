"""Poisson and negative binomial laws: draws, quantiles and partial expectations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field
from scipy import stats

from tasks.contract.labels import MOST_ARMS
from tasks.contract.nuisance import Float64, Int8
from tasks.mechanisms.laws.fields import NotNegative, Plain
from tasks.mechanisms.laws.protocol import Inversion
from tasks.mechanisms.laws.support import Support

_EVIDENCE = 1.645  # z of overdispersion at which a count arm is negative binomial


@dataclass(frozen=True)
class CountLaw:
    """Y ~ Poisson(Q*), or negative binomial with variance Q* + dispersion Q*^2, arm by arm.

    Attributes
    ----------
    dispersion : tuple of float
        By arm, the control first; 0 is Poisson.
    """

    dispersion: tuple[float, ...]

    @property
    def key(self) -> str:
        """Name of the method."""
        return "negative_binomial" if any(self.dispersion) else "poisson"

    @property
    def reach(self) -> tuple[float, float]:
        """Means of counts."""
        return 0.0, float("inf")

    def draw(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Float64:  # noqa: ARG002, the OutcomeLaw protocol
        """Return counts as float64, shape (n,)."""
        return draw_counts(self.of(a), mean, rng)

    def invert(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Inversion:  # noqa: ARG002, the OutcomeLaw protocol
        """Return the law at given rows."""
        return invert_counts(self.of(a), mean)

    def of(self, a: Int8) -> Float64:
        """Return the dispersion of each row, shape (n,)."""
        return np.asarray(self.dispersion)[a]


class CountRecord(Plain):
    """The record of both families."""

    kind: Literal["count"] = "count"
    dispersion: list[NotNegative] = Field(min_length=2, max_length=MOST_ARMS)


def write_counts(law: CountLaw) -> dict[str, Any]:
    """Return the law as a JSON object."""
    return CountRecord(dispersion=list(law.dispersion)).model_dump()


def read_counts(values: dict[str, Any]) -> CountLaw:
    """Read what :func:`write_counts` returned."""
    of = CountRecord.model_validate(values)
    return CountLaw(tuple(of.dispersion))


def counted(support: Support, kind: str) -> bool:
    """Return whether a family of counts stays in the support: whole numbers from 0 on, one apart, without heaps or an upper bound."""
    starts = support.sign >= 0 and support.origin == 0.0
    return kind == "count" and starts and support.step in (0.0, 1.0) and not (support.heaped or support.bounded[1] or support.declared)


def draw_counts(dispersion: Float64, mean: Float64, rng: np.random.Generator) -> Float64:
    """Draw counts of given dispersions and means, shape (n,)."""
    shape = 1.0 / np.where(dispersion > 0.0, dispersion, 1.0)
    mixed = rng.gamma(shape, 1.0 / shape)
    return rng.poisson(mean * np.where(dispersion > 0.0, mixed, 1.0)).astype(np.float64)


def dispersion_of(y: Float64, mean: Float64, w: Float64) -> float:
    """Moment estimate of the negative binomial's dispersion; 0 where overdispersion is not beyond chance.

    The excess (Y - Q)^2 - Y has mean dispersion Q^2. Cameron, Trivedi (1990), doi:10.1016/0304-4076(90)90014-K.
    """
    excess = (y - mean) ** 2 - y
    square = mean**2
    total = float(w @ square)
    if total <= 0.0:
        return 0.0
    alpha = float(w @ excess) / total
    noise = float(np.sqrt(np.sum((w * (excess - alpha * square)) ** 2))) / total
    return alpha if alpha > _EVIDENCE * noise else 0.0


def invert_counts(dispersion: Float64, mean: Float64) -> Inversion:
    """Poisson where the dispersion is 0, else negative binomial with shape r = 1/dispersion and success chance 1 / (1 + dispersion mean).

    E[Y; Y < k] = mean P(Y' < k - 1), with Y' = Y for the Poisson law and of shape r + 1 for the negative binomial one.
    """
    mixed = dispersion > 0.0
    plain, r = ~mixed, 1.0 / dispersion[mixed]
    success = 1.0 / (1.0 + dispersion[mixed] * mean[mixed])

    def quantile(u: Float64) -> Float64:
        held = np.clip(u, 1e-300, 1.0 - 2.0**-53)
        k = np.empty(len(u))
        k[plain] = stats.poisson.ppf(held[plain], mean[plain])
        k[mixed] = stats.nbinom.ppf(held[mixed], r, success)
        return k

    def partial(u: Float64) -> Float64:
        k = quantile(u)
        under, sum_under = np.empty(len(u)), np.empty(len(u))
        under[plain] = stats.poisson.cdf(k[plain] - 1.0, mean[plain])
        sum_under[plain] = stats.poisson.cdf(k[plain] - 2.0, mean[plain])
        under[mixed] = stats.nbinom.cdf(k[mixed] - 1.0, r, success)
        sum_under[mixed] = stats.nbinom.cdf(k[mixed] - 2.0, r + 1.0, success)
        return np.where(u >= 1.0, mean, mean * sum_under + k * (u - under))

    return Inversion(quantile, partial)
