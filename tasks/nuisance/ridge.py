"""Ridge-penalised generalised linear models whose strength is chosen by leave-one-out, without refitting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import scipy.linalg

from tasks.contract.nuisance import Float64
from tasks.nuisance.regressors import Regressors, many_rows, plain_regressors, thinning
from tasks.numerics.newton import factor, halvings, newton_step, trace_of_ridge
from tasks.numerics.products import BLOCK, weighted_gram

Family = Literal["gaussian", "binomial", "poisson"]

FAMILY: dict[str, Family] = {"continuous": "gaussian", "binary": "binomial", "count": "poisson"}

# per-row strengths relative to the information of one row; from almost free to almost the unpenalised columns alone
STRENGTHS: tuple[float, ...] = tuple(float(v) for v in 10.0 ** np.linspace(1.5, -4.0, 12))

_ETA = 30.0  # |linear predictor| beyond which a probability or a rate is numerically at its bound
_LEVERAGE = 1e-3  # smallest 1 - leverage used: a row that fits itself alone can't vote with infinite weight
_JUDGES = 20_000  # rows whose left-out losses compare strengths: differences are of paired losses, with little sampling error
_STEPS = 50  # of a fit at most
_FASTER = 10.0  # a step's decrement over the next one's, below which the information is taken anew
_CLOSE = 1e-12  # decrement per row at which a step is the last
_ROUNDS = 4  # of choosing a strength and fitting it: the second choice is the first unless strengths are all but equally good


class RidgeFit(NamedTuple):
    """A fitted ridge GLM.

    Attributes
    ----------
    coefficients : ndarray of float64, shape (p,)
        One per column of the design, the intercept's among them.
    strength : float
        The chosen penalty per row, relative to the information of one row.
    loss : float
        Mean approximate leave-one-out loss at that strength (half squared error, or minus log likelihood up to a constant).
    """

    coefficients: Float64
    strength: float
    loss: float


def mean_of(family: Family, eta: Float64) -> Float64:
    """Return the mean of the outcome at a linear predictor (canonical links)."""
    if family == "gaussian":
        return eta
    bounded = np.clip(eta, -_ETA, _ETA)
    return np.exp(bounded) if family == "poisson" else 1.0 / (1.0 + np.exp(-bounded))


def loss_of(family: Family, y: Float64, eta: Float64) -> Float64:
    """Return each row's loss: half the squared error, or minus log likelihood without the terms of y alone."""
    if family == "gaussian":
        return 0.5 * (y - eta) ** 2
    bounded = np.clip(eta, -_ETA, _ETA)
    if family == "poisson":
        return np.exp(bounded) - y * bounded
    return np.logaddexp(0.0, bounded) - y * bounded


def variance_of(family: Family, mu: Float64) -> Float64:
    """Return each row's information under its canonical link: the variance of the outcome at its mean."""
    if family == "gaussian":
        return np.ones_like(mu)
    return np.maximum(mu if family == "poisson" else mu * (1.0 - mu), 1e-10)


def unit_of(family: Family, mean: float) -> float:
    """Return the variance v that strengths are relative to: that of an outcome with this mean."""
    return {"gaussian": 1.0, "binomial": max(mean * (1.0 - mean), 1e-3), "poisson": max(mean, 1e-3)}[family]


