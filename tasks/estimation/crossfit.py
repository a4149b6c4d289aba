"""Cross-fitting of the nuisances on one table."""

from __future__ import annotations

import numpy as np

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.nuisance import Float64, Int8, Learner, Nuisances
from tasks.contract.rng import rng_for
from tasks.estimation.table import Table
from tasks.nuisance.folds import assign_folds, fold_strata

#: Fewest rows that an arm must have per fold.
MIN_ARM_ROWS_PER_FOLD = 2


def check_folds(table: Table, folds: int, repeats: int) -> None:
    """Refuse numbers of folds and repeats that the table can't carry."""
    check_arms(table.label, folds, repeats)


def check_arms(label: Int8, folds: int, repeats: int) -> None:
    """Refuse numbers of folds and repeats that arms of this size can't carry; ``label`` is 0 or 1, shape (n,)."""
    if not 2 <= folds <= 20:
        raise SpecError(f"folds of estimate must be in [2, 20]; got {folds}.")
    if repeats < 1:
        raise SpecError(f"repeats of estimate must be at least 1; got {repeats}.")
    smallest = int(min(np.count_nonzero(label == 0), np.count_nonzero(label == 1)))
    if smallest < MIN_ARM_ROWS_PER_FOLD * folds:
        raise EstimationError(
            f"rows of the smaller arm must be at least {MIN_ARM_ROWS_PER_FOLD * folds} for {folds} folds; got {smallest}.",
            "Use fewer folds, or bring more rows.",
        )


def cross_fit(
    table: Table,
    learner: Learner,
    folds: int,
    seed: int,
    repeat: int = 0,
    propensity: Float64 | None = None,
    weights: Float64 | None = None,
) -> Nuisances:
    """Predict g, Q0, Q1 of each row by models that have not seen its fold.

    Folds are stratified by treatment arm, and by outcome where binary, and follow the rows' keys.

    Parameters
    ----------
    table : Table
    learner : Learner
    folds : int
        K, at least 2.
    seed, repeat : int
        Another repeat is another assignment to folds.
    propensity : ndarray of float64, shape (n,), optional
        Known P(A = 1 | W) in the table's row order; g is then not fitted.
    weights : ndarray of float64, shape (n,), optional
        Row weights in the table's row order, positive.

    Returns
    -------
    Nuisances
        Oriented: g is the probability of the treated label.
    """
    n = len(table.y)
    fold_of = assign_folds(table.keys, fold_strata(table.label, table.y, table.kind), folds, seed, repeat)
    g, first, second = np.empty(n), np.empty(n), np.empty(n)
    for fold in range(folds):
        test = np.flatnonzero(fold_of == fold)
        train = np.flatnonzero(fold_of != fold)
        w_train, w_test = table.covariates.iloc[train].reset_index(drop=True), table.covariates.iloc[test].reset_index(drop=True)
        own = None if weights is None else weights[train]
        if propensity is None:
            model = learner.fit_propensity(w_train, table.label[train], rng_for(seed, "estimate-g", f"{repeat}/{fold}"), own)
            g[test] = model.predict(w_test)
        outcome = learner.fit_outcome(
            w_train, table.label[train], table.y[train], table.kind, rng_for(seed, "estimate-q", f"{repeat}/{fold}"), own
        )
        first[test] = outcome.predict(w_test, _constant(0, len(test)))
        second[test] = outcome.predict(w_test, _constant(1, len(test)))
    nuisances = Nuisances(*table.oriented(g, first, second))
    return nuisances if propensity is None else nuisances._replace(g=propensity)


def _constant(value: int, n: int) -> Int8:
    return np.full(n, value, dtype=np.int8)
