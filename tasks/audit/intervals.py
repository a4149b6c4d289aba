"""Attack statistics with intervals that hold for few rows and for extreme values."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, rankdata

from tasks.numerics.normal import half_width

Float64 = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A value with its two-sided confidence limits; ``value`` is NaN where the data can't say."""

    value: float
    low: float
    high: float


def share(hits: int, n: int, confidence: float) -> Interval:
    """Return a share with its exact interval (Clopper, Pearson 1934, doi:10.1093/biomet/26.4.404).

    Parameters
    ----------
    hits, n : int
        Successes and trials, n at least 1.
    confidence : float
        In (0, 1).

    Returns
    -------
    Interval
        In [0, 1].
    """
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, hits, n - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return Interval(hits / n, low, high)


def difference(hits: int, n: int, other_hits: int, other_n: int, confidence: float) -> Interval:
    """Return the difference of two independent shares by Newcombe's score interval (1998, Stat. Med. 17, 873-890, method 10).

    Parameters
    ----------
    hits, n, other_hits, other_n : int
        Successes and trials of either group, at least one trial each.
    confidence : float
        In (0, 1).

    Returns
    -------
    Interval
        First share minus second, in [-1, 1].
    """
    first, second = hits / n, other_hits / other_n
    low1, high1 = _wilson(hits, n, confidence)
    low2, high2 = _wilson(other_hits, other_n, confidence)
    value = first - second
    return Interval(value, value - math.hypot(first - low1, high2 - second), value + math.hypot(high1 - first, second - low2))


def auc(members: Float64, others: Float64, confidence: float) -> Interval:
    """Return the area under the ROC curve with DeLong's interval, on the logit scale, in O(n log n).

    DeLong, DeLong, Clarke-Pearson 1988 (doi:10.2307/2531595), by midranks as in Sun, Xu 2014 (doi:10.1109/LSP.2014.2337313).
    Where all pairs are ordered alike the variance is 0 and carries no information; there the limit is that of a share of ``min(n, m)``
    equal trials.

    Parameters
    ----------
    members : ndarray, shape (n,)
        Scores that should be high.
    others : ndarray, shape (m,)
        Scores that should be low; infinities are allowed, ties count one half.
    confidence : float
        In (0, 1).

    Returns
    -------
    Interval
        In [0, 1].
    """
    n, m = len(members), len(others)
    ranks = rankdata(np.concatenate([members, others]))
    over = (ranks[:n] - rankdata(members)) / m
    under = 1 - (ranks[n:] - rankdata(others)) / n
    value = float(over.mean())
    few = min(n, m)
    variance = float(over.var(ddof=1)) / n + float(under.var(ddof=1)) / m if few > 1 else 0.0
    if variance <= 0 or not 0 < value < 1:
        flat = share(round(value * few), few, confidence)
        return Interval(value, min(value, flat.low), max(value, flat.high))
    half = half_width(confidence) * math.sqrt(variance) / (value * (1 - value))
    centre = math.log(value / (1 - value))
    return Interval(value, _expit(centre - half), _expit(centre + half))


class HitRate(NamedTuple):
    """A true positive rate at a threshold, and its excess over the threshold's own false positive rate."""

    rate: Interval
    excess: Interval


def hit_rate(members: Float64, others: Float64, alarm: float, confidence: float) -> HitRate | None:
    """Return the true positive rate at the strictest threshold that at most a share ``alarm`` of the non-members pass.

    The threshold is the (k+1)-th largest of m non-members, k = floor(m alarm), so its true false positive rate is at most a
    Beta(k+1, m-k) variable. Given the threshold the members that pass are binomial, hence Clopper-Pearson's interval; the limits of
    the excess take half of the error from either law.

    Parameters
    ----------
    members, others : ndarray
        Scores of n members and m non-members.
    alarm : float
        False positive rate, in (0, 1).
    confidence : float
        In (0, 1).

    Returns
    -------
    HitRate or None
        None where m is below ``1 / alarm``: such a rate can't be seen on so few.
    """
    n, m = len(members), len(others)
    k = int(np.floor(m * alarm + 1e-9))
    if k < 1:
        return None
    hits = int(np.sum(members > np.sort(others)[m - k - 1]))
    halved = (1 + confidence) / 2
    strict = share(hits, n, halved)
    alarms = beta.ppf([(1 - halved) / 2, (1 + halved) / 2], k + 1, m - k)
    excess = Interval(hits / n - alarm, strict.low - float(alarms[1]), strict.high - float(alarms[0]))
    return HitRate(share(hits, n, confidence), excess)


def _wilson(hits: int, n: int, confidence: float) -> tuple[float, float]:
    z = half_width(confidence)
    centre, spread = hits / n + z * z / (2 * n), z * math.sqrt(hits * (n - hits) / n**3 + z * z / (4 * n * n))
    return (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
