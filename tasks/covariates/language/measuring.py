"""The validation figure: how far what the model writes is from rows it was not taught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr

from tasks.contract.roles import Column
from tasks.covariates.closeness import two_sample
from tasks.covariates.language.likelihood import Board, log_likelihood
from tasks.covariates.language.model import draw_frame, read_frame
from tasks.covariates.language.vocabulary import Vocabulary
from tasks.covariates.margins import Float64

_DRAWS, _DRAWN_ROWS = 4, 1_000
_READER = 20221012
_FEWEST_KNOWN = 20


def make_measure(
    network: Any,
    lost: Callable[[Float64], float],
    board: Board,
    vocabulary: Vocabulary,
    validation: pd.DataFrame,
    columns: tuple[Column, ...],
) -> Callable[[], float]:
    """Return what measures the covariate law of the present weights on rows outside training.

    The figure is the area under the curve of a classifier that separates drawn rows from real ones. Such a classifier does not detect
    memorised rows: rows of the training table, written again, look as real as can be. So the figure is no less than what the likelihood
    of held-out rows says: where they have become less likely by k nats than they once were, two normal laws that differ by as much are
    told apart with an area of ``Phi(sqrt k)``.

    Parameters
    ----------
    network : transformers.PreTrainedModel
    lost : callable
        From log-likelihoods of the held-out rows, shape (v,), to the nats per row they have lost since they were at their best.
    board : Board
    vocabulary : Vocabulary
    validation : pandas.DataFrame, shape (v, d)
    columns : tuple of Column
        The classifier sees those of which at least 20 cells, or a third of them, are known.
    """
    names, v = tuple(column.id for column in columns), len(validation)
    draws = max(1, min(_DRAWS, _DRAWN_ROWS // v))
    cells = read_frame(vocabulary, validation)
    cells = cells[(cells >= 0).all(axis=1)]
    # a classifier that is taught on two thirds of the rows may see no known cell at all of a column that is almost wholly missing
    measured = tuple(column for column in columns if validation[column.id].notna().sum() >= min(_FEWEST_KNOWN, v / 3))

    def measure() -> float:
        rng = np.random.default_rng(_READER)
        drawn = draw_frame(network, board, vocabulary, names, draws * v, rng)
        tables = [drawn.iloc[k * v : (k + 1) * v].reset_index(drop=True) for k in range(draws)]
        area = float(np.mean([two_sample(validation, table, measured, rng) for table in tables])) if measured else 0.5
        if not len(cells):
            return area
        forgotten = lost(log_likelihood(network, board, vocabulary.grammar, cells, 2, rng))
        return max(area, float(ndtr(np.sqrt(forgotten))))

    return measure
