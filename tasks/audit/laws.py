"""The laws of treatment and outcomes as an attacker learns them from a release: forests with leaves of single rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from tasks.audit.case import Float64, Int8, Outcome, Rows
from tasks.audit.encoding import matrix

#: Smallest probability that an attacker gives anything.
FLOOR = 1e-3


class OutcomeLaw(NamedTuple):
    """P(Y | A, W) of one outcome, and P(known | A, W) where the release misses cells.

    Attributes
    ----------
    outcome : Outcome
    model : RandomForestClassifier or RandomForestRegressor
        Of the released rows that know the outcome.
    spread : float
        Out-of-bag standard deviation around the mean; 1 of a binary outcome.
    presence : RandomForestClassifier or None
        None where all released rows know the outcome, or none does.
    """

    outcome: Outcome
    model: RandomForestClassifier | RandomForestRegressor
    spread: float
    presence: RandomForestClassifier | None

    def expected(self, rows: Rows, treatment: Int8) -> Float64:
        """Return E[Y | A, W], shape (n,)."""
        return _chance(self.model, _given(rows, treatment))

    def likelihood(self, rows: Rows) -> Float64:
        """Return log P(Y | A, W), shape (n,): a normal law around the mean where Y is no coin; a missing cell counts as that alone."""
        cells, q = rows.cells(self.outcome.id), self.expected(rows, rows.treatment)
        present = ~np.isnan(cells)
        if self.outcome.is_binary:
            q = np.clip(q, FLOOR, 1 - FLOOR)
            values = np.log(np.where(cells > 0.5, q, 1 - q))
        else:
            values = -0.5 * ((cells - q) / self.spread) ** 2
        if self.presence is None:
            return np.asarray(np.where(present, values, 0.0), dtype=np.float64)
        chance = np.clip(_chance(self.presence, _given(rows, rows.treatment)), FLOOR, 1 - FLOOR)
        return np.asarray(np.where(present, values + np.log(chance), np.log(1 - chance)), dtype=np.float64)


class Laws(NamedTuple):
    """P(A | W) and the laws of all outcomes; no treatment law where one arm alone was released."""

    treatment: RandomForestClassifier | None
    outcomes: tuple[OutcomeLaw, ...]

    def chances(self, rows: Rows) -> Float64:
        """Return P(A = k | W) of every arm, shape (n, K)."""
        given = np.full((len(rows), rows.arms), 1.0 / rows.arms)
        if self.treatment is None:
            return given
        given[:] = 0.0
        given[:, self.treatment.classes_] = self.treatment.predict_proba(matrix(rows.covariates))
        if rows.arms == 2:
            given[:, 0] = 1.0 - given[:, 1]
        return given

    def likelihood(self, rows: Rows) -> Float64:
        """Return log P(A | W) + sum over outcomes of log P(Y | A, W), shape (n,)."""
        of_a = np.log(np.clip(self.chances(rows)[np.arange(len(rows)), rows.treatment], FLOOR, 1 - FLOOR))
        for law in self.outcomes:
            of_a = of_a + law.likelihood(rows)
        return np.asarray(of_a, dtype=np.float64)


def learn(release: Rows, outcomes: tuple[Outcome, ...], trees: int, rng: np.random.Generator) -> Laws:
    """Fit all laws on a release; outcomes that no released row knows have none.

    Parameters
    ----------
    release : Rows, m rows
    outcomes : tuple of Outcome
    trees : int
        Of each forest.
    rng : numpy.random.Generator
    """
    state, *states = rng.integers(2**31, size=1 + len(outcomes)).tolist()
    treatment = RandomForestClassifier(trees, random_state=state, n_jobs=1).fit(matrix(release.covariates), release.treatment)
    complete = [np.flatnonzero(~np.isnan(release.cells(outcome.id))) for outcome in outcomes]
    laws = [
        _law(release, outcome, rows, trees, state) for outcome, rows, state in zip(outcomes, complete, states, strict=True) if len(rows) > 1
    ]
    return Laws(treatment if len(treatment.classes_) > 1 else None, tuple(laws))


def _law(release: Rows, outcome: Outcome, rows: np.ndarray, trees: int, state: int) -> OutcomeLaw:
    x, cells = _given(release, release.treatment), release.cells(outcome.id)[rows]
    presence = None
    if len(rows) < len(release):
        presence = RandomForestClassifier(trees, random_state=state, n_jobs=1).fit(
            x, np.isin(np.arange(len(release)), rows).astype(np.int64)
        )
    if outcome.is_binary:
        classes = (cells > 0.5).astype(np.int64)
        return OutcomeLaw(outcome, RandomForestClassifier(trees, random_state=state, n_jobs=1).fit(x[rows], classes), 1.0, presence)
    model = RandomForestRegressor(trees, random_state=state, n_jobs=1, oob_score=True).fit(x[rows], cells)
    spread = float(np.std(cells - model.oob_prediction_))
    return OutcomeLaw(outcome, model, spread if spread > 0 else 1.0, presence)


def _given(rows: Rows, treatment: Int8) -> Float64:
    return np.column_stack([matrix(rows.covariates), treatment])


def _chance(model: RandomForestClassifier | RandomForestRegressor, x: Float64) -> Float64:
    """Return the mean, of a classifier the chance of a 1, shape (n,)."""
    if isinstance(model, RandomForestClassifier):
        at = list(model.classes_).index(1) if 1 in model.classes_ else None
        return np.zeros(len(x)) if at is None else np.asarray(model.predict_proba(x)[:, at], dtype=np.float64)
    return np.asarray(model.predict(x), dtype=np.float64)
