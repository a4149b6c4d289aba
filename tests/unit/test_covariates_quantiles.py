"""Quantile functions of numeric columns: every shape keeps its quantiles, light tails also mean and variance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

from tasks.covariates.quantiles import SPAN, fit_quantiles

SHAPES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "uniform": lambda rng, n: rng.random(n),
    "gamma": lambda rng, n: rng.gamma(2.0, size=n),
    "two heaps": lambda rng, n: rng.standard_normal(n) + 5 * (rng.random(n) < 0.3),
    "t with 3 degrees": lambda rng, n: rng.standard_t(3, n),
    "lognormal": lambda rng, n: np.exp(1.1 * rng.standard_normal(n)),
    "lognormal, heavier": lambda rng, n: np.exp(1.6 * rng.standard_normal(n)),
}
LIGHT = ("normal", "uniform", "gamma", "two heaps")


def drawn(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw 20,000 values from the quantile function of a sample."""
    ordered = np.sort(values)
    low, high = float(ordered[:SPAN].mean()), float(ordered[-SPAN:].mean())
    knots, heights = fit_quantiles(values, low, high, rng.integers(0, 5, len(values)))
    assert (np.diff(heights) >= 0).all()
    assert (heights[0], heights[-1]) == (low, high)
    return np.interp(rng.standard_normal(20_000), knots, heights)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1_000, 4_000])
def test_quantiles_are_those_of_the_rows(shape: str, n: int) -> None:
    rng = np.random.default_rng([list(SHAPES).index(shape), n])
    values = SHAPES[shape](rng, n)
    got = drawn(values, rng)
    place = np.searchsorted(np.sort(values), got) / n
    scores = norm.ppf(np.clip(place, 0.5 / n, 1 - 0.5 / n))
    assert abs(scores.mean()) < 0.06
    assert abs(scores.std() - 1) < 0.06
    if shape in LIGHT:
        assert abs(got.mean() - values.mean()) < 0.04 * values.std()
        assert abs(got.std() / values.std() - 1) < 0.04
