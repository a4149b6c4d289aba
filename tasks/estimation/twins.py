"""Twins: predictions for the same rows by models fitted on equal parts of source and release.

Source and release are each cut into three parts. The meta-learners are fitted on every part, always on the same number of
rows, and predicts for source rows of another part. So predictions of release and source parts are compared on rows outside training in
the comparison, and the same comparison between two source parts is its reference: the noise of fitting is in both twice.

A learner's fit on confounded rows keeps a little confounding. Where the release has another design, its
rows are therefore thinned to the source's assignment first, so that both fit the same problem.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8
from tasks.contract.rng import UInt64, mix, salt, unit
from tasks.estimation.fidelity import EACH_ROW, Counting
from tasks.estimation.keys import row_keys
from tasks.estimation.metalearners import LEARNERS, fit_metalearners, fit_propensity
from tasks.nuisance.folds import assign_folds, fold_strata
from tasks.nuisance.trees import TreeColumns, fit_columns

#: Parts of either table: models are fitted on two and compared on the third.
PARTS = 3
#: Released rows that thinning may choose from, for each row wanted.
CANDIDATES = 4
#: Fewest rows of an arm in each part that teaches: two leaves of a tree.
MIN_ARM_ROWS = 40


class Sample(NamedTuple):
    """A canonical (W, A, Y) table.

    Attributes
    ----------
    covariates : DataFrame, n rows
        Columns by id: float64 with NaN, or category with NaN.
    a : ndarray of int8, shape (n,)
        Treatment, 0 or 1.
    y : ndarray of float64, shape (n,)
        Outcome, finite.
    weights : ndarray of float64, shape (n,), optional
        Survey weights. Effects given covariates are learnt without them; means over people are weighted.
    """

    covariates: pd.DataFrame
    a: Int8
    y: Float64
    weights: Float64 | None = None


class Twins(NamedTuple):
    """What two source parts and two release parts say of the rows of a third source part; n source rows in all.

    Attributes
    ----------
    source, release : ndarray of float64, shape (2, 4, n)
        Effects by teaching part and by meta-learner (``LEARNERS``), in units of the outcome.
    source_g, release_g : ndarray of float64, shape (2, n)
        Propensities by teaching part.
    rows : int
        Rows that each part taught with.
    counting : Counting
        How the source rows count.
    """

    source: Float64
    release: Float64
    source_g: Float64
    release_g: Float64
    rows: int
    counting: Counting = EACH_ROW


def learn_twins(
    source: Sample, release: Sample, kind: str, rng: np.random.Generator, design: Float64 | None = None, rows: int = 20_000
) -> Twins:
    """Fit meta-learners on parts of source and release and predict for source rows outside training.

    Rows are sampled, cut and ordered by a hash of what they hold, so neither the order of rows nor the number of threads matters.

    Parameters
    ----------
    source, release : Sample
        The same covariates in the same order; any number of rows.
    kind : str
        ``"binary"``, ``"continuous"`` or ``"count"``.
    rng : numpy.random.Generator
        Spent on the salt of the hashes.
    design : ndarray of float64, shape (m,), optional
        P(A = 1 | W) of the released rows where treatment was given by another design than the source's (randomized, tilted). They then
        teach effects after thinning: each is kept with probability proportional to g(A | W) / design(A | W), g learnt on the source.
    rows : int
        Most rows of either table that are used, at least 300.

    Returns
    -------
    Twins

    Raises
    ------
    EstimationError
        If covariates differ, a value is not valid, or an arm has fewer than 40 rows in a part.
    """
    if rows < 300:
        raise EstimationError(f"rows of the CATE comparison must be at least 300; got {rows}.")
    seed = int(rng.integers(2**62))
    source_rows = _in_hash_order(source, None, seed, "source").head(rows)
    features = fit_columns(source_rows.covariates)
    x = features.matrix(source_rows.covariates)
    drawn = _in_hash_order(release, design, seed, "release").head(CANDIDATES * len(source_rows.y))
    _require_same_columns(source_rows.covariates, drawn.covariates)
    with threadpool_limits(limits=1):
        alike = drawn if design is None else _thin(drawn, features.matrix(drawn.covariates), source_rows, x, features, seed)
        tables = {"source": source_rows, "release": drawn.head(len(source_rows.y)), "thinned release": alike.head(len(source_rows.y))}
        cuts = {owner: _cut(table, features.matrix(table.covariates), kind, seed, owner) for owner, table in tables.items()}
        size = min(int(np.bincount(cut.part, minlength=PARTS).min()) for cut in cuts.values())
        reference = _ask(cuts["source"], cuts["source"], cuts["source"], features, size, kind, seed)
        answered = _ask(cuts["source"], cuts["thinned release"], cuts["release"], features, size, kind, seed)
    return Twins(reference[0], answered[0], reference[1], answered[1], size, Counting(source_rows.weights))


def _require_same_columns(source: pd.DataFrame, release: pd.DataFrame) -> None:
    """Refuse a release whose covariates are not the source's."""
    if list(source.columns) != list(release.columns):
        raise EstimationError("covariates of the release must be the source's, in the same order; got other columns.")
    for name in source.columns:
        kinds = {isinstance(frame[name].dtype, pd.CategoricalDtype) for frame in (source, release)}
        if len(kinds) > 1:
            raise EstimationError(f"{name} of the covariates must be of one kind in source and release; got two.")


