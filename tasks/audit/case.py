"""What an attacker is given: the release, the rows it may leak, and rows it can't."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Rows:
    """Canonical rows: covariates (n, d) by id, treatment (n,) of 0, ..., K - 1, outcome (n,); and K."""

    covariates: pd.DataFrame
    treatment: Int8
    outcome: Float64
    arms: int = 2

    def __len__(self) -> int:
        return len(self.outcome)

    def take(self, chosen: Int64 | Bool) -> Rows:
        """Return some of the rows, in the given order."""
        places = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        return Rows(self.covariates.iloc[places].reset_index(drop=True), self.treatment[places], self.outcome[places], self.arms)

    def joint(self) -> pd.DataFrame:
        """Return covariates, treatment (as a category) and outcome as one frame."""
        frame = self.covariates.copy()
        frame["a"] = pd.Categorical.from_codes(self.treatment.tolist(), categories=pd.Index([str(arm) for arm in range(self.arms)]))
        frame["y"] = self.outcome
        return frame


@dataclass(frozen=True)
class Case:
    """One release and its source, as the attacks see them.

    Attributes
    ----------
    columns : tuple of Column
        The covariates that vary, in the order of the frames' columns.
    outcome_kind : str
        ``"binary"``, ``"continuous"`` or ``"count"``.
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
        Source rows whose treatment and outcome were decided by fair coins.
    coins : tuple of float
        The two outcomes that the coin chose from; empty without canaries.
    """

    columns: tuple[Column, ...]
    outcome_kind: str
    mode: str
    training: Rows
    holdout: Rows
    release: Rows
    training_rows: int
    synthesizer: str
    params: dict[str, Any]
    canaries: Rows | None = None
    coins: tuple[float, ...] = ()

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
