"""What the networks are taught and what they are judged by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.roles import Column
from tasks.covariates.closeness import MOST_ROWS, held_out, two_sample
from tasks.covariates.gan.modes import Encoded, Layout, encode
from tasks.covariates.protocol import CovariateModel, require_rows


class Lesson(NamedTuple):
    """A table made ready for training.

    Attributes
    ----------
    layout : Layout
        Of all rows: margins need no validation.
    taught : Encoded
        The training rows.
    validation : DataFrame
        The rows that don't.
    columns : tuple of Column
    seed : int
        Of the random numbers that every judgement uses again.
    """

    layout: Layout
    taught: Encoded
    validation: pd.DataFrame
    columns: tuple[Column, ...]
    seed: int

    def judge(self, model: CovariateModel) -> float:
        """Return the validation figure of a model, 0.5 at best and 1 at worst."""
        drawn = model.sample(min(4 * len(self.validation), MOST_ROWS), np.random.default_rng([self.seed, 1]))
        return two_sample(self.validation, drawn, self.columns, np.random.default_rng([self.seed, 2]))


def prepare(table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator, owner: str) -> Lesson:
    """Encode a table and keep rows for validation.

    Parameters
    ----------
    table : pandas.DataFrame, shape (n, d)
        Canonical.
    columns : tuple of Column
    rng : numpy.random.Generator
    owner : str
        Name of the synthesizer, for messages.

    Raises
    ------
    EstimationError
        If there are too few rows.
    """
    require_rows(table, owner)
    table = table[[column.id for column in columns]]
    layout, encoded = encode(table, columns, rng)
    held = held_out(table, rng)
    validation = table[held].reset_index(drop=True)
    return Lesson(layout, Encoded(encoded.places[~held], encoded.codes[~held]), validation, columns, int(rng.integers(2**62)))


def batch_rows(rows: int, batch_size: int | None, multiple: int = 1) -> int:
    """Return the rows of a training step: a tenth of the table, 60 to 500, unless set; a multiple of ``multiple``.

    A small table so gets about ten steps an epoch.
    """
    wanted = batch_size if batch_size is not None else min(max(rows // 10, 60), 500)
    return multiple * max(1, round(wanted / multiple))