class _Rows(NamedTuple):
    """A checked table in hash order."""

    covariates: pd.DataFrame
    a: Int8
    y: Float64
    keys: UInt64
    design: Float64
    weights: Float64 | None = None

    def take(self, chosen: npt.NDArray[np.integer]) -> _Rows:
        """Return some rows."""
        covariates = self.covariates.iloc[chosen].reset_index(drop=True)
        weights = None if self.weights is None else self.weights[chosen]
        return _Rows(covariates, self.a[chosen], self.y[chosen], self.keys[chosen], self.design[chosen], weights)

    def head(self, rows: int) -> _Rows:
        """Return the first rows."""
        return self if len(self.y) <= rows else self.take(np.arange(rows))


class _Cut(NamedTuple):
    """A table cut into parts, as the learners take it."""

    rows: _Rows
    x: Float64
    part: Int8

    def lesson(self, part: int, size: int, seed: int) -> tuple[npt.NDArray[np.intp], Int8]:
        """Return the first ``size`` rows of a part and the half each is in."""
        chosen = np.flatnonzero(self.part == part)[:size]
        half = assign_folds(self.rows.keys[chosen], self.rows.a[chosen].astype(np.int64), 2, seed, repeat=1)
        return chosen, half


def _ask(people: _Cut, effects: _Cut, assignment: _Cut, features: TreeColumns, size: int, kind: str, seed: int) -> tuple[Float64, Float64]:
    """Fit on each part, effects on one cut and g on the other; return predictions for the other parts' rows, (2, 4, n) and (2, n)."""
    n = len(people.part)
    tau, g = np.empty((2, len(LEARNERS), n)), np.empty((2, n))
    for part in range(PARTS):
        rows, half = effects.lesson(part, size, seed)
        teacher = fit_metalearners(effects.x[rows], features.categorical, effects.rows.a[rows], effects.rows.y[rows], kind, half)
        rows, half = assignment.lesson(part, size, seed)
        propensity = fit_propensity(assignment.x[rows], features.categorical, assignment.rows.a[rows], half)
        for place in (0, 1):
            # rows of part c are predicted by parts c + 1 (place 0) and c + 2 (place 1)
            answering = people.part == (part - 1 - place) % PARTS
            tau[place][:, answering] = teacher.effects(people.x[answering])
            g[place, answering] = propensity.predict(people.x[answering])
    return tau, g


def _in_hash_order(sample: Sample, design: Float64 | None, seed: int, owner: str) -> _Rows:
    n = len(sample.covariates)
    a, y = np.asarray(sample.a), np.asarray(sample.y, dtype=np.float64)
    g = np.full(n, 0.5) if design is None else np.asarray(design, dtype=np.float64)
    if not a.shape == y.shape == g.shape == (n,):
        raise EstimationError(f"treatment, outcome and design of the {owner} must be of shape ({n},); got other shapes.")
    if not (np.isfinite(y).all() and np.isin(a, (0, 1)).all()):
        raise EstimationError(f"treatment of the {owner} must be 0 or 1 and its outcome finite; got other values.")
    if not np.all((g > 0.0) & (g < 1.0)):
        raise EstimationError(f"design of the {owner} must be probabilities inside (0, 1); got others.")
    columns = [sample.covariates[name] for name in sample.covariates.columns]
    keys = mix(row_keys([*columns, pd.Series(a.astype(np.float64))], y), salt(seed, "cate"))
    order = np.argsort(keys, kind="stable")
    return _Rows(sample.covariates, a.astype(np.int8), y, keys, g, sample.weights).take(order)


def _thin(drawn: _Rows, x: Float64, source_rows: _Rows, source_x: Float64, features: TreeColumns, seed: int) -> _Rows:
    """Keep released rows so that the kept ones are assigned as the source's were."""
    half = assign_folds(source_rows.keys, source_rows.a.astype(np.int64), 2, seed, repeat=2)
    g = fit_propensity(source_x, features.categorical, source_rows.a, half).predict(x)
    ratio = np.where(drawn.a == 1, g / drawn.design, (1.0 - g) / (1.0 - drawn.design))
    return drawn.take(np.flatnonzero(unit(drawn.keys, salt(seed, "thin")) * float(np.max(ratio)) < ratio))


def _cut(rows: _Rows, x: Float64, kind: str, seed: int, owner: str) -> _Cut:
    """Cut a table into parts stratified by arm (and binary outcome)."""
    strata = fold_strata(rows.a, rows.y, kind)
    part = assign_folds(rows.keys, strata, PARTS, seed)
    least = min(int(np.count_nonzero((part == each) & (rows.a == arm))) for each in range(PARTS) for arm in (0, 1))
    if least < MIN_ARM_ROWS:
        raise EstimationError(
            f"rows of an arm in a third of the {owner} must be at least {MIN_ARM_ROWS}; got {least}.",
            "Effects can't be compared person by person on so few rows.",
        )
    return _Cut(rows, x, part)
