"""Quantiles of the standard normal law."""

from __future__ import annotations

import math

from scipy.special import log_ndtr, ndtri, ndtri_exp

#: 97.5 % quantile: half the width of a 95 % interval in standard errors.
Z95 = 1.959963984540054


def quantile(probability: float) -> float:
    """Return the quantile of a probability in (0, 1)."""
    return float(ndtri(probability))


def largest_of(z: float, count: int) -> float:
    """Return the size of one standard normal value that is as rare as ``z`` is as the largest of ``count`` independent ones.

    Sidak (1967), DOI 10.1080/01621459.1967.10482935: p of the largest is 1 - (1 - p)^count; at most that where values hang together.

    Parameters
    ----------
    z : float
        At least 0; two-sided.
    count : int
        At least 1; of one, ``z`` itself.
    """
    if count == 1 or z == 0.0 or math.isinf(z):
        return z
    log_p = math.log(2.0) + float(log_ndtr(-z))
    log_none = count * math.log1p(-math.exp(log_p))
    log_any = math.log(-math.expm1(log_none)) if log_none < 0.0 else math.log(count) + log_p
    return max(0.0, -float(ndtri_exp(log_any - math.log(2.0))))


def half_width(confidence: float) -> float:
    """Return half the width, in standard errors, of a two-sided interval of a confidence in (0, 1)."""
    return quantile(0.5 + confidence / 2)
