"""Joint missingness: which cells of a row are missing is drawn as one category, values are drawn given it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tasks.contract.roles import Column, pack_field
from tasks.covariates.margins import Intp
from tasks.covariates.traits.filling import Reserve, fill, reserve_of

Bool = npt.NDArray[np.bool_]
RAREST = 5
"""Fewest training rows of a pattern that is drawn; rarer ones are merged into the nearest."""
_ASSOCIATED = 0.3
_EXPECTED = 10.0
_COVERED = 0.9
_MOST = 60


class Block(NamedTuple):
    """Columns whose cells are missing together.

    Attributes
    ----------
    id : str
        The category column that takes the place of their missing flags.
    columns : tuple of str
    patterns : ndarray of bool, shape (patterns, columns)
        True where missing; most frequent first.
    """

    id: str
    columns: tuple[str, ...]
    patterns: Bool

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the patterns: which columns are missing."""
        width = len(str(len(self.patterns)))
        return tuple(f"{k:0{width}d}" for k in range(len(self.patterns)))

    @property
    def dtype(self) -> pd.CategoricalDtype:
        """The category of the pattern column."""
        return pd.CategoricalDtype(list(self.levels))

    def code(self, flags: Bool) -> Intp:
        """Return the number of the nearest pattern of each row of flags, shape (n,): the most frequent of equally near ones."""
        distinct, inverse = np.unique(flags, axis=0, return_inverse=True)
        apart = (distinct[:, None, :] != self.patterns[None, :, :]).sum(axis=2)
        return np.asarray(np.argmin(apart, axis=1)[inverse.reshape(-1)], dtype=np.intp)


class PatternTrait(NamedTuple):
    """Blocks of columns, and what cells are filled from where a synthesizer drew a missing cell in a pattern without it."""

    blocks: tuple[Block, ...]
    reserves: dict[str, Reserve]

    def columns(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        """Describe what the synthesizer is given: patterns ahead of the columns."""
        return (*(_described(block) for block in self.blocks), *columns)

    def encode(self, table: pd.DataFrame) -> pd.DataFrame:
        """Put a column of patterns ahead for each block."""
        patterns = {
            block.id: pd.Categorical.from_codes(block.code(table[list(block.columns)].isna().to_numpy()), dtype=block.dtype)
            for block in self.blocks
        }
        return pd.concat([pd.DataFrame(patterns, index=table.index), table], axis=1)

    def decode(self, drawn: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        """Make exactly the cells missing that the drawn patterns say."""
        table = drawn.drop(columns=[block.id for block in self.blocks])
        present: dict[str, Bool] = {}
        for block in self.blocks:
            flags = block.patterns[drawn[block.id].cat.codes.to_numpy()]
            for k, name in enumerate(block.columns):
                table[name] = table[name].where(~flags[:, k])
                present[name] = ~flags[:, k]
        return fill(table, present, self.reserves, rng)

    def refuted(self, table: pd.DataFrame) -> set[str]:
        """Return nothing: patterns that only later rows have are merged into the nearest."""
        del table
        return set()

    def described(self, names: dict[str, str]) -> list[str]:
        """Say which columns are missing together."""
        return [
            f"{', '.join(names[name] for name in block.columns if name in names)}: missing in {len(block.patterns)} patterns"
            for block in self.blocks
        ]


def find_patterns(table: pd.DataFrame, columns: tuple[Column, ...]) -> PatternTrait | None:
    """Find the blocks of covariates that are missing together.

    Two columns belong together where a combination of missing and known that ten rows should show is never seen, or the
    correlation of their missing flags is above 0.3 in size. A block's patterns are those of at least five rows. A block is left to the
    synthesizer where these do not make up nine tenths of the rows.

    Parameters
    ----------
    table : pandas.DataFrame, shape (n, d)
    columns : tuple of Column

    Returns
    -------
    PatternTrait or None
        None where no columns are missing together.
    """
    names = [column.id for column in columns if column.is_covariate]
    flags = table[names].isna().to_numpy()
    some = flags.any(axis=0) & ~flags.all(axis=0)
    present = np.flatnonzero(some)
    names, flags = [names[k] for k in present], flags[:, present]
    blocks: list[Block] = []
    for members in _together(flags) if len(names) > 1 else ():
        patterns = _patterns(flags[:, members])
        if patterns is not None:
            blocks.append(Block(f"missing{len(blocks)}", tuple(names[k] for k in members), patterns))
    if not blocks:
        return None
    return PatternTrait(tuple(blocks), {name: reserve_of(table[name]) for block in blocks for name in block.columns})


def _together(flags: Bool) -> list[list[int]]:
    """Return the groups of at least two columns that are linked, directly or through others."""
    n, count = flags.shape
    each = flags.astype(np.float64)
    both, alone = each.T @ each, each.sum(axis=0)
    rows, cols = alone[:, None], alone[None, :]
    seen = np.stack([both, rows - both, cols - both, n - rows - cols + both])
    expected = np.stack([rows * cols, rows * (n - cols), (n - rows) * cols, (n - rows) * (n - cols)]) / n
    never = ((seen == 0) & (expected >= _EXPECTED)).any(axis=0)
    spread = np.sqrt(alone * (n - alone))
    linked = never | (np.abs(n * both - rows * cols) > _ASSOCIATED * spread[:, None] * spread[None, :])
    groups, waiting = [], set(range(count))
    while waiting:
        group, edge = set(), {min(waiting)}
        while edge:
            group |= edge
            edge = {int(k) for j in edge for k in np.flatnonzero(linked[j])} - group
        waiting -= group
        if len(group) > 1:
            groups.append(sorted(group))
    return groups


def _patterns(flags: Bool) -> Bool | None:
    """Return the patterns of enough rows, most frequent first; None where they leave too many rows out."""
    distinct, counts = np.unique(flags, axis=0, return_counts=True)
    kept = np.argsort(-counts, kind="stable")[:_MOST]
    kept = kept[counts[kept] >= RAREST]
    if len(kept) < 2 or counts[kept].sum() < _COVERED * len(flags):
        return None
    return np.asarray(distinct[kept])


def _described(block: Block) -> Column:
    field = pack_field(pa.field(block.id, pa.string()))
    return Column(id=block.id, name=block.id, role="covariate", kind="categorical", field=field, levels=block.levels)
