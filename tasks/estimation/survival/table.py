"""From a pandas frame to rows of times, events and arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.labels import MOST_ARMS, Label, label_order, listed_labels, match_label
from tasks.contract.nuisance import Float64, Int8
from tasks.contract.rng import UInt64
from tasks.contract.survival import EventRows
from tasks.estimation.canonical import canonical, level_codes
from tasks.estimation.keys import row_keys
from tasks.estimation.survival.risk_sets import ArmRows
from tasks.source.event import cause_labels, event_labels
from tasks.source.survival import last_events, require_horizon


class SurvivalRoles(BaseModel):
    """Roles by plain column names.

    Attributes
    ----------
    treatment : str
        Two to eight labels.
    time : str
        Time of the event or of censoring.
    event : str
        1 for an event, 0 for censoring; booleans and pairs of yes and no are read as such.
    covariates : tuple of str
    control : str, int, float, bool or None
        Label of the control arm; needed beyond two arms where no label reads as 0.
    cause : str, int, float, bool or None
        Label of ``event`` that means an event of the cause of interest: 0 is then censoring, every other label a competing cause.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    treatment: str
    time: str
    event: str
    covariates: tuple[str, ...]
    control: Label | None = None
    cause: Label | None = None


@dataclass(frozen=True)
class SurvivalTable:
    """A table as the estimators of curves see it, rows in the order of their keys.

    Attributes
    ----------
    covariates : DataFrame
        Canonical: float64 with NaN, or category with NaN.
    rows : EventRows
    arms : tuple of str
        Labels, the control first.
    time, treatment : str
        Names of the columns.
    strata : ndarray of int64, shape (n,), optional
        Number of each row's stratum.
    """

    covariates: pd.DataFrame
    rows: EventRows
    arms: tuple[str, ...]
    time: str
    treatment: str
    strata: npt.NDArray[np.int64] | None = None

    @property
    def arm_rows(self) -> ArmRows:
        """Rows whose hazards are compared; where causes compete, events of others than the one of interest are censoring."""
        rows = self.rows
        event = rows.event if rows.cause is None else rows.cause == 1
        return ArmRows(rows.a, rows.time, event, rows.weights, rows.clusters, self.strata)

    def largest_horizon(self) -> float:
        """Return the latest time that no arm's last event comes before.

        Raises
        ------
        EstimationError
            If an arm has no event after time 0.
        """
        return min(self._last_events())

    def require_horizon(self, horizon: float, times: Sequence[float]) -> None:
        """Refuse a horizon beyond an arm's last event, and times outside (0, horizon].

        Raises
        ------
        SpecError
        EstimationError
        """
        last = self._last_events()
        require_horizon(self.time, self.arms, last, horizon, times, min(last))

    def _last_events(self) -> list[float]:
        return last_events(self.treatment, self.arms, self.rows.a, self.rows.time, self.rows.event)


def read_survival(
    frame: pd.DataFrame,
    roles: SurvivalRoles | Mapping[str, Any],
    weights: Float64 | None = None,
    clusters: UInt64 | None = None,
    propensity: Float64 | None = None,
    strata: npt.NDArray[np.int64] | None = None,
) -> SurvivalTable:
    """Make the canonical table of a frame.

    Parameters
    ----------
    frame : DataFrame, n rows
        Covariates may be missing; treatment, time and event not.
    roles : SurvivalRoles or mapping
    weights : ndarray of float64, shape (n,), optional
        Row weights, not negative.
    clusters : ndarray of uint64, shape (n,), optional
        Hash of each row's cluster.
    propensity : ndarray of float64, shape (n, K), optional
        Known P(A = k | W), the control first.
    strata : ndarray of int64, shape (n,), optional
        Number of each row's stratum, which log-rank tests and hazard ratios keep apart.

    Returns
    -------
    SurvivalTable

    Raises
    ------
    SpecError
        If the roles are not valid.
    EstimationError
        If a time is missing or negative, an event is missing or not two-valued, or the treatment has fewer than two or more than eight
        labels.
    """
    named = _roles(frame, roles)
    time, cause = _read_time(frame[named.time]), None
    if named.cause is None:
        event = _read_event(frame[named.event])
    else:
        cause = _read_causes(frame[named.event], named.cause)
        event = cause > 0
    a, arms = _read_arms(frame[named.treatment], named)
    columns = {f"w{at}": canonical(frame[name]) for at, name in enumerate(named.covariates)}
    content = [
        *columns.values(),
        pd.Series(a.astype(np.float64)),
        pd.Series(event.astype(np.float64) if cause is None else cause.astype(np.float64)),
    ]
    keys = row_keys(content, time, weights)
    order = np.argsort(keys)
    covariates = pd.DataFrame({name: column.iloc[order].reset_index(drop=True) for name, column in columns.items()})
    rows = EventRows(keys, a.astype(np.int8), time, event, weights, propensity, clusters, cause).at(order)
    return SurvivalTable(covariates, rows, arms, named.time, named.treatment, None if strata is None else strata[order])


