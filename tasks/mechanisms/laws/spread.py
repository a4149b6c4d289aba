"""The spread of a continuous outcome around its mean, as a function of (A, W)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.contract.disclosure import safe_bounds, tails
from tasks.contract.nuisance import Float64, Int8
from tasks.nuisance.design import Design, eta_of, fit_design
from tasks.nuisance.folds import assign_folds
from tasks.nuisance.regressors import regressors
from tasks.nuisance.ridge import fit_ridge

_ROWS = 20_000  # rows a scale model is fitted on: a spread needs no more
_FOLDS = 5
_TAIL = 0.01  # share of fitted log-spreads held back at either end
_FEW = 5  # fewest values behind a number of the model, which a release may carry


@dataclass(frozen=True)
class ScaleModel:
    """A log-linear model of the mean absolute residual, up to one factor per arm.

    Attributes
    ----------
    design : Design
        Of the covariates.
    coefficients : ndarray of float64
        On :func:`tasks.nuisance.design.with_treatment`.
    low, high : float
        Bounds of the linear predictor: its 1 % and 99 % quantiles over the fitted rows, so that no spread is extrapolated.
    """

    design: Design
    coefficients: Float64
    low: float
    high: float

    def predict(self, covariates: pd.DataFrame, treatment: Int8) -> Float64:
        """Return the relative spread of each row, shape (n,), positive."""
        arms = len(self.coefficients) // (1 + self.design.width)
        eta = eta_of(self.design.matrix(covariates), treatment, self.coefficients, arms=arms)
        return np.exp(np.clip(eta, self.low, self.high))


def fit_scale(covariates: pd.DataFrame, treatment: Int8, residual: Float64, weights: Float64) -> ScaleModel:
    """Fit log E|residual| on (A, W) by ridge-penalised quasi-likelihood.

    Parameters
    ----------
    covariates : DataFrame, n rows
        Canonical covariates.
    treatment : ndarray of int8, shape (n,)
        Treatment.
    residual : ndarray of float64, shape (n,)
        Out-of-fold residuals, not all zero.
    weights : ndarray of float64, shape (n,)
        Row weights.

    Returns
    -------
    ScaleModel
        None of its numbers is a cell: at or beyond each bound lie at least five values, and what stands for a missing one is the
        mean of the five in the middle.
    """
    design = sheltered(fit_design(covariates), covariates)
    arms = int(treatment.max(initial=1)) + 1
    x = regressors(design, covariates, treatment, arms=arms)
    size = np.abs(residual)
    penalty = np.concatenate((np.zeros(arms), np.ones(arms * design.width)))
    fit = fit_ridge(x, size / float(np.average(size, weights=weights)), penalty, "poisson", weights)
    low, high = np.quantile(x @ fit.coefficients, [_TAIL, 1.0 - _TAIL])
    return ScaleModel(design, fit.coefficients, float(low), float(high))


def sheltered(design: Design, covariates: pd.DataFrame) -> Design:
    """Return a design whose bounds and fillings rest on five values each; a column with fewer of them is left out."""
    terms = []
    for term in design.numeric:
        values = covariates[term.name].to_numpy(dtype=np.float64)
        seen = np.sort(values[~np.isnan(values)])
        if len(seen) < _FEW:
            continue
        start = (len(seen) - _FEW) // 2
        low, high = safe_bounds(*tails(seen))
        terms.append(term._replace(low=low, fill=float(seen[start : start + _FEW].mean()), high=high))
    return Design(tuple(terms), design.category)


def choose_scale(
    covariates: pd.DataFrame, treatment: Int8, residual: Float64, weights: Float64, rng: np.random.Generator
) -> ScaleModel | None:
    """Decide by cross-validation whether the spread depends on W beyond the arm.

    Both are judged on held-out rows by ``log m + abs(r) / m``, with m the predicted mean absolute residual; the scale
    model is kept where it wins by more than one standard error of the paired difference.

    Parameters
    ----------
    covariates, treatment, residual, weights
        As in :func:`fit_scale`.
    rng : numpy.random.Generator
        Spent on one number: the seed of the folds and of the sample of rows.

    Returns
    -------
    ScaleModel or None
        None is one spread per arm.
    """
    seed = int(rng.integers(2**62))
    used = np.flatnonzero(weights > 0.0)
    if len(used) > _ROWS:
        used = np.sort(np.random.default_rng(seed).choice(used, _ROWS, replace=False))
    frame = covariates.iloc[used].reset_index(drop=True)
    a, r, w = treatment[used], residual[used], weights[used]
    smallest = min(int(np.count_nonzero(a == arm)) for arm in range(int(a.max(initial=1)) + 1))
    if smallest < 4 * _FOLDS or any(not np.any(r[a == arm]) for arm in np.unique(a)):
        return None
    folds = assign_folds(np.arange(len(a), dtype=np.uint64), a.astype(np.int64), _FOLDS, seed)
    gain = np.empty(len(a))
    for fold in range(_FOLDS):
        train, test = folds != fold, folds == fold
        model = fit_scale(frame.loc[train], a[train], r[train], w[train])
        constant = _per_arm(np.exp(np.zeros(len(a))), a, r, w, train)[test]
        modelled = _per_arm(model.predict(frame, a), a, r, w, train)[test]
        gain[test] = _loss(r[test], constant) - _loss(r[test], modelled)
    mean = float(np.average(gain, weights=w))
    share = w / w.sum()
    error = float(np.sqrt(np.sum((share * (gain - mean)) ** 2)))
    return fit_scale(frame, a, r, w) if mean > error else None


def _per_arm(relative: Float64, a: Int8, r: Float64, w: Float64, train: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Float64:
    """Scale relative spreads so that in each arm's training rows they predict |r| right on average."""
    out = relative.copy()
    for arm in np.unique(a):
        rows = train & (a == arm)
        out[a == arm] *= float(w[rows] @ np.abs(r[rows])) / float(w[rows] @ relative[rows])
    return np.maximum(out, 1e-12 * float(np.abs(r).max()))


def _loss(r: Float64, m: Float64) -> Float64:
    return np.log(m) + np.abs(r) / m
