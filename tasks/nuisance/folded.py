"""Ridge GLMs of all folds of a table that fits in the cache: the same fits as fold by fold, in a fifth of the time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.nuisance import Float64, Int8, Nuisances, Predictions
from tasks.nuisance.bounds import require_arms, within
from tasks.nuisance.cells import Cells, cells_of
from tasks.nuisance.design import Design, eta_of, with_treatment
from tasks.nuisance.ridge import FAMILY, STRENGTHS, Family, fit_ridge, mean_of, unit_of
from tasks.numerics.compiled import compiled

_HALVINGS = 27  # of a Newton step: as far as tasks.nuisance.ridge halves one


class LinearRules(Protocol):
    """Settings of a GLM learner: its design and its penalties."""

    def design(self, covariates: Cells) -> Design:
        """Fit the design on training rows."""
        ...

    def penalties(self, design: Design) -> tuple[Float64, Float64]:
        """Return the relative penalties of the columns of g and of Q."""
        ...

    @property
    def interacts(self) -> bool:
        """Whether Q has treatment-covariate interactions."""
        ...


class Fold(NamedTuple):
    """One fold of a table: its training rows, the rows to predict, the covariates of all rows, and the treatment of all rows."""

    train: npt.NDArray[np.intp]
    test: npt.NDArray[np.intp]
    cells: Cells
    a: Int8


def predict_folds(
    rules: LinearRules, reach: float, covariates: pd.DataFrame, a: Int8, outcomes: Sequence[tuple[Float64, str]], folds: Int8
) -> Predictions:
    """Cross-fit g and Q and predict each fold by the models of the others.

    Parameters
    ----------
    rules : LinearRules
        Design and penalties.
    reach : float
        How far the linear predictor of a count may lie outside that of the training rows.
    covariates : DataFrame, n rows
        Canonical covariates.
    a : ndarray of int8, shape (n,)
        Treatment, 0 or 1.
    outcomes : sequence of (ndarray of float64, shape (n,), str)
        Each outcome, NaN where missing, and its kind: "binary", "continuous" or "count".
    folds : ndarray of int8, shape (n,)
        Fold of each row.

    Returns
    -------
    Predictions
        Arrays of shape (n,): what ``fit_propensity`` and ``fit_outcome`` of the learner give fold by fold, up to rounding; where cells
        are missing, Q as fitted on the other rows, and the chance to be known.

    Raises
    ------
    EstimationError
        If an arm has fewer than two training rows in a fold, or fewer than two of them have an outcome.
    """
    n, cells = len(a), cells_of(covariates)
    gaps = [bool(np.isnan(y).any()) for y, _ in outcomes]
    g, q = np.empty(n), [(np.empty(n), np.empty(n)) for _ in outcomes]
    presence = [(np.ones(n), np.ones(n)) if gap else None for gap in gaps]
    for number in np.unique(folds):
        fold = Fold(np.flatnonzero(folds != number), np.flatnonzero(folds == number), cells, a)
        require_arms(a[fold.train])
        taught = cells.take(fold.train)
        design = rules.design(taught)
        inside, outside = design.matrix(taught), design.matrix(cells.take(fold.test))
        penalty_g, penalty_q = rules.penalties(design)
        b = ridge(np.column_stack((np.ones(len(fold.train)), inside)), a[fold.train].astype(np.float64), penalty_g, "binomial")
        g[fold.test] = within("binary", mean_of("binomial", b[0] + outside @ b[1:]))
        for (y, kind), regressions, chances in zip(outcomes, q, presence, strict=True):
            seen = ~np.isnan(y[fold.train])
            if seen.all():
                _regress(rules, reach, fold, (inside, outside, penalty_q), y, kind, regressions)
                continue
            assert chances is not None  # of every outcome with a gap
            _regress(rules, reach, fold, (inside, outside, penalty_q), (~np.isnan(y)).astype(np.float64), "binary", chances)
            _regress_known(rules, reach, fold._replace(train=fold.train[seen]), y, kind, regressions)
    return Predictions(Nuisances(g, *q[0]), tuple(q[1:]), tuple(presence) if any(gaps) else ())


def _regress_known(rules: LinearRules, reach: float, fold: Fold, y: Float64, kind: str, into: tuple[Float64, Float64]) -> None:
    """Fit Q on the rows that have the outcome, with a design of their own."""
    require_arms(fold.a[fold.train])
    taught = fold.cells.take(fold.train)
    design = rules.design(taught)
    matrices = (design.matrix(taught), design.matrix(fold.cells.take(fold.test)), rules.penalties(design)[1])
    _regress(rules, reach, fold, matrices, y, kind, into)


def _regress(
    rules: LinearRules,
    reach: float,
    fold: Fold,
    matrices: tuple[Float64, Float64, Float64],
    y: Float64,
    kind: str,
    into: tuple[Float64, Float64],
) -> None:
    """Fit Q of one outcome on training rows and write its predictions of the other rows; ``matrices`` of both, and the penalty of Q."""
    (inside, outside, penalty), a_train, y_train = matrices, fold.a[fold.train], y[fold.train]
    x = with_treatment(inside, a_train, rules.interacts)
    centre, scale = standard(y_train) if kind == "continuous" else (0.0, 1.0)
    b = ridge(x, (y_train - centre) / scale, penalty, FAMILY[kind])
    eta = x @ b
    for arm, q in enumerate(into):
        there = eta_of(outside, np.full(len(fold.test), arm, dtype=np.int8), b, rules.interacts)
        if kind == "count":
            there = np.clip(there, float(eta.min()) - reach, float(eta.max()) + reach)
        q[fold.test] = within(kind, centre + scale * mean_of(FAMILY[kind], there))


def standard(outcome: Float64, weights: Float64 | None = None) -> tuple[float, float]:
    """Return the mean and the standard deviation of an outcome; 1 for one that does not vary."""
    centre = float(np.average(outcome, weights=weights))
    scale = float(np.sqrt(np.average((outcome - centre) ** 2, weights=weights)))
    return centre, scale if scale > 0.0 else 1.0


def ridge(x: Float64, y: Float64, penalty: Float64, family: Family) -> Float64:
    """Return the coefficients of :func:`tasks.nuisance.ridge.fit_ridge` without row weights, up to rounding, shape (p,)."""
    if family == "gaussian":
        return fit_ridge(x, y, penalty, family).coefficients
    strengths = np.asarray(STRENGTHS) * (unit_of(family, float(y.mean())) * len(y))
    coefficients: Float64 = _path(np.ascontiguousarray(x.T), y, penalty, family == "poisson", strengths)
    return coefficients


@compiled
def _rows(eta, y, poisson, mu, information):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Fill mean and information of each row at its linear predictor; return the sum of losses."""
    total = 0.0
    for i in range(eta.shape[0]):
        bounded = min(max(eta[i], -30.0), 30.0)
        if poisson:
            mu[i] = np.exp(bounded)
            information[i] = max(mu[i], 1e-10)
            total += mu[i] - y[i] * bounded
        else:
            odds = np.exp(-abs(bounded))
            mu[i] = 1.0 / (1.0 + odds) if bounded >= 0.0 else odds / (1.0 + odds)
            information[i] = max(mu[i] * (1.0 - mu[i]), 1e-10)
            total += max(bounded, 0.0) + np.log1p(odds) - y[i] * bounded
    return total


