"""What the report counts of one table in one pass: marginals, outcome by arm, missing values, sums for associations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tasks.contract.roles import TableSchema
from tasks.report.arms import FineCells, fine_cells, outcome_by_arm
from tasks.report.associations import associations
from tasks.report.balance_plot import balance_rows
from tasks.report.disclosure import Int64
from tasks.report.features import Float64, blocks_of, paired_blocks
from tasks.report.marginals import Counts, Marginals, codes_of, paired
from tasks.report.missing import counted_columns, missing_patterns


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
    """

    marginals: Counts
    outcome: Int64
    fine: Int64
    missing: Int64
    arms: Float64
    products: Float64


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
        return Tally(
            self._marginals.visit(state.marginals, part),
            state.outcome + _by_arm(a, cells, state.outcome.shape),
            state.fine + _by_arm(a, fine, state.fine.shape),
            state.missing + np.bincount(pattern, minlength=len(state.missing)),
            state.arms + np.stack([features[a == arm].sum(axis=0) for arm in range(len(state.arms))]),
            state.products + paired.T @ paired,
        )

    def merge(self, left: Tally, right: Tally) -> Tally:
        """Add two tallies."""
        sums = (getattr(left, name) + getattr(right, name) for name in Tally._fields[1:])
        return Tally(self._marginals.merge(left.marginals, right.marginals), *sums)

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
    return {
        "marginals": paired(schema, source.marginals, release.marginals),
        "balance": balance_rows(schema, source.arms, release.arms),
        "associations": associations(schema, source.products, release.products),
        "arms": outcome_by_arm(schema, (source.outcome, source.fine), (release.outcome, release.fine)),
        "missing": missing_patterns(schema, source.missing, release.missing),
    }


def _missing(values: pa.ChunkedArray) -> np.typing.NDArray[np.bool_]:
    nulls = np.asarray(values.is_null(nan_is_null=True).to_numpy())
    return nulls.astype(np.bool_)


def _by_arm(a: Int64, codes: Int64, shape: tuple[int, ...]) -> Int64:
    arms, cells = shape
    return np.stack([np.bincount(codes[(a == arm) & (codes >= 0)], minlength=cells) for arm in range(arms)]).astype(np.int64)