def fit_ridge(
    x: Float64 | Regressors,
    y: Float64,
    penalty: Float64,
    family: Family,
    weights: Float64 | None = None,
    strengths: Sequence[float] = STRENGTHS,
) -> RidgeFit:
    """Fit a ridge GLM along a path of strengths and keep the one with the least leave-one-out loss.

    Minimises ``sum_i w_i loss(y_i, x_i b) + n s v / 2 sum_j penalty_j b_j^2`` by damped Newton steps, where v is the
    variance of y's family at the mean of y, so that a strength s means the same for every family and scale of weights.
    The strength minimises the approximate leave-one-out loss (exact for the gaussian family). From 5,000 rows and 20 rows per column
    on, strengths are compared on the working linear model of the fit, as in performance iteration (Gu 1992,
    doi:10.1080/10618600.1992.10477012); the coefficients at the chosen one are fitted as exactly as those of fewer rows.

    Parameters
    ----------
    x : ndarray of float64, shape (n, p), or Regressors
        Design, intercept included; it may be rank deficient and p may exceed n.
    y : ndarray of float64, shape (n,)
        Outcome; for ``"gaussian"`` of about unit variance.
    penalty : ndarray of float64, shape (p,)
        Relative penalty of each column, 0 for columns left free.
    family : {"gaussian", "binomial", "poisson"}
        With its canonical link.
    weights : ndarray of float64, shape (n,), optional
        Row weights, rescaled to mean 1.
    strengths : sequence of float
        Candidates, descending (each fit starts from the one before).

    Returns
    -------
    RidgeFit

    References
    ----------
    Rad, Maleki (2020), A scalable estimate of the out-of-sample prediction error via approximate leave-one-out
    cross-validation, JRSS B 82, doi:10.1111/rssb.12374.
    """
    w = np.ones(len(y)) if weights is None else weights / weights.mean()
    centre = float(np.average(y, weights=w))
    unit = unit_of(family, centre)
    factors = [strength * unit * len(y) for strength in strengths]
    if isinstance(x, np.ndarray) and not (many_rows(*x.shape) and len(strengths) > 1):
        coefficients, at, loss = _fit_path(x, y, w, penalty, family, factors)
    else:
        many = plain_regressors(x) if isinstance(x, np.ndarray) else x
        coefficients, at, loss = _fit_many(many, many.sorted(y), many.sorted(w), penalty, family, factors)
    return RidgeFit(coefficients, strengths[at], loss)


class _Choice(NamedTuple):
    """Coefficients, the place of their strength, and its leave-one-out loss."""

    coefficients: Float64
    at: int
    loss: float


def _fit_path(x: Float64, y: Float64, w: Float64, penalty: Float64, family: Family, factors: Sequence[float]) -> _Choice:
    """Fit every strength, each from the one before; ``factors`` multiply the penalty."""
    coefficients = np.zeros(x.shape[1])
    # the information of gaussian rows is their weight, whatever the fit: one Gram matrix serves all strengths
    gram = weighted_gram(x, w) if family == "gaussian" else None
    leverages = None if gram is None else _leverages(x, gram, penalty, factors)
    best: _Choice | None = None
    for at, each in enumerate(factors):
        diagonal = penalty * each
        coefficients = _newton(x, y, w, diagonal, family, coefficients, gram)
        loss = _left_out(x, y, w, diagonal, family, coefficients, None if leverages is None else leverages[at])
        if best is None or loss < best.loss:
            best = _Choice(coefficients, at, loss)
    if best is None:
        raise ValueError("strengths of a ridge fit must be at least one; got none.")
    return best


