"""Singling out: predicates read off the release that are true of exactly one real row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from tasks.audit.case import Bool, Case, Float64, Int64
from tasks.audit.encoding import matrix
from tasks.audit.finding import Finding, finding, together
from tasks.audit.intervals import Interval, difference, share
from tasks.numerics.normal import half_width

#: Smallest excess of the success rate, training over holdout rows, that the attack must be able to exclude.
TOLERANCE = 0.05
#: Draws of candidates per predicate wanted, before fewer predicates are made do with.
PATIENCE = 20
#: Ways of dealing out training and holdout rows anew.
DEALS = 200


class Params(BaseModel):
    """Parameters of the singling-out attack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attacks: int = Field(500, ge=20, le=20_000, description="predicates of either kind")
    columns: int = Field(3, ge=2, le=20, description="columns of a multivariate predicate")


class _Predicates(NamedTuple):
    """Conjunctions over columns: column numbers, values and senses (0: equal, 1: at least, -1: at most), each of shape (m, k)."""

    columns: Int64
    values: Float64
    senses: Int64

    def matches(self, table: Float64) -> Bool:
        """Return which rows each predicate is true of, shape (m, n)."""
        matching = np.ones((len(self.columns), len(table)), dtype=np.bool_)
        for at in range(len(matching)):
            for column, value, sense in zip(self.columns[at], self.values[at], self.senses[at]):
                cells = table[:, column]
                matching[at] &= cells == value if sense == 0 else cells >= value if sense > 0 else cells <= value
        return matching

    def singles(self, table: Float64) -> Bool:
        """Return which predicates are true of exactly one row, shape (m,)."""
        return np.asarray(self.matches(table).sum(axis=1) == 1, dtype=np.bool_)

    def take(self, chosen: Int64 | Bool) -> _Predicates:
        """Return some of them."""
        return _Predicates(self.columns[chosen], self.values[chosen], self.senses[chosen])


class SinglingOut:
    """The attack in the sense of anonymeter (Giomi et al. 2023, doi:10.56553/popets-2023-0055); see :class:`Params`.

    A predicate that is true of one released row is a guess that it is true of exactly one real row. *Univariate*: one column equals a value
    that the release has once. *Multivariate*: some columns are as extreme as a released row's, or equal its category. All tables
    are cut to one size, since the chance of a match grows with the rows. Control: the same predicates on holdout rows; baseline: predicates
    put together from cells of different released rows.
    """

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(self, case: Case, rng: np.random.Generator) -> list[Finding]:
        """Return the success rates of univariate and multivariate predicates."""
        frames = case.frames()
        n = min(len(frames[0]), len(frames[1]))
        training, holdout = (matrix(frame)[np.sort(rng.choice(len(frame), n, replace=False))] for frame in frames[:2])
        release = np.unique(matrix(frames[2]), axis=0)
        numeric = np.array([not isinstance(dtype, pd.CategoricalDtype) for dtype in frames[0].dtypes])
        mixed = np.column_stack([rng.permutation(release[:, at]) for at in range(release.shape[1])])
        width = min(self.params.columns, release.shape[1])
        guesses = {
            "univariate": (_univariate(release, self.params.attacks, rng), _univariate(np.unique(mixed, axis=0), self.params.attacks, rng)),
            "multivariate": tuple(_multivariate(table, numeric, width, self.params.attacks, rng) for table in (release, mixed)),
        }
        confidence = together(len(guesses))
        findings = []
        for name, (predicates, naive) in guesses.items():
            tried = len(predicates.columns)
            common: dict[str, Any] = {"confidence": confidence, "tolerance": TOLERANCE, "targets": tried, "controls": tried}
            if not tried:
                detail = "the release has no value or row that stands alone"
                findings.append(finding("singling_out", f"rate_{name}", None, baseline=None, control=None, detail=detail, **common))
                continue
            hits, other_hits = (int(np.sum(predicates.singles(table))) for table in (training, holdout))
            findings.append(
                finding(
                    "singling_out",
                    f"rate_{name}",
                    share(hits, tried, confidence),
                    excess=_excess(predicates, training, holdout, confidence, rng),
                    baseline=float(np.mean(naive.singles(training))) if len(naive.columns) else 0.0,
                    control=other_hits / tried,
                    detail=f"predicates on {n:,} training rows that are true of exactly one; control: on {n:,} holdout rows",
                    **common,
                )
            )
        return findings


def _excess(predicates: _Predicates, training: Float64, holdout: Float64, confidence: float, rng: np.random.Generator) -> Interval:
    """Return the success rate on the training rows minus that on the holdout.

    All predicates share two tables, so their successes hang together and a binomial interval is too narrow. Where nothing leaks the
    rows of both tables are exchangeable: their spread over random ways of dealing the rows out anew widens the interval.
    """
    tried, n = len(predicates.columns), len(training)
    matches = predicates.matches(np.vstack([training, holdout])).astype(np.float32)
    deals = np.argsort(rng.random((DEALS, 2 * n)), axis=1) < n
    ours = matches @ deals.T.astype(np.float32)
    rest = matches.sum(axis=1, keepdims=True) - ours
    spread = float(np.std(np.mean(ours == 1, axis=0) - np.mean(rest == 1, axis=0)))
    hits, other_hits = (int(np.sum(matches[:, part].sum(axis=1) == 1)) for part in (slice(0, n), slice(n, None)))
    plain = difference(hits, tried, other_hits, tried, confidence)
    half = half_width(confidence) * spread
    return Interval(plain.value, min(plain.low, plain.value - half), max(plain.high, plain.value + half))


def _univariate(table: Float64, wanted: int, rng: np.random.Generator) -> _Predicates:
    """Return "column = value" for values that stand once in a column, as evenly over the columns as can be."""
    columns, values = [], []
    for at in range(table.shape[1]):
        distinct, counts = np.unique(table[:, at][~np.isnan(table[:, at])], return_counts=True)
        alone = rng.permutation(distinct[counts == 1])[: -(-wanted // table.shape[1])]
        columns.append(np.full(len(alone), at))
        values.append(alone)
    column, value = np.concatenate(columns)[:, None], np.concatenate(values)[:, None]
    return _Predicates(column, value, np.zeros_like(column))


def _multivariate(table: Float64, numeric: Bool, width: int, wanted: int, rng: np.random.Generator) -> _Predicates:
    """Return conjunctions that are true of one row of the table; fewer than wanted where they are hard to find."""
    middle = np.nanmedian(table, axis=0)
    size = PATIENCE * wanted
    columns = np.argsort(rng.random((size, table.shape[1])), axis=1)[:, :width]
    rows = rng.integers(len(table), size=size)
    values = table[rows[:, None], columns]
    columns, values = columns[~np.isnan(values).any(axis=1)], values[~np.isnan(values).any(axis=1)]
    senses = np.where(numeric[columns], np.where(values >= middle[columns], 1, -1), 0)
    drawn = _Predicates(columns, values, senses)
    kept: list[_Predicates] = []
    count = 0
    for start in range(0, len(columns), wanted):
        batch = drawn.take(np.arange(start, min(start + wanted, len(columns))))
        kept.append(batch.take(batch.singles(table)))
        count += len(kept[-1].columns)
        if count >= wanted:
            break
    return _Predicates(*(np.concatenate(parts)[:wanted] for parts in zip(*kept)))


def build(params: Params) -> SinglingOut:
    """Return the attack."""
    return SinglingOut(params)
