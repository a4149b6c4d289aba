"""CATE fidelity: whether the release carries effects person by person, as well as another sample of the source would.

On source rows outside the training rows of the comparison (:mod:`tasks.estimation.twins`):

    gap        root mean square of  tau(release part) - tau(source part)
    reference  root mean square of  tau(source part) - tau(another source part)

Both hold the noise of learning twice, so a release as good as a new sample of the source has a ratio of about 1.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64
from tasks.estimation.fidelity import Counting
from tasks.estimation.metalearners import LEARNERS
from tasks.estimation.twins import Twins


class LearnerGap(NamedTuple):
    """The gap by one meta-learner, or by the mean over all; in units of the outcome. Standard errors hold the models fixed.

    Attributes
    ----------
    learner : str
        One of ``LEARNERS``, or ``"mean"``.
    gap, se : float
        Root mean squared difference between effects learnt on the release and on the source, and its standard error.
    reference, reference_se : float
        The same between two parts of the source.
    ratio, ratio_se : float
        gap / reference; NaN where the reference is 0.
    beyond : float
        The gap without the noise of learning: root of the mean product of two differences that share no row, 0 where it is negative.
    spread : float
        Standard deviation of the source's effects as far as two parts agree on it, by the same device.
    """

    learner: str
    gap: float
    se: float
    reference: float
    reference_se: float
    ratio: float
    ratio_se: float
    beyond: float
    spread: float


class CateGap(NamedTuple):
    """The gap by every meta-learner.

    Attributes
    ----------
    learners : tuple of LearnerGap
        In the order of ``LEARNERS``.
    mean : LearnerGap
        Mean over the learners of each figure (of the ratio: over those that have one). Its gap is U_PEHE of Amad et al. 2025
        (arXiv 2510.18768).
    n, rows : int
        Source rows compared on; rows that each part taught with.
    """

    learners: tuple[LearnerGap, ...]
    mean: LearnerGap
    n: int
    rows: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the record ``fidelity.cate``, None for what is not a number."""
        return {
            "learners": [_plain(each) for each in self.learners],
            "mean": _plain(self.mean),
            "n": self.n,
            "rows": self.rows,
        }


def cate_gap(twins: Twins) -> CateGap:
    """Measure how far effects learnt on the release are from effects learnt on the source.

    For learner l, gap_l^2 = mean over source rows of (tau~_l(w) - tau_l(w))^2, averaged over the two release and the two source parts
    that a row can be asked of. Standard errors are those of a mean over source rows by the delta method; the fitted models are held
    fixed, so they leave out what another draw of the teaching rows would change.

    U_PEHE of Amad et al. 2025 (arXiv 2510.18768) is the mean over learners of the gap. It is theirs but for the base models (boosted
    trees here, neural networks there) and the cut (equal parts here, so that the reference is like for like; four fifths there).

    Parameters
    ----------
    twins : Twins

    Returns
    -------
    CateGap
    """
    counting = twins.counting
    pairs = [_learner_gap(learner, twins.source[:, at], twins.release[:, at], counting) for at, learner in enumerate(LEARNERS)]
    gaps = [gap for gap, _ in pairs]
    finite = [math.isfinite(gap.ratio) for gap in gaps]
    influence = np.stack([values for _, values in pairs])
    gap, reference, beyond, spread = np.mean([(each.gap, each.reference, each.beyond, each.spread) for each in gaps], axis=0).tolist()
    ratio = float(np.mean([each.ratio for each in gaps if math.isfinite(each.ratio)])) if any(finite) else math.nan
    errors = [counting.error(values) for values in np.mean(influence[:, :2], axis=0)]
    ratio_error = counting.error(np.mean(influence[finite, 2], axis=0)) if any(finite) else math.nan
    mean = LearnerGap("mean", gap, errors[0], reference, errors[1], ratio, ratio_error, beyond, spread)
    return CateGap(tuple(gaps), mean, twins.source.shape[2], twins.rows)


def _learner_gap(learner: str, of_source: Float64, drawn: Float64, counting: Counting) -> tuple[LearnerGap, Float64]:
    """Compare effects of shape (2, n); return the figures and the influence values of gap, reference and ratio, shape (3, n)."""
    gap, gap_values = _root(np.mean((drawn[:, None, :] - of_source[None, :, :]) ** 2, axis=(0, 1)), counting)
    reference, reference_values = _root((of_source[0] - of_source[1]) ** 2, counting)
    # an S-learner may see no effect at all: then the two parts agree exactly, and there is no ratio
    ratio = gap / reference if reference > 0.0 else math.nan
    ratio_values = (gap_values - ratio * reference_values) / reference if reference > 0.0 else np.full_like(gap_values, math.nan)
    influence = np.stack([gap_values, reference_values, ratio_values])
    products = ((drawn[0] - of_source[0]) * (drawn[1] - of_source[1]) + (drawn[0] - of_source[1]) * (drawn[1] - of_source[0])) / 2.0
    beyond = math.sqrt(max(counting.mean(products), 0.0))
    spread = math.sqrt(max(float(np.cov(of_source[0], of_source[1], aweights=counting.weights)[0, 1]), 0.0))
    errors = [counting.error(values) for values in influence]
    return LearnerGap(learner, gap, errors[0], reference, errors[1], ratio, errors[2], beyond, spread), influence


def _root(squares: Float64, counting: Counting) -> tuple[float, Float64]:
    """Return the root of a mean and its influence values."""
    value = math.sqrt(counting.mean(squares))
    return value, (squares - value**2) / (2.0 * value) if value > 0.0 else np.zeros_like(squares)


def _plain(gap: LearnerGap) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in gap._asdict().items()}