def _fit_many(x: Regressors, y: Float64, w: Float64, penalty: Float64, family: Family, factors: Sequence[float]) -> _Choice:
    """Choose a strength on the working linear model of a fit and fit it, until the choice stays; then try stronger ones.

    Far from the fit that it is made at, the working model overrates strong penalties' losses: so the next stronger one gets a fit of its
    own, as long as that is better.
    """
    n, p = x.shape
    step, start = thinning(n), np.zeros(p)
    judges = _judges(x, y, w)
    if family == "gaussian":  # whose working model is the model
        model = _working_model(x, y, w, family, start)
        candidates, losses = _working_fits(model, judges, penalty, family, factors)
        at = int(np.argmin(losses))
        return _Choice(candidates[:, at], at, float(losses[at]))
    middle, (some, few) = penalty * (factors[len(factors) // 2] / step), x.every(step)
    start = _descend(some, y[few], w[few], middle, family, start, some.gram(w[few] * variance_of(family, mean_of(family, some @ start))))
    model = _working_model(x, y, w, family, start)
    candidates, losses = _working_fits(model, judges, penalty, family, factors)
    at = int(np.argmin(losses))
    choices: dict[int, _Choice] = {}
    while at not in choices and len(choices) < _ROUNDS:
        coefficients = _descend(x, y, w, penalty * factors[at], family, candidates[:, at], model.gram)
        model = _working_model(x, y, w, family, coefficients)
        candidates, losses = _working_fits(model, judges, penalty, family, factors)
        # the loss of the strength that was fitted is its own; those of others are approximate
        choices[at] = _Choice(coefficients, at, float(losses[at]))
        at = int(np.argmin(losses))
    best = min(choices.values(), key=lambda choice: choice.loss)
    for at in range(best.at - 1, -1, -1):
        coefficients = _descend(x, y, w, penalty * factors[at], family, best.coefficients, model.gram)
        model = _working_model(x, y, w, family, coefficients)
        stronger = _Choice(coefficients, at, float(_working_fits(model, judges, penalty, family, factors[at : at + 1])[1][0]))
        if stronger.loss >= best.loss:
            break
        best = stronger
    return best


class _Judges(NamedTuple):
    """Rows whose left-out losses compare strengths, and their weights over the sum of theirs."""

    x: Regressors
    y: Float64
    w: Float64
    share: Float64


def _judges(x: Regressors, y: Float64, w: Float64) -> _Judges:
    some, places = x.every(max(1, len(y) // _JUDGES))
    return _Judges(some, y[places], w[places], w[places] / w[places].sum())


class _Working(NamedTuple):
    """The working linear model of a GLM at some coefficients: its Gram matrix, its right-hand side, and where it was made."""

    gram: Float64
    score: Float64
    at: Float64


def _working_model(x: Regressors, y: Float64, w: Float64, family: Family, b: Float64) -> _Working:
    mu = mean_of(family, x @ b)
    gram = x.gram(w * variance_of(family, mu))
    return _Working(gram, gram @ b + x.score(w * (y - mu)), b)


def _working_fits(model: _Working, judges: _Judges, penalty: Float64, family: Family, factors: Sequence[float]) -> tuple[Float64, Float64]:
    """Return one Newton step to the fit of each strength, shape (p, s), and its mean approximate leave-one-out loss, shape (s,)."""
    shrinkage = _shrinkage(model.gram, penalty, factors)
    fits = shrinkage.vectors @ (shrinkage.kept.T * (shrinkage.vectors.T @ model.score)[:, None])
    information = judges.w * variance_of(family, mean_of(family, judges.x @ model.at))
    leverage, etas = judges.x.squares(shrinkage.vectors, shrinkage.kept), judges.x @ fits
    losses = [
        float(judges.share @ _losses_left_out(judges.y, judges.w, information, family, eta, of))
        for eta, of in zip(etas.T, leverage.T, strict=True)
    ]
    return fits, np.array(losses)


def _descend(x: Regressors, y: Float64, w: Float64, diagonal: Float64, family: Family, start: Float64, gram: Float64) -> Float64:
    """Minimise the penalised loss by steps with the information of coefficients nearby, and with their own where those are too slow.

    Such a step reads x twice; a Gram matrix takes as long as ten of them.
    """
    loss, held, previous = _Loss(x, y, w, diagonal, family), factor(gram, diagonal), np.inf
    at = loss.at(start)
    for _ in range(_STEPS):
        mu = mean_of(family, at.eta)
        gradient = x.score(w * (mu - y)) + diagonal * at.b
        step = -scipy.linalg.cho_solve(held, gradient, check_finite=False)
        decrement = -float(gradient @ step)
        if decrement > previous / _FASTER:
            held, previous = factor(x.gram(w * variance_of(family, mu)), diagonal), np.inf
            step = -scipy.linalg.cho_solve(held, gradient, check_finite=False)
            decrement = -float(gradient @ step)
        else:
            previous = decrement
        if decrement <= _CLOSE * len(y):
            return np.asarray(at.b + step)
        lower = loss.lower(at, step, decrement)
        if lower is None:
            break
        at = lower
    return at.b


def _newton(x: Float64, y: Float64, w: Float64, diagonal: Float64, family: Family, start: Float64, gram: Float64 | None) -> Float64:
    """Minimise the penalised loss from a starting point."""
    loss = _Loss(x, y, w, diagonal, family)
    at = loss.at(start)
    for _ in range(1 if family == "gaussian" else _STEPS):
        mu = mean_of(family, at.eta)
        gradient = x.T @ (w * (mu - y)) + diagonal * at.b
        step = newton_step(weighted_gram(x, w * variance_of(family, mu)) if gram is None else gram, diagonal, gradient)
        decrement = -float(gradient @ step)
        lower = loss.lower(at, step, decrement)
        if lower is None:
            break
        at = lower
        if decrement <= 1e-10 * len(y):
            break
    return at.b


class _Place(NamedTuple):
    """Coefficients, their linear predictor, and the penalised loss there."""

    b: Float64
    eta: Float64
    loss: float


class _Loss(NamedTuple):
    """The penalised loss of a regression; ``diagonal`` is the penalty of each coefficient."""

    x: Float64 | Regressors
    y: Float64
    w: Float64
    diagonal: Float64
    family: Family

    def at(self, b: Float64) -> _Place:
        eta = self.x @ b
        return _Place(b, eta, float(self.w @ loss_of(self.family, self.y, eta)) + 0.5 * float(self.diagonal @ (b * b)))

    def lower(self, start: _Place, step: Float64, decrement: float) -> _Place | None:
        """Return where a step, halved until the loss falls by enough of its decrement, leads; None where no half does."""
        for length in halvings(1e-8):
            place = self.at(start.b + length * step)
            if place.loss <= start.loss - 1e-4 * length * decrement:
                return place
        return None


class _Shrinkage(NamedTuple):
    """``(gram + f diag(penalty))^-1 = vectors diag(kept_f) vectors'`` for every factor f: ``kept`` has shape (factors, p)."""

    vectors: Float64
    kept: Float64


def _shrinkage(gram: Float64, penalty: Float64, factors: Sequence[float]) -> _Shrinkage:
    """Find V such that ``V' gram V = I`` and ``V' diag(penalty) V = diag(values)``: one decomposition serves all factors."""
    base = gram.copy()
    base[np.diag_indices_from(base)] += trace_of_ridge(gram)
    values, vectors = scipy.linalg.eigh(np.diag(penalty), base, check_finite=False)
    return _Shrinkage(vectors, 1.0 / (1.0 + np.multiply.outer(np.asarray(factors), np.maximum(values, 0.0))))


def _leverages(x: Float64, gram: Float64, penalty: Float64, factors: Sequence[float]) -> Float64:
    """Return ``x_i' (gram + f diag(penalty))^-1 x_i`` for every factor and row, shape (factors, n)."""
    shrinkage = _shrinkage(gram, penalty, factors)
    leverages = np.empty((len(factors), len(x)))
    for start in range(0, len(x), BLOCK):
        leverages[:, start : start + BLOCK] = shrinkage.kept @ np.square(x[start : start + BLOCK] @ shrinkage.vectors).T
    return leverages


def _left_out(x: Float64, y: Float64, w: Float64, diagonal: Float64, family: Family, b: Float64, leverage: Float64 | None) -> float:
    """Return the mean loss of each row under the fit that would have left it out (one Newton step away)."""
    eta = x @ b
    mu = mean_of(family, eta)
    information = w * variance_of(family, mu)
    if leverage is None:
        triangle, lower = factor(weighted_gram(x, information), diagonal)
        leverage = np.empty(len(x))
        for start in range(0, len(x), BLOCK):
            half = scipy.linalg.blas.dtrsm(1.0, triangle, x[start : start + BLOCK].T, lower=lower)
            leverage[start : start + BLOCK] = np.einsum("ij,ij->j", half, half)
    return float(np.average(_losses_left_out(y, w, information, family, eta, leverage), weights=w))


def _losses_left_out(y: Float64, w: Float64, information: Float64, family: Family, eta: Float64, leverage: Float64) -> Float64:
    """Return each row's loss at the linear predictor of the fit without it."""
    moved = eta + w * (mean_of(family, eta) - y) * leverage / np.maximum(1.0 - information * leverage, _LEVERAGE)
    return loss_of(family, y, moved)
