"""Laws of the distance statistics when nothing leaks, and the p-values under them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from tasks.checks.evidence import Float64, Int64

Bool = npt.NDArray[np.bool_]

#: Distances up to this count as zero: rows that coincide.
SAME = 1e-9


class Closeness(NamedTuple):
    """The closeness share and its permutation null.

    Attributes
    ----------
    share : float
        Share of released rows whose closest pool row is a training row, ties split, in [0, 1].
    null : float
        Its expectation when nothing leaks.
    sd : float
        Its standard deviation then.
    z : float
        (share - null) / sd; 0 where sd is 0.
    """

    share: float
    null: float
    sd: float
    z: float


class QuantileRatio(NamedTuple):
    """Ratio of two samples' quantiles with one-sided limits, each at the given level."""

    ratio: float
    low: float
    high: float


def tally(distances: Float64, rows: Int64, copies: Int64) -> Float64:
    """Count, for each distinct pool row, the released rows it is the closest to; ties are split by pool rows.

    Parameters
    ----------
    distances : ndarray of float64, shape (n, k)
        To the k closest distinct pool rows, ascending.
    rows : ndarray of int64, shape (n, k)
        Positions of those.
    copies : ndarray of int64, shape (m,)
        Pool rows that each distinct one stands for.

    Returns
    -------
    ndarray of float64, shape (m,)
        Sums to n.
    """
    weight = (distances <= distances[:, :1] + SAME) * copies[rows]
    share = weight / weight.sum(axis=1, keepdims=True)
    return np.asarray(np.bincount(rows.ravel(), weights=share.ravel(), minlength=len(copies)), dtype=np.float64)


def hit(distances: Float64, rows: Int64, size: int, radius: float, strict: bool = False) -> Bool:
    """Mark distinct pool rows that are the closest record of a released row within a radius.

    Parameters
    ----------
    distances, rows
        As for :func:`tally`.
    size : int
        Distinct pool rows.
    radius : float
        Largest distance that counts.
    strict : bool
        Count distances below ``radius`` only.

    Returns
    -------
    ndarray of bool, shape (size,)
        Rows tied for closest are all hit.
    """
    near = distances < radius if strict else distances <= radius
    marked = np.zeros(size, dtype=np.bool_)
    marked[rows[near & (distances <= distances[:, :1] + SAME)]] = True
    return marked


def closeness(counts: Float64, training: Int64, holdout: Int64) -> Closeness:
    """Test the closeness share against random relabelling of the pool.

    When nothing leaks, which rows are training rows is a random labelling of the N pool rows that the release
    knows nothing of. With c_j released rows closest to pool row j, the sum of c_j over the training rows then has mean
    n n_training / N and, by sampling without replacement, variance
    n_training n_holdout / (N (N-1)) (sum c_j^2 - n^2 / N). Unlike a binomial test it knows that one pool row in a
    sparse region is the closest record of many released rows.

    Parameters
    ----------
    counts : ndarray of float64, shape (m,)
        From :func:`tally`.
    training, holdout : ndarray of int64, shape (m,)
        Training and holdout rows that each distinct pool row stands for.

    Returns
    -------
    Closeness
    """
    copies = training + holdout
    n_training, size, n = int(training.sum()), int(copies.sum()), float(counts.sum())
    each = counts / copies
    share, null = float(each @ training) / n, n_training / size
    spread = max(float(each @ counts) - n * n / size, 0.0)
    sd = math.sqrt(n_training * (size - n_training) / (size * (size - 1)) * spread) / n
    z = (share - null) / sd if sd > 1e-12 else 0.0
    return Closeness(share, null, sd, z)


def allowance(counts: Float64, training: Int64, holdout: Int64, margin: float) -> float:
    """Return how far the closeness share may lie above its null.

    A share of copied rows adds so much of (1 - null), and every law fitted on the training rows leans to it by a little. Where training
    rows and holdout share their cells a copy adds no such lean, and none is allowed for.

    Parameters
    ----------
    counts, training, holdout
        As for :func:`closeness`.
    margin : float
        Share of rows that may lean to the training rows as if copied.

    Returns
    -------
    float
        In [0, 1).
    """
    one_sided = (training == 0) | (holdout == 0)
    null = float(training.sum()) / float((training + holdout).sum())
    return margin * (1 - null) * float(counts[one_sided].sum() / counts.sum())


def side_z(marked: Bool, training: Int64, holdout: Int64) -> float:
    """Return the z of the hit rows that lie in the training rows under random relabelling of the pool; 0 where none varies."""
    hits = int((training + holdout)[marked].sum())
    n_training, size = int(training.sum()), int((training + holdout).sum())
    rate = n_training / size
    variance = hits * rate * (1 - rate) * (size - hits) / (size - 1)
    return (int(training[marked].sum()) - hits * rate) / math.sqrt(variance) if variance > 0 else 0.0