@compiled
def _gram(x, information):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the Gram matrix of columns x under the information of each row."""
    scaled = np.empty_like(x)
    for j in range(x.shape[0]):
        for i in range(x.shape[1]):
            scaled[j, i] = x[j, i] * information[i]
    return np.dot(scaled, x.T)


@compiled
def _inverse_root(gram, diagonal):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Return the inverse of the Cholesky factor of gram plus a diagonal (and a trace of ridge on every column)."""
    p = gram.shape[0]
    trace = 0.0
    for j in range(p):
        trace += gram[j, j]
    added = 1e-9 * max(trace / p, 1e-12)
    hessian = gram.copy()
    for j in range(p):
        hessian[j, j] += diagonal[j] + added
    factor = np.linalg.cholesky(hessian)
    root = np.zeros((p, p))
    for k in range(p):
        root[k, k] = 1.0 / factor[k, k]
        for j in range(k + 1, p):
            total = 0.0
            for m in range(k, j):
                total += factor[j, m] * root[m, k]
            root[j, k] = -total / factor[j, j]
    return root


@compiled
def _path(x, y, penalty, poisson, strengths):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Fit along the strengths, each from the one before; return the coefficients with the least leave-one-out loss."""
    p, n = x.shape
    b, best = np.zeros(p), np.zeros(p)
    eta = np.zeros(n)
    mu, information = np.empty(n), np.empty(n)
    mu_next, information_next = np.empty(n), np.empty(n)
    loss = _rows(eta, y, poisson, mu, information)
    gram = _gram(x, information)
    least = np.inf
    for strength in strengths:
        diagonal = penalty * strength
        objective = loss + 0.5 * np.sum(diagonal * b * b)
        for _ in range(50):
            gradient = np.dot(x, mu - y) + diagonal * b
            root = _inverse_root(gram, diagonal)
            half = np.dot(root, gradient)
            step = -np.dot(root.T, half)
            decrement = np.sum(half * half)
            along = np.dot(step, x)
            length, moved = 1.0, False
            for _halving in range(_HALVINGS):
                following = b + length * step
                ahead = eta + length * along
                loss_next = _rows(ahead, y, poisson, mu_next, information_next)
                objective_next = loss_next + 0.5 * np.sum(diagonal * following * following)
                if objective_next <= objective - 1e-4 * length * decrement:
                    moved = True
                    break
                length /= 2.0
            if not moved:
                break
            b, eta, loss, objective = following, ahead, loss_next, objective_next
            mu[:] = mu_next
            information[:] = information_next
            gram = _gram(x, information)
            if decrement <= 1e-10 * n:
                break
        half_rows = np.dot(_inverse_root(gram, diagonal), x)
        total = 0.0
        for i in range(n):
            leverage = 0.0
            for j in range(p):
                leverage += half_rows[j, i] * half_rows[j, i]
            eta_out = eta[i] + (mu[i] - y[i]) * leverage / max(1.0 - information[i] * leverage, 1e-3)
            bounded = min(max(eta_out, -30.0), 30.0)
            if poisson:
                total += np.exp(bounded) - y[i] * bounded
            else:
                total += max(bounded, 0.0) + np.log1p(np.exp(-abs(bounded))) - y[i] * bounded
        if total < least:
            least = total
            best[:] = b
    return best
