"""The law of an outcome: the one that the SPEC names, or the one with the best out-of-sample score."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.errors import SpecError
from tasks.contract.nuisance import Float64, Int8
from tasks.contract.registry import names, resolve
from tasks.mechanisms.laws.cells import build_cells
from tasks.mechanisms.laws.methods.tilt import TiltLaw
from tasks.mechanisms.laws.protocol import LawMethod, LawRows, OutcomeLaw
from tasks.mechanisms.laws.support import Support, find_support
from tasks.nuisance.folds import assign_folds
from tasks.numerics.normal import Z95

AUTO = "auto"
_ROWS = 4_000  # rows that laws are compared on
_FOLDS = 3
_DRAWS = 32  # of each row
_DISTINCT = Z95  # standard errors
_KOLMOGOROV = 1.36  # 5 % point of sqrt(n) times the distance
_SLACK = 0.01  # distance beyond it that a law may have
_STRENGTH_ROWS = 5_000
_SKEWED = 10.0  # largest value over the median of the positive ones from which a tilt by logarithms is tried


class Candidate(NamedTuple):
    """One law that is tried: how it is fitted, and what it is called."""

    name: str
    method: LawMethod
    params: dict[str, object]


class Scores(NamedTuple):
    """How a candidate did on rows it was not fitted to.

    Attributes
    ----------
    crps : ndarray of float64, shape (n,)
        Continuous ranked probability score of each row.
    distance : float
        Largest Kolmogorov distance of an arm's draws to its outcomes, beyond the 5 % point of sampling.
    """

    crps: Float64
    distance: float


class Chosen(NamedTuple):
    """A fitted law, and the evidence for its choice: a JSON object."""

    law: OutcomeLaw
    record: dict[str, Any]


def fit_law(
    a: Int8,
    y: Float64,
    q0: Float64,
    q1: Float64,
    covariates: pd.DataFrame,
    kind: str,
    rng: np.random.Generator,
    weights: Float64 | None = None,
    support: Support | None = None,
    law: str = AUTO,
) -> OutcomeLaw:
    """Fit the law of the outcome of two arms around out-of-fold targeted predictions; see :func:`choose_law`."""
    return choose_law(a, y, np.where(a == 1, q1, q0), covariates, kind, rng, weights, support, law).law


def choose_law(
    a: Int8,
    y: Float64,
    mean: Float64,
    covariates: pd.DataFrame,
    kind: str,
    rng: np.random.Generator,
    weights: Float64 | None = None,
    support: Support | None = None,
    law: str = AUTO,
) -> Chosen:
    """Fit the law of the outcome around out-of-fold targeted predictions.

    Of the laws whose draws lie in the outcome's support each is fitted on two thirds of the rows (at most 4,000) and scored on the
    others by the continuous ranked probability score. The simplest is taken whose mean score lies within 1.96 standard errors of
    the best one's (paired over rows), and whose draws' distance to an arm's outcomes is not beyond sampling by more than that of the best.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0, ..., K - 1.
    y : ndarray of float64, shape (n,)
        Outcome.
    mean : ndarray of float64, shape (n,)
        Out-of-fold Q* of each row's own arm, in units of the outcome.
    covariates : DataFrame, n rows
        Canonical covariates.
    kind : {"binary", "continuous", "count"}
        Kind of the outcome.
    rng : numpy.random.Generator
        Spent on folds, trees and the draws that are scored.
    weights : ndarray of float64, shape (n,), optional
        Row weights.
    support : Support, optional
        Of the whole source; by default that of these rows.
    law : str
        ``outcomes.NAME.law``: "auto" or a key of the kind "law".

    Returns
    -------
    Chosen

    Raises
    ------
    SpecError
        If the law that the SPEC names is not one of the outcome's kind.
    EstimationError
        If a continuous outcome has fewer than five rows in an arm.

    References
    ----------
    Gneiting, Raftery (2007), Strictly proper scoring rules, DOI 10.1198/016214506000001437.
    """
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    rows = LawRows(covariates, a, y, mean, w)
    limits = find_support(y) if support is None else support
    tried = _candidates(law, limits, kind, y)
    scores: list[Scores] = []
    if len(tried) > 1:
        # numbers of their own: what a law is fitted with does not depend on how many were tried
        seed = int(rng.integers(2**62))
        scores = _scored(tried, rows, limits, seed)
        tried, scores = _by_rank(tried, scores)
        at = _simplest(scores, rows_used(rows.weights, seed))
    else:
        at = 0
    fitted = tried[at].method.fit(rows, limits, rng)
    record: dict[str, Any] = {"name": fitted.key, "chosen": "asked for" if law != AUTO else "only one suits" if not scores else "crps"}
    if scores:
        record["crps"] = {each.name: float(np.round(score.crps.mean(), 6)) for each, score in zip(tried, scores)}
    if isinstance(fitted, TiltLaw):
        some = rows.take(np.arange(min(len(y), _STRENGTH_ROWS)))
        strength = fitted.strength(some.a, some.mean, some.covariates, np.random.default_rng(0))
        middle, most, extreme = strength.quantiles
        record["tilt"] = {"median": middle, "p90": most, "p99": extreme, "far": strength.far, "climbed": strength.climbed}
    return Chosen(fitted, record)


def attainable(y: Float64, support: Support, kind: str) -> tuple[float, float] | None:
    """Return the range that Q* is targeted in, so that the outcome's law has it.

    Parameters
    ----------
    y : ndarray of float64, shape (n,)
        Outcomes that the law is fitted to.
    support : Support
    kind : str

    Returns
    -------
    tuple of two float, or None
        Means of the outermost support cells; None where a law without bounds will be chosen.
    """
    if kind == "binary" or not (support.shaped or kind == "count"):
        return None
    means = build_cells(y, support)[0].means
    return (float(means[0]), float(means[-1])) if means[-1] > means[0] else None


def rows_used(weights: Float64, seed: int) -> npt.NDArray[np.intp]:
    """Return the rows that laws are compared on: of positive weight, at most 4,000, ascending."""
    used = np.flatnonzero(weights > 0.0)
    return used if len(used) <= _ROWS else np.sort(np.random.default_rng(seed).choice(used, _ROWS, replace=False))


def _candidates(law: str, support: Support, kind: str, y: Float64) -> list[Candidate]:
    if law != AUTO:
        method: LawMethod = resolve("law", law)
        if (kind == "binary") != (law == "binary"):
            hint = "Leave law at 'auto', or set another outcomes.NAME.kind."
            raise SpecError(f"law of outcomes must be one for a {kind} outcome; got '{law}'.", hint)
        return [Candidate(law, method, {})]
    candidates = []
    for name in names("law"):
        method = resolve("law", name)
        if method.suits(support, kind):
            candidates.append(Candidate(name, method, {}))
            if name == "tilt" and _skewed(support, y):
                candidates.append(Candidate("tilt by logarithms", resolve("law", name, {"statistic": "log"}), {"statistic": "log"}))
    if not candidates:
        raise SpecError(f"law of outcomes must be one of {', '.join(names('law'))}; none of them suits a {kind} outcome.")
    return candidates


def _skewed(support: Support, y: Float64) -> bool:
    """Return whether the safe range reaches far beyond the median of positive values."""
    return support.sign > 0 and bool(np.any(y > 0.0)) and support.inner[1] > _SKEWED * float(np.median(y[y > 0.0]))


def _scored(tried: list[Candidate], rows: LawRows, support: Support, seed: int) -> list[Scores]:
    used = rows.take(rows_used(rows.weights, seed))
    folds = assign_folds(np.arange(len(used.a), dtype=np.uint64), used.a.astype(np.int64), _FOLDS, seed)
    drawn = np.empty((len(tried), _DRAWS, len(used.a)))
    for fold in range(_FOLDS):
        train, test = used.take(folds != fold), used.take(folds == fold)
        for at, each in enumerate(tried):
            law = each.method.fit(train, support, np.random.default_rng((seed, fold)))
            rng = np.random.default_rng((seed, fold, 1))
            drawn[at][:, folds == fold] = [law.draw(test.a, test.mean, test.covariates, rng) for _ in range(_DRAWS)]
    return [Scores(crps(used.y, each), _distance(used, each)) for each in drawn]


def crps(y: Float64, drawn: Float64) -> Float64:
    """Return E|X - y| - E|X - X'| / 2 of each row, shape (n,), estimated without bias from draws of shape (m, n)."""
    m = len(drawn)
    ordered = np.sort(drawn, axis=0)
    # the sum over pairs of |x - x'| is 2 sum_k (2k - m + 1) x_(k)
    pairs = 2.0 * ((2.0 * np.arange(m) - m + 1.0) @ ordered)
    return np.asarray(np.abs(drawn - y).mean(axis=0) - pairs / (2.0 * m * (m - 1)))