def training_side_p(marked: Bool, training: Int64, holdout: Int64) -> float:
    """Return the p-value of as many hit rows lying in the training rows, under random relabelling of the pool (exact).

    The number of hit rows in the training rows is hypergeometric (N, n_training, hit rows).

    Parameters
    ----------
    marked : ndarray of bool, shape (m,)
        From :func:`hit`.
    training, holdout : ndarray of int64, shape (m,)
        Training and holdout rows that each distinct pool row stands for.

    Returns
    -------
    float
        P(as many or more), in (0, 1].
    """
    seen, other = int(training[marked].sum()), int(holdout[marked].sum())
    n_training = int(training.sum())
    return float(stats.hypergeom.sf(seen - 1, n_training + int(holdout.sum()), n_training, seen + other))


def exceedance_p(count: int, n: int, order: int, n_holdout: int) -> float:
    """Return the p-value of ``count`` of n released rows lying below the ``order``-th smallest holdout distance.

    If released and holdout rows were draws of one law, the count would be beta-binomial
    (n; order, n_holdout + 1 - order): binomial with the uncertainty of the percentile itself integrated out.
    Exact for continuous distances, conservative with ties.

    Parameters
    ----------
    count, n : int
        Released rows below the percentile, and in all.
    order : int
        Rank of the holdout distance, in [1, n_holdout].
    n_holdout : int

    Returns
    -------
    float
        P(as many or more), in [0, 1].
    """
    if count <= 0:
        return 1.0
    return float(np.clip(stats.betabinom.sf(count - 1, n, order, n_holdout + 1 - order), 0.0, 1.0))


def coincidence_p(training_hits: int, holdout_hits: int, release_pairs: int, n: int, n_training: int, n_holdout: int) -> float | None:
    """Return the p-value of the coincidences with the training rows; identical released rows give a second test.

    A test against a small holdout has little power: ten coincidences with seven tenths of the pool and none with the rest have
    p = 0.7^10 = 0.03. The release itself adds information: rounding that lets released rows coincide with training rows
    lets them coincide among themselves too. Given their sum, the three counts are multinomial in the numbers of
    pairs compared, n n_training, n n_holdout and n (n-1) / 2. The second test is combined only where it does not
    contradict the holdout: where the holdout is hit more often than released rows repeat (p <= 0.1), the source has
    atoms that the release draws less often, and only the holdout can say how often they are met by chance.

    Parameters
    ----------
    training_hits, holdout_hits : int
        Training and holdout rows that coincide with a released row.
    release_pairs : int
        Pairs of identical released rows.
    n, n_training, n_holdout : int
        Rows.

    Returns
    -------
    float or None
        None where the witnesses disagree.
    """
    inner = (n - 1) / 2
    agree = stats.binom.sf(holdout_hits - 1, holdout_hits + release_pairs, n_holdout / (n_holdout + inner)) > 0.1
    if holdout_hits and not agree:
        return None
    return float(
        stats.binom.sf(training_hits - 1, training_hits + holdout_hits + release_pairs, n_training / (n_training + n_holdout + inner))
    )


def quantile_ratio(sample: Float64, reference: Float64, q: float, level: float = 0.99) -> QuantileRatio:
    """Return the ratio of two samples' q-quantiles with one-sided limits.

    Each quantile has exact limits from order statistics; the log-ratio's limits are recovered from them
    (MOVER; Donner, Zou 2012, DOI 10.1177/0962280210361690). Where the reference's quantile is 0 the ratio is not defined and 1 is returned.

    Parameters
    ----------
    sample, reference : ndarray of float64, shapes (n,), (m,)
        Not negative.
    q : float
        In (0, 1).
    level : float
        Of each one-sided limit.

    Returns
    -------
    QuantileRatio
        ``high`` is infinite where the reference is too small for a lower limit.
    """
    top, top_low, top_high = _quantile(sample, q, level)
    base, base_low, base_high = _quantile(reference, q, level)
    if base <= SAME:
        return QuantileRatio(1.0, 0.0, math.inf)
    ratio = top / base
    if top <= SAME:
        return QuantileRatio(ratio, 0.0, top_high / base_low if base_low > 0 else math.inf)
    up = math.inf if base_low <= 0 else math.hypot(math.log(top_high / top), math.log(base / base_low))
    down = math.inf if top_low <= 0 else math.hypot(math.log(top / top_low), math.log(base_high / base))
    return QuantileRatio(ratio, ratio * math.exp(-down), ratio * math.exp(up))


def _quantile(values: Float64, q: float, level: float) -> tuple[float, float, float]:
    """Return a quantile with one-sided limits from order statistics; 0 and infinity where there is none."""
    ordered, n = np.sort(values), len(values)
    lower = int(stats.binom.ppf(1 - level, n, q))  # P(Bin < lower) <= 1 - level
    upper = int(stats.binom.ppf(level, n, q)) + 1
    middle = float(ordered[min(max(math.ceil(n * q), 1), n) - 1])
    low = float(ordered[lower - 1]) if lower >= 1 else 0.0
    return middle, low, float(ordered[upper - 1]) if upper <= n else math.inf