def _roles(frame: pd.DataFrame, roles: SurvivalRoles | Mapping[str, Any]) -> SurvivalRoles:
    if not isinstance(roles, SurvivalRoles):
        try:
            roles = SurvivalRoles.model_validate(dict(roles))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors())
            raise SpecError(f"roles of a survival outcome must be valid; got {faults}.", "See SurvivalRoles.") from None
    parts = (roles.treatment, roles.time, roles.event, *roles.covariates)
    if len(set(parts)) != len(parts):
        raise SpecError("roles of a survival outcome must give each column one part; got a column with two.", "Remove it from covariates.")
    absent = [name for name in parts if name not in frame.columns]
    if absent:
        raise SpecError(f"column '{absent[0]}' of the frame must be there; got no such column.", "See the roles.")
    return roles


def _read_time(column: pd.Series) -> Float64:
    owner = f"time '{column.name}' of the frame"
    missing = int(column.isna().sum())
    if missing:
        raise EstimationError(f"{owner} must be known in every row; got {missing} missing.", "Drop these rows.")
    if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        raise EstimationError(f"{owner} must be a number; got values of type {column.dtype}.", "Give days or months from the start.")
    time = np.asarray(canonical(column, "outcome").to_numpy(), dtype=np.float64)
    negative = int(np.count_nonzero(time < 0.0))
    if negative:
        raise EstimationError(f"{owner} must be at least 0; got {negative} negative values.", "Count time from each row's start.")
    return time


def _read_event(column: pd.Series) -> npt.NDArray[np.bool_]:
    owner = f"event '{column.name}' of the frame"
    missing = int(column.isna().sum())
    if missing:
        raise EstimationError(f"{owner} must be known in every row; got {missing} missing.", "Code censored rows as 0.")
    codes, labels = level_codes(column)
    pair = event_labels(labels)
    if pair is None:
        raise EstimationError(f"{owner} must be 1 for an event and 0 for censoring; got {len(labels)} other labels.", "Recode it.")
    return np.asarray(codes == (labels.index(pair[1]) if pair[1] in labels else -1), dtype=np.bool_)


def _read_causes(column: pd.Series, cause: Label) -> Int8:
    """Return 1 for an event of the cause, 2 for one of another, 0 for censoring."""
    owner = f"event '{column.name}' of the frame"
    missing = int(column.isna().sum())
    if missing:
        raise EstimationError(f"{owner} must be known in every row; got {missing} missing.", "Code censored rows as 0.")
    codes, labels = level_codes(column)
    place, censored = cause_labels(labels, cause, str(column.name))
    return np.where(codes == censored, 0, np.where(codes == place, 1, 2)).astype(np.int8)


def _read_arms(column: pd.Series, roles: SurvivalRoles) -> tuple[npt.NDArray[np.intp], tuple[str, ...]]:
    """Return the arm of each row and the labels, the control first."""
    owner = f"treatment '{roles.treatment}' of the frame"
    missing = int(column.isna().sum())
    if missing:
        raise EstimationError(f"{owner} must be known in every row; got {missing} missing.", "Drop these rows.")
    codes, labels = level_codes(column)
    if not 2 <= len(labels) <= MOST_ARMS:
        raise EstimationError(f"labels of {owner} must be 2 to {MOST_ARMS}; got {len(labels)}.", "Keep the arms to be compared.")
    shown = listed_labels(dict(zip(labels, np.bincount(codes).tolist(), strict=True)))
    control = match_label(0 if roles.control is None else roles.control, labels)
    if control is None:
        given = "none" if roles.control is None else repr(roles.control)
        raise SpecError(f"control of roles must be one of the labels of '{roles.treatment}'{shown}; got {given}.", "Name the control arm.")
    order = [control, *sorted((label for label in labels if label != control), key=label_order)]
    place = np.array([order.index(label) for label in labels])
    return place[codes], tuple(order)
