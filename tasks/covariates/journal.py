"""What long training leaves behind: progress, a state to go on from, the curve of its validation figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from tasks.covariates.protocol import CovariateModel

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from tasks.contract.roles import Column


class Journal(Protocol):
    """Where a training run keeps its state and reports its progress; a new journal holds no state."""

    def load(self) -> bytes | None:
        """Return the state saved last, None where there is none."""
        ...

    def save(self, state: bytes) -> None:
        """Replace the state before by a new one, all of it or nothing."""
        ...

    def tell(self, done: int, total: int, figure: float | None) -> None:
        """Hear that ``done`` of at most ``total`` epochs are over, and the validation figure where one was measured after the last."""
        ...


class MemoryJournal:
    """A journal in memory that reports to no one."""

    def __init__(self) -> None:
        self._state: bytes | None = None

    def load(self) -> bytes | None:
        """Return the state saved last."""
        return self._state

    def save(self, state: bytes) -> None:
        """Keep a state."""
        self._state = state

    def tell(self, done: int, total: int, figure: float | None) -> None:
        """Report nothing."""


class Curve(NamedTuple):
    """The validation figure of the covariate law while a synthesizer was trained.

    Attributes
    ----------
    epochs : tuple of int
        Epochs, counted from 1, after which the figure was measured.
    figures : tuple of float
        The figure there; smaller is better (see :func:`tasks.covariates.closeness.two_sample`: 0.5 is ideal, 1 the worst).
    kept : int
        The epoch whose weights the model has: the first of the smallest figure.
    """

    epochs: tuple[int, ...]
    figures: tuple[float, ...]
    kept: int


NO_CURVE = Curve((), (), 0)
"""Of a model that is still being trained."""


class TrainedModel(CovariateModel, Protocol):
    """A fitted law that knows how its training went."""

    @property
    def curve(self) -> Curve:
        """The validation figure by epoch."""
        ...


@runtime_checkable
class Trained(Protocol):
    """A synthesizer trained by epochs: it can be interrupted and goes on from its journal to the same weights."""

    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> CovariateModel:
        """Train with a :class:`MemoryJournal`; see :class:`tasks.covariates.protocol.Synthesizer`."""
        ...

    def train(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator, journal: Journal) -> TrainedModel:
        """Train, going on from the state in the journal if it holds one.

        Parameters
        ----------
        table, columns, rng
            As of :meth:`tasks.covariates.protocol.Synthesizer.fit`; the same ones as in the interrupted run.
        journal : Journal

        Returns
        -------
        TrainedModel
            The same as from a run without interruption.
        """
        ...
