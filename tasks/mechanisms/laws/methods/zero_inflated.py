"""Zero-inflated Poisson and negative binomial laws of a count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from scipy import optimize, stats

from tasks.contract.labels import MOST_ARMS
from tasks.contract.nuisance import Float64, Int8
from tasks.mechanisms.laws.counts import counted, draw_counts, invert_counts
from tasks.mechanisms.laws.fields import NotNegative, Plain
from tasks.mechanisms.laws.protocol import Inversion, LawRows
from tasks.mechanisms.laws.support import Support

_MOST = 0.99  # share of zeros beyond those of the family
_LEAST = 1e-4  # dispersion that counts as none


class Params(BaseModel):
    """Parameters of zero-inflated laws."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: Literal["poisson", "negative_binomial"] = Field("negative_binomial", description="law of counts that are not set to 0")


@dataclass(frozen=True)
class ZeroInflatedLaw:
    """Y = 0 with chance pi, else a count with mean Q* / (1 - pi); pi and dispersion by arm.

    Attributes
    ----------
    zeros : tuple of float
        pi, in [0, 1).
    dispersion : tuple of float
        0 is Poisson.
    """

    zeros: tuple[float, ...]
    dispersion: tuple[float, ...]

    @property
    def key(self) -> str:
        """Name of the method."""
        return "zero_inflated"

    @property
    def reach(self) -> tuple[float, float]:
        """Means of counts."""
        return 0.0, float("inf")

    def draw(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Float64:  # noqa: ARG002, the OutcomeLaw protocol
        """Return counts as float64, shape (n,)."""
        pi = np.asarray(self.zeros)[a]
        counts = draw_counts(np.asarray(self.dispersion)[a], mean / (1.0 - pi), rng)
        return np.where(rng.random(len(a)) < pi, 0.0, counts)

    def invert(self, a: Int8, mean: Float64, covariates: pd.DataFrame, rng: np.random.Generator) -> Inversion:  # noqa: ARG002, the OutcomeLaw protocol
        """Return the law at given rows."""
        pi = np.asarray(self.zeros)[a]
        counts = invert_counts(np.asarray(self.dispersion)[a], mean / (1.0 - pi))

        def rest(u: Float64) -> Float64:
            return np.asarray(np.clip((u - pi) / (1.0 - pi), 0.0, 1.0))

        def partial(u: Float64) -> Float64:
            return np.where(u <= pi, 0.0, (1.0 - pi) * counts.partial(rest(u)))

        return Inversion(lambda u: np.where(u < pi, 0.0, counts.quantile(rest(u))), partial)


@dataclass(frozen=True)
class ZeroInflated:
    """Fits both numbers of each arm by maximum likelihood.

    Lambert (1992), DOI 10.2307/1269547.
    """

    params: Params
    rank: int = 3

    def suits(self, support: Support, kind: str) -> bool:
        """Return whether counts are unbounded."""
        return counted(support, kind)

    def fit(self, rows: LawRows, support: Support, rng: np.random.Generator) -> ZeroInflatedLaw:  # noqa: ARG002, the LawMethod protocol
        """Fit the law."""
        fits = [_fit(rows.y[of_arm], rows.mean[of_arm], rows.weights[of_arm], self.params.base) for of_arm in rows.arms()]
        return ZeroInflatedLaw(tuple(fit[0] for fit in fits), tuple(fit[1] for fit in fits))

    def write(self, law: ZeroInflatedLaw) -> dict[str, Any]:
        """Return the law as a JSON object."""
        return _Record(zeros=list(law.zeros), dispersion=list(law.dispersion)).model_dump()

    def read(self, values: dict[str, Any]) -> ZeroInflatedLaw:
        """Read what ``write`` returned."""
        of = _Record.model_validate(values)
        return ZeroInflatedLaw(tuple(of.zeros), tuple(of.dispersion))


def build(params: Params) -> ZeroInflated:
    """Return the method."""
    return ZeroInflated(params)


def _fit(y: Float64, mean: Float64, w: Float64, base: str) -> tuple[float, float]:
    """Return pi and dispersion of one arm."""
    zero, m = y == 0.0, np.maximum(mean, 1e-9)
    if not zero.any() or zero.all():
        return 0.0, 0.0

    def loss(at: Float64) -> float:
        pi, alpha = float(at[0]), float(at[1])
        rate = m / (1.0 - pi)
        logs = stats.poisson.logpmf(y, rate) if alpha < _LEAST else stats.nbinom.logpmf(y, 1.0 / alpha, 1.0 / (1.0 + alpha * rate))
        plain = np.log1p(-pi) + logs
        return -float(w @ np.where(zero, np.logaddexp(np.log(max(pi, 1e-300)), plain), plain)) / float(w.sum())

    share = float(np.clip(np.average(zero, weights=w) - np.average(np.exp(-m), weights=w), 0.02, 0.9))
    most = 0.0 if base == "poisson" else 20.0
    start = np.array([share, min(0.5, most)])
    optimum = optimize.minimize(loss, start, method="L-BFGS-B", bounds=[(0.0, _MOST), (0.0, most)], options={"maxiter": 60})
    pi, alpha = float(optimum.x[0]), float(optimum.x[1])
    return pi, alpha if alpha >= _LEAST else 0.0


class _Record(Plain):
    kind: Literal["zero_inflated"] = "zero_inflated"
    zeros: list[Annotated[float, Field(ge=0, lt=1)]] = Field(min_length=2, max_length=MOST_ARMS)
    dispersion: list[NotNegative] = Field(min_length=2, max_length=MOST_ARMS)
