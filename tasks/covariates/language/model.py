"""The fitted law: a network, the vocabulary it writes in, and how its training went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from tasks.covariates.journal import Curve
from tasks.covariates.language.cells import code, to_cells, to_coded
from tasks.covariates.margins import Float64, Intp, decode

if TYPE_CHECKING:
    from tasks.covariates.language.layers import LayerCard
    from tasks.covariates.language.network import Packed
    from tasks.covariates.language.vocabulary import Vocabulary

ORDERS = 4
_READER = 20260204


class LanguageModel(NamedTuple):
    """A joint law of columns that a causal language model writes.

    Attributes
    ----------
    packed : Packed
        The network.
    vocabulary : Vocabulary
    prior : ndarray of float64 or None
        Log odds of options, added to what the network says.
    columns : tuple of str
        Column ids.
    curve : Curve
    card : LayerCard or None
        Where a pretrained model was adapted by layers.
    """

    packed: Packed
    vocabulary: Vocabulary
    prior: Float64 | None
    columns: tuple[str, ...]
    curve: Curve
    card: LayerCard | None

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw ``n`` rows; see :class:`tasks.covariates.protocol.CovariateModel`."""
        from tasks.covariates.language.likelihood import make_board
        from tasks.covariates.language.network import unpack
        from tasks.covariates.training.loop import device, reproducible

        with reproducible(rng):
            network = unpack(self.packed, device())
            return draw_frame(network, make_board(self.vocabulary.grammar, self.prior, device()), self.vocabulary, self.columns, n, rng)

    def log_likelihood(self, table: pd.DataFrame, orders: int = ORDERS) -> Float64:
        """Return the log-probability of each row's cells.

        A number counts as the piece of its column's law that it falls into, so figures compare rows, or models with the same cells,
        and are no densities. The column orders read are the same whenever it is asked.

        Parameters
        ----------
        table : pandas.DataFrame, shape (n, d)
            Canonical, with the model's columns.
        orders : int
            Random orders of the columns that a row's probability is averaged over.

        Returns
        -------
        ndarray of float64, shape (n,)
            In nats, at most 0; minus infinity for a row with a missing cell where the model's table had none.
        """
        from tasks.covariates.language.likelihood import log_likelihood, make_board
        from tasks.covariates.language.network import unpack
        from tasks.covariates.training.loop import device, reproducible

        rng = np.random.default_rng(_READER)
        with reproducible(rng):
            network = unpack(self.packed, device())
            board = make_board(self.vocabulary.grammar, self.prior, device())
            return log_likelihood(network, board, self.vocabulary.grammar, read_frame(self.vocabulary, table), orders, rng)


def read_frame(vocabulary: Vocabulary, table: pd.DataFrame) -> Intp:
    """Return the cells of canonical rows, numbered over all columns, shape (n, d); -1 for one that the vocabulary does not know."""
    frames = []
    for j, cells in enumerate(vocabulary.cells):
        mine = to_cells(cells, code(cells.margin, table[cells.margin.id]))
        frames.append(np.where(mine < 0, -1, mine + vocabulary.grammar.first[j]))
    return np.column_stack(frames)


def draw_frame(
    network: Any, board: Any, vocabulary: Vocabulary, columns: tuple[str, ...], n: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw canonical rows, shape (n, d)."""
    from tasks.covariates.language.sampling import draw_cells

    chosen = draw_cells(network, board, vocabulary.grammar, n, rng)
    drawn = {}
    for j, cells in enumerate(vocabulary.cells):
        mine = np.asarray(chosen[:, j] - vocabulary.grammar.first[j], dtype=np.intp)
        drawn[cells.margin.id] = decode(cells.margin, to_coded(cells, mine, rng.random(n)))
    return pd.DataFrame({name: drawn[name] for name in columns})
