"""How far a release's effect is from its source's, and through which door the error came.

For the release's mechanism tau~ and its covariate law P~,

    psi~ - psi = E_P[tau~ - tau] + (E_P~ - E_P)[tau~]
               = contrast term   + covariate-law term.

Pseudo-outcomes phi of cross-fitted AIPW stand in for tau: E[phi | W] = tau(W) where either nuisance is right.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64
from tasks.contract.results import Estimate
from tasks.contract.rng import UInt64
from tasks.numerics.blocked import floats
from tasks.numerics.normal import Z95
from tasks.targeting.influence import cluster_error, standard_error


class Term(NamedTuple):
    """A number with its standard error and two-sided normal 95 % interval, in units of the outcome or of a score."""

    value: float
    se: float
    ci_low: float
    ci_high: float


class EffectIdentity(NamedTuple):
    """The two terms of the identity and their sum, in units of the outcome.

    Attributes
    ----------
    contrast : Term
        E_P[tau~ - tau]: error of the mechanism, seen over the source's rows.
    covariate_law : Term
        (E_P~ - E_P)[tau~]: error of the covariates, seen through the mechanism.
    total : Term
        psi~ - psi; its interval knows that the two terms share the source's rows.
    """

    contrast: Term
    covariate_law: Term
    total: Term


class LedgerEntry(NamedTuple):
    """One error on the way from the truth to a release's estimate.

    Attributes
    ----------
    name : str
        ``"sampling"``, ``"contrast"``, ``"covariate_law"``, ``"monte_carlo"`` or ``"gap"``.
    value : float or None
        In units of the outcome; None where only its size can be known.
    se : float
        Standard error, in units of the outcome.
    """

    name: str
    value: float | None
    se: float


def term(value: float, se: float) -> Term:
    """Give a value its interval."""
    return Term(value, se, value - Z95 * se, value + Z95 * se)


class Counting(NamedTuple):
    """How a table's rows count: survey weights and the hash of each row's cluster, each (n,), as far as there are."""

    weights: Float64 | None = None
    clusters: UInt64 | None = None

    def of(self, rows: npt.NDArray[np.bool_]) -> Counting:
        """Return how some of the rows count."""
        weights = None if self.weights is None else self.weights[rows]
        return Counting(weights, None if self.clusters is None else self.clusters[rows])

    def first(self, rows: int) -> Counting:
        """Return how the first rows count."""
        weights = None if self.weights is None else self.weights[:rows]
        return Counting(weights, None if self.clusters is None else self.clusters[:rows])

    def mean(self, values: Float64) -> float:
        """Return the weighted mean."""
        return float(np.average(values, weights=self.weights))

    def error(self, values: Float64) -> float:
        """Return the standard error of the weighted mean, over clusters where there are any."""
        if self.weights is None and self.clusters is None:
            return _mean_error(values)
        weights = np.ones_like(values) if self.weights is None else self.weights
        rest = values - self.mean(values)
        return standard_error(rest, weights) if self.clusters is None else cluster_error(rest, weights, self.clusters)[0]


#: Every row counts once.
EACH_ROW = Counting()


def effect_identity(
    phi: Float64, tau_source: Float64, tau_release: Float64, counting: Counting = EACH_ROW, drawn: Counting = EACH_ROW
) -> EffectIdentity:
    """Split a release's effect error into its two terms.

    Parameters
    ----------
    phi : ndarray of float64, shape (n,)
        AIPW pseudo-outcomes of the source's rows (:func:`tasks.targeting.influence.pseudo_outcomes`).
    tau_source : ndarray of float64, shape (n,)
        The released mechanism's Q~1 - Q~0 at the same rows. Where it was targeted on the very rows, the contrast term is zero by
        construction: judge it on rows (or folds) held out of the targeting to learn about new ones.
    tau_release : ndarray of float64, shape (m,)
        The same at the release's rows.
    counting, drawn : Counting
        How the source's rows count, and the release's: by cluster where it has any.

    Returns
    -------
    EffectIdentity
        Standard errors treat tau~ as fixed; source and release as independent draws of rows, or of clusters.

    Raises
    ------
    EstimationError
        If shapes differ, there are fewer than two rows, or a value is not finite.
    """
    phi, tau_source, tau_release = (
        _finite(name, v) for name, v in (("phi", phi), ("tau_source", tau_source), ("tau_release", tau_release))
    )
    if phi.shape != tau_source.shape:
        raise EstimationError(f"tau_source of the identity must be of shape {phi.shape}; got {tau_source.shape}.")
    gap = tau_source - phi
    contrast = term(counting.mean(gap), counting.error(gap))
    shift = float(np.mean(tau_release)) - counting.mean(tau_source)
    covariate_law = term(shift, math.hypot(drawn.error(tau_release), counting.error(tau_source)))
    # tau~ over the source cancels in the sum: what is left is release against pseudo-outcomes
    total = term(contrast.value + shift, math.hypot(drawn.error(tau_release), counting.error(phi)))
    return EffectIdentity(contrast, covariate_law, total)


def error_ledger(
    phi: Float64,
    tau_source: Float64,
    tau_release: Float64,
    released: Estimate | None = None,
    counting: Counting = EACH_ROW,
    drawn: Counting = EACH_ROW,
) -> list[LedgerEntry]:
    """List every error between the true effect and a release's estimate.

    released - psi = sampling + contrast + covariate_law + monte_carlo, where

    * sampling: the source's efficient estimate mean(phi) against psi; its value can't be known, its standard error can;
    * contrast, covariate_law: :func:`effect_identity`;
    * monte_carlo: the estimate on the release's finite, drawn rows against the mechanism's own effect over them;
    * gap: the sum of the known three, the release's estimate against the source's.

    Parameters
    ----------
    phi, tau_source, tau_release : ndarray of float64
        As for :func:`effect_identity`.
    released : Estimate, optional
        ATE estimated on the release. Without it the release's effect is its mechanism's mean over the released rows, and the Monte-Carlo
        error has a size but no value.
    counting, drawn : Counting
        How the source's rows count, and the release's.

    Returns
    -------
    list of LedgerEntry
        In the order above.
    """
    identity = effect_identity(phi, tau_source, tau_release, counting, drawn)
    luck = None if released is None else released.estimate - float(np.mean(tau_release))
    noise = drawn.error(tau_release) if released is None else released.se
    return [
        LedgerEntry("sampling", None, counting.error(phi)),
        LedgerEntry("contrast", identity.contrast.value, identity.contrast.se),
        LedgerEntry("covariate_law", identity.covariate_law.value, identity.covariate_law.se),
        LedgerEntry("monte_carlo", luck, noise),
        LedgerEntry("gap", identity.total.value + (luck or 0.0), math.hypot(counting.error(phi), noise)),
    ]


def _finite(name: str, values: Float64) -> Float64:
    clean = floats(values)
    wrong = int(np.count_nonzero(~np.isfinite(clean)))
    if clean.ndim != 1 or len(clean) < 2 or wrong:
        raise EstimationError(f"{name} of the identity must be two or more finite numbers; got shape {clean.shape}, {wrong} not finite.")
    return clean


def _mean_error(values: Float64) -> float:
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))
