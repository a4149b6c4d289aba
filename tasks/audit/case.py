"""What an attacker is given: the release, the rows it may leak, and rows it can't."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.errors import EstimationError
from tasks.contract.roles import Column

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Int8 = npt.NDArray[np.int8]
Bool = npt.NDArray[np.bool_]

#: Fewest rows of training, holdout and release that any attack is run on.
MIN_ROWS = 50


class Outcome(NamedTuple):
    """One outcome column.

    Attributes
    ----------
    id, name : str
        Canonical id (``"y"``, ``"y1"``, ..., ``"e"``), and the name in the source.
    kind : str
        ``"time"`` of a time to event, ``"event"`` of whether it came.
    times : tuple of float
        Times whose survival probabilities the release declares.
    """

    id: str
    name: str
    kind: Literal["binary", "continuous", "count", "time", "event"]
    times: tuple[float, ...] = ()

    @property
    def is_binary(self) -> bool:
        """Whether cells are 0 or 1."""
        return self.kind in ("binary", "event")


@dataclass(frozen=True)
class Rows:
    """Canonical rows.

    Attributes
    ----------
    covariates : pandas.DataFrame, shape (n, d)
        By id.
    treatment : ndarray of int8, shape (n,)
        0, ..., K - 1.
    outcome : ndarray of float64, shape (n,)
        The first outcome; NaN where it is missing.
    arms : int
        K.
    further : pandas.DataFrame, shape (n, p)
        Other outcomes and the event, by id; NaN where they are missing.
    """

    covariates: pd.DataFrame
    treatment: Int8
    outcome: Float64
    arms: int = 2
    further: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __len__(self) -> int:
        return len(self.outcome)

    def take(self, chosen: Int64 | Bool) -> Rows:
        """Return some of the rows, in the given order."""
        places = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        covariates, further = (
            frame.iloc[places].reset_index(drop=True) if len(frame.columns) else frame for frame in (self.covariates, self.further)
        )
        return Rows(covariates, self.treatment[places], self.outcome[places], self.arms, further)

    def cells(self, outcome: str) -> Float64:
        """Return an outcome by its id, shape (n,)."""
        return self.outcome if outcome == "y" else self.further[outcome].to_numpy(dtype=np.float64)

    def joint(self) -> pd.DataFrame:
        """Return covariates, treatment (as a category) and outcomes as one frame."""
        frame = self.covariates.copy()
        frame["a"] = pd.Categorical.from_codes(self.treatment.tolist(), categories=pd.Index([str(arm) for arm in range(self.arms)]))
        for outcome in ("y", *self.further.columns):
            frame[outcome] = self.cells(outcome)
        return frame


@dataclass(frozen=True)
class Case:
    """One release and its source, as the attacks see them.

    Attributes
    ----------
    columns : tuple of Column
        The covariates that vary, in the order of the frames' columns.
    outcomes : tuple of Outcome
        The first one first; a time to event and whether it came are two.
    mode : str
        ``"hybrid"``: only the covariates' synthesizer kept away from the holdout; ``"full"``: everything did.
    training, holdout : Rows
        Rows that the synthesizer was fitted on, and rows it never saw.
    release : Rows
        Released rows of all copies.
    training_rows : int
        Training rows of the whole source, of which ``training`` may be a sample.
    synthesizer : str
        Its registered name.
    params : dict
        Its parameters.
    canaries : Rows or None
        Source rows whose treatment and outcomes were decided by fair coins.
    """

    columns: tuple[Column, ...]
    outcomes: tuple[Outcome, ...]
    mode: str
    training: Rows
    holdout: Rows
    release: Rows
    training_rows: int
    synthesizer: str
    params: dict[str, Any]
    canaries: Rows | None = None

    def name_of(self, column: str) -> str:
        """Return a column's name in the source."""
        return next((each.name for each in self.columns if each.id == column), column)

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Return training, holdout and release in the columns that only training rows could leak: W, or (W, A, Y) in mode "full"."""
        if self.mode == "full":
            return self.training.joint(), self.holdout.joint(), self.release.joint()
        return self.training.covariates, self.holdout.covariates, self.release.covariates


def require_rows(case: Case) -> None:
    """Refuse to attack where a handful of rows would decide.

    Raises
    ------
    EstimationError
        With the counts.
    """
    counts = {"seed": len(case.training), "holdout": len(case.holdout), "release": len(case.release)}
    for name, rows in counts.items():
        if rows < MIN_ROWS:
            raise EstimationError(
                f"{name} rows of audit must be at least {MIN_ROWS}; got {rows}.",
                "A smaller table gives no interval worth reading. Raise source.holdout, or audit a release of a larger source.",
            )
