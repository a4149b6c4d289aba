"""What the report counts of one table in one pass: marginals, outcome by arm, missing values, sums for associations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tasks.contract.columns import survey_weights
from tasks.contract.roles import TableSchema
from tasks.report.arms import FineCells, fine_cells, outcome_by_arm
from tasks.report.associations import associations
from tasks.report.balance_plot import balance_rows
from tasks.report.disclosure import Int64
from tasks.report.features import Float64, blocks_of, paired_blocks
from tasks.report.marginals import Counts, Marginals, Sums, codes_of, paired, weighted_marginals
from tasks.report.missing import counted_columns, missing_patterns


class Weighted(NamedTuple):
    """Sums of survey weights in the place of the counts of :class:`Tally`; and the weight of all rows, with their number."""

    marginals: Sums
    outcome: Float64
    fine: Float64
    missing: Float64
    arms: Float64
    products: Float64
    weight: float
    rows: int

    def plus(self, other: Weighted) -> Weighted:
        """Add two sums."""
        return Weighted(
            {key: values + other.marginals[key] for key, values in self.marginals.items()},
            self.outcome + other.outcome,
            self.fine + other.fine,
            self.missing + other.missing,
            self.arms + other.arms,
            self.products + other.products,
            self.weight + other.weight,
            self.rows + other.rows,
        )

    @property
    def scaled(self) -> Weighted:
        """The sums with weights of mean one."""
        scale = self.rows / self.weight if self.weight > 0.0 else 1.0
        return Weighted(
            {key: values * scale for key, values in self.marginals.items()},
            self.outcome * scale,
            self.fine * scale,
            self.missing * scale,
            self.arms * scale,
            self.products * scale,
            self.weight * scale,
            self.rows,
        )


class Tally(NamedTuple):
    """Counts and sums of one table.

    Attributes
    ----------
    marginals : mapping
        Of :class:`Marginals`.
    outcome : ndarray of int64, shape (K, cells)
        Rows by arm and cell of the outcome, cells as in the marginals.
    fine : ndarray of int64, shape (K, fine cells)
        The same in fine cells, for quantiles.
    missing : ndarray of int64, shape (2 ** columns,)
        Rows by pattern of missing values; bit i stands for column i of :func:`counted_columns`.
    arms : ndarray of float64, shape (K, features)
        Sums of all features by arm.
    products : ndarray of float64, shape (features, features)
        Sums of products of the features of :func:`paired_blocks`.
    weighted : Weighted or None
        The same by survey weight, of a table that has them.
    """

    marginals: Counts
    outcome: Int64
    fine: Int64
    missing: Int64
    arms: Float64
    products: Float64
    weighted: Weighted | None = None


class Tallies:
    """Reduction: the tally of a table (contract/reduction.py)."""

    def __init__(self, schema: TableSchema) -> None:
        self._schema = schema
        self._marginals = Marginals(schema)
        self._fine: FineCells = fine_cells(schema)
        self._columns = counted_columns(schema)
        self._blocks = blocks_of(schema)
        self._paired = sum(block.width for block in paired_blocks(self._blocks))

    def start(self) -> Tally:
        """Return zero counts."""
        marginals = self._marginals.start()
        features, arms = sum(block.width for block in self._blocks), len(self._schema.arms)
        return Tally(
            marginals,
            np.zeros((arms, len(marginals[self._schema.outcome.id])), dtype=np.int64),
            np.zeros((arms, self._fine.cells), dtype=np.int64),
            np.zeros(2 ** len(self._columns), dtype=np.int64),
            np.zeros((arms, features)),
            np.zeros((self._paired, self._paired)),
        )

    def visit(self, state: Tally, part: pa.Table) -> Tally:
        """Count one canonical partition."""
        a = part.column("a").cast(pa.int64()).fill_null(-1).to_numpy()
        y = part.column("y").cast(pa.float64()).fill_null(np.nan).to_numpy()
        cells, fine = codes_of(self._schema.outcome, self._schema, part.column("y")), self._fine.codes(y)
        pattern = np.zeros(part.num_rows, dtype=np.int64)
        for bit, column in enumerate(self._columns):
            pattern |= _missing(part.column(column.id)).astype(np.int64) << bit
        features = np.concatenate([block.features(part.column(block.column.id)) for block in self._blocks], axis=1)
        paired = features[:, : self._paired]
        weights = survey_weights(part)
        weighted = None
        if weights is not None:
            weighted = Weighted(
                weighted_marginals(self._schema, part, weights),
                _by_arm(a, cells, state.outcome.shape, weights),
                _by_arm(a, fine, state.fine.shape, weights),
                np.asarray(np.bincount(pattern, weights=weights, minlength=len(state.missing)), dtype=np.float64),
                np.stack([weights[a == arm] @ features[a == arm] for arm in range(len(state.arms))]),
                (paired * weights[:, None]).T @ paired,
                float(weights.sum()),
                part.num_rows,
            )
        return Tally(
            self._marginals.visit(state.marginals, part),
            state.outcome + _by_arm(a, cells, state.outcome.shape),
            state.fine + _by_arm(a, fine, state.fine.shape),
            state.missing + np.bincount(pattern, minlength=len(state.missing)),
            state.arms + np.stack([features[a == arm].sum(axis=0) for arm in range(len(state.arms))]),
            state.products + paired.T @ paired,
            _both(state.weighted, weighted),
        )

    def merge(self, left: Tally, right: Tally) -> Tally:
        """Add two tallies."""
        return Tally(
            self._marginals.merge(left.marginals, right.marginals),
            left.outcome + right.outcome,
            left.fine + right.fine,
            left.missing + right.missing,
            left.arms + right.arms,
            left.products + right.products,
            _both(left.weighted, right.weighted),
        )

    def advance(self, state: Tally) -> Tally:
        """Return the tally: one pass is enough."""
        return state


def drawn(schema: TableSchema, source: Tally, release: Tally) -> dict[str, Any]:
    """Put two tallies side by side as the page draws them; nothing in it tells of one to four rows.

    Returns
    -------
    dict
        ``marginals``, ``balance``, ``associations``, ``arms`` and ``missing``, of the functions of these names.
    """
    by_weight = None if source.weighted is None else source.weighted.scaled
    outcome = None if by_weight is None else (by_weight.outcome, by_weight.fine)
    return {
        "marginals": paired(schema, source.marginals, release.marginals, by_weight and by_weight.marginals),
        "balance": balance_rows(schema, source.arms, release.arms, by_weight and by_weight.arms),
        "associations": associations(schema, source.products, release.products, by_weight and by_weight.products),
        "arms": outcome_by_arm(schema, (source.outcome, source.fine), (release.outcome, release.fine), outcome),
        "missing": missing_patterns(schema, source.missing, release.missing, by_weight and by_weight.missing),
    }


def _both(left: Weighted | None, right: Weighted | None) -> Weighted | None:
    """Add the sums of two tables, where there are any."""
    if left is None or right is None:
        return right if left is None else left
    return left.plus(right)


def _missing(values: pa.ChunkedArray) -> np.typing.NDArray[np.bool_]:
    nulls = np.asarray(values.is_null(nan_is_null=True).to_numpy())
    return nulls.astype(np.bool_)


def _by_arm(a: Int64, codes: Int64, shape: tuple[int, ...], weights: Float64 | None = None) -> Any:
    """Return rows by arm and cell; with weights their sums."""
    arms, cells = shape
    counted = []
    for arm in range(arms):
        here = (a == arm) & (codes >= 0)
        counted.append(np.bincount(codes[here], weights=None if weights is None else weights[here], minlength=cells))
    return np.stack(counted).astype(np.int64 if weights is None else np.float64)
