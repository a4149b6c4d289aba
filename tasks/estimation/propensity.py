"""Jensen-Shannon distances of propensities: whether the release assigns treatment as the source did."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64
from tasks.estimation.twins import Twins
from tasks.numerics.blocked import floats
from tasks.targeting.influence import effective_size

#: Equal bins of g over [0, 1] for its law.
BINS = 20


class PropensityGap(NamedTuple):
    """Mean Jensen-Shannon distance between P(A | W = w) of release and source over source rows, in [0, 1]; 0 is the same assignment.

    Attributes
    ----------
    distance, se : float
        Mean over rows, and its standard error with the models held fixed. JSD_pi of Amad et al. 2025 is 1 - distance.
    reference, reference_se : float
        The same between two parts of the source: what learning g again would change.
    n : int
        Source rows.
    """

    distance: float
    se: float
    reference: float
    reference_se: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the record ``fidelity.propensity_js.assignment``."""
        return {**self._asdict(), "similarity": 1.0 - self.distance}


class PropensityLaw(NamedTuple):
    """Jensen-Shannon distance between the laws of g in two tables, in [0, 1].

    Attributes
    ----------
    distance : float
        Between the shares of rows in 20 equal bins of g.
    scale : float
        What two samples of one law, as large as these, are apart from: the root of the mean divergence.
    source_rows, release_rows : int
    """

    distance: float
    scale: float
    source_rows: int
    release_rows: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the record ``fidelity.propensity_js.law``."""
        return dict(self._asdict())


def propensity_gap(twins: Twins) -> PropensityGap:
    """Compare the assignment of treatment, row by row.

    D = mean over source rows w of JS(Bernoulli(g(w)), Bernoulli(g~(w))), with JS the Jensen-Shannon distance (root of the divergence,
    logarithms to base 2), averaged over the parts that learnt g. 1 - D is JSD_pi of Amad et al. 2025 (arXiv 2510.18768), who fit g by
    logistic regression on four fifths of the source; here boosted trees learn it, from parts of one size, so that the reference is like
    for like. Where the release was randomized or tilted on purpose, D says by how much the design was changed, not that it went wrong.

    Parameters
    ----------
    twins : Twins
        Of :func:`tasks.estimation.twins.learn_twins`.

    Returns
    -------
    PropensityGap
    """
    of_source, drawn = twins.source_g, twins.release_g
    distances = np.mean([assignment_distance(of_source[i], drawn[j]) for i in (0, 1) for j in (0, 1)], axis=0)
    twin = assignment_distance(of_source[0], of_source[1])
    n = len(twin)
    counting = twins.counting
    errors = [counting.error(values) for values in (distances, twin)]
    return PropensityGap(counting.mean(distances), errors[0], counting.mean(twin), errors[1], n)


def assignment_distance(g: Float64, other: Float64) -> Float64:
    """Return the Jensen-Shannon distance between Bernoulli(g) and Bernoulli(other), element by element.

    Lin (1991), DOI 10.1109/18.61115; its root is a metric: Endres, Schindelin (2003), DOI 10.1109/TIT.2003.813506.

    Parameters
    ----------
    g, other : ndarray of float64, shape (n,)
        Probabilities.

    Returns
    -------
    ndarray of float64, shape (n,)
        In [0, 1].
    """
    return _distance(np.stack([1.0 - g, g]), np.stack([1.0 - other, other]))


def propensity_law(source_g: Float64, release_g: Float64, source_weights: Float64 | None = None) -> PropensityLaw:
    """Compare the law of g over the rows of two tables, on the same 20 equal bins of [0, 1].

    Unlike :func:`propensity_gap` this does not ask whether the same rows get the same g: it says whether overlap looks the same. With k
    bins in use, two samples of one law have a mean divergence of about (k - 1) (1/n + 1/m) / (8 ln 2), the scale squared.

    Parameters
    ----------
    source_g : ndarray of float64, shape (n,)
        Cross-fitted P(A = 1 | W) of the source's rows.
    release_g : ndarray of float64, shape (m,)
        P(A = 1 | W) of the release's rows, by its own design or fitted on it.
    source_weights : ndarray of float64, shape (n,), optional
        Survey weights of the source's rows; their effective number then stands for n in the scale.

    Returns
    -------
    PropensityLaw

    Raises
    ------
    EstimationError
        If there is no row or a value is outside [0, 1].
    """
    counts = []
    for owner, g in (("source", source_g), ("release", release_g)):
        values = floats(g)
        if values.ndim != 1 or len(values) == 0 or not np.all((values >= 0.0) & (values <= 1.0)):
            raise EstimationError(f"g of the {owner} must be one or more numbers in [0, 1]; got others.")
        weights = source_weights if owner == "source" else None
        counts.append(np.histogram(values, bins=BINS, range=(0.0, 1.0), weights=weights)[0].astype(np.float64))
    n, m = float(counts[0].sum()), float(counts[1].sum())
    rows = n if source_weights is None else effective_size(source_weights)
    used = int(np.count_nonzero(counts[0] + counts[1]))
    distance = float(_distance(counts[0] / n, counts[1] / m))
    return PropensityLaw(distance, math.sqrt((used - 1) * (1.0 / rows + 1.0 / m) / (8.0 * math.log(2.0))), len(source_g), int(m))


def _distance(p: Float64, q: Float64) -> Float64:
    """Jensen-Shannon distance of shares along the first axis."""
    middle = (p + q) / 2.0
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(each > 0.0, each * np.log2(each / middle), 0.0) for each in (p, q)]
    # equal shares may leave a rounding error below 0
    divergence = (terms[0].sum(axis=0) + terms[1].sum(axis=0)) / 2.0
    return np.asarray(np.sqrt(np.clip(divergence, 0.0, 1.0)), dtype=np.float64)


def propensity_record(gap: PropensityGap, law: PropensityLaw, design: str) -> dict[str, Any]:
    """Return the record ``fidelity.propensity_js``.

    Parameters
    ----------
    gap : PropensityGap
    law : PropensityLaw
    design : str
        How the release assigned treatment: ``"randomized"``, ``"fitted"`` or ``"tilted"``; in mode ``full``, where it is modelled as a
        column, ``"joint"``.

    Returns
    -------
    dict
        ``{"assignment": ..., "law": ..., "design": ...}``, plain values.
    """
    return {"assignment": gap.as_dict(), "law": law.as_dict(), "design": design}
