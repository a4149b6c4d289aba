"""Quantiles of the standard normal law."""

from __future__ import annotations

from scipy.special import ndtri

#: 97.5 % quantile: half the width of a 95 % interval in standard errors.
Z95 = 1.959963984540054


def quantile(probability: float) -> float:
    """Return the quantile of a probability in (0, 1)."""
    return float(ndtri(probability))


def half_width(confidence: float) -> float:
    """Return half the width, in standard errors, of a two-sided interval of a confidence in (0, 1)."""
    return quantile(0.5 + confidence / 2)