def _distance(rows: LawRows, drawn: Float64) -> float:
    """Return by how much an arm's draws lie further from its outcomes than sampling explains."""
    beyond = []
    for of_arm in rows.arms():
        y, x = np.sort(rows.y[of_arm]), np.sort(drawn[:, of_arm].ravel())
        at = np.unique(y)
        gap = np.abs(np.searchsorted(y, at, side="right") / len(y) - np.searchsorted(x, at, side="right") / len(x)).max()
        beyond.append(float(gap) - _KOLMOGOROV / float(np.sqrt(len(y))))
    return max(beyond)


def _by_rank(tried: list[Candidate], scores: list[Scores]) -> tuple[list[Candidate], list[Scores]]:
    order = sorted(range(len(tried)), key=lambda at: (tried[at].method.rank, bool(tried[at].params)))
    return [tried[at] for at in order], [scores[at] for at in order]


def _simplest(scores: list[Scores], used: npt.NDArray[np.intp]) -> int:
    """Return the first law whose score does not differ from the best beyond its error."""
    best = min(scores, key=lambda score: float(score.crps.mean()))
    for at, score in enumerate(scores):
        gap = score.crps - best.crps
        error = float(gap.std()) / float(np.sqrt(max(len(used), 1)))
        if score.distance <= max(best.distance, 0.0) + _SLACK and float(gap.mean()) <= _DISTINCT * error:
            return at
    return scores.index(best)
