"""From any pandas frame to canonical arrays: what estimation asks of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ValidationError

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.labels import MOST_ARMS, affirmative, label_order, listed_labels, match_label
from tasks.contract.nuisance import Float64, Int8
from tasks.contract.rng import UInt64
from tasks.contract.roles import ColumnRoles
from tasks.estimation.canonical import canonical, level_codes
from tasks.estimation.evaluate import Levels
from tasks.estimation.keys import row_keys
from tasks.nuisance.crossfit import InMemory
from tasks.targeting.unobserved import placeholders

Scalar = TypeVar("Scalar", bound=np.generic)
#: A count outcome is recognised up to this largest value.


@dataclass(frozen=True)
class Table:
    """A data set as the estimators see it, rows in the order of their keys; arrays of shape (n,).

    Attributes
    ----------
    covariates : DataFrame
        Columns w0, w1, ... that vary: float64 with NaN, or category with NaN.
    names : dict
        Name in the caller's frame by covariate id.
    label : ndarray of int8
        Place of the treatment's label among all its labels in sorted order. Nuisances are fitted on it, so that calling another
        label the control (of two labels: the other one "treated") renames the arms and changes nothing else.
    ranks : tuple of int
        Place of each arm's label among the sorted ones, the control's first: (0, 1), or (1, 0) where the treated label is the first.
    y : ndarray of float64
        Outcome.
    kind : str
        ``"binary"``, ``"continuous"`` or ``"count"``.
    keys : ndarray of uint64
        Distinct and increasing.
    order : ndarray of intp
        Position in the caller's frame.
    subgroups : dict
        Level of each row by subgroup column, None for missing.
    weights, propensity : ndarray of float64, optional
        Row weights, all positive; known P(treated | W).
    clusters : ndarray of uint64, optional
        Hash of each row's cluster.
    strata : ndarray of int64, optional
        Number of each row's cell of declared strata.
    labels : tuple of str
        Labels of the arms, the control's first; may be left out of two.
    observed : ndarray of bool, optional
        Whether a row has an outcome; None where all have.
    """

    covariates: pd.DataFrame
    names: dict[str, str]
    label: Int8
    ranks: tuple[int, ...]
    y: Float64
    kind: str
    keys: UInt64
    order: npt.NDArray[np.intp]
    subgroups: dict[str, Levels]
    weights: Float64 | None = None
    propensity: Float64 | None = None
    clusters: UInt64 | None = None
    strata: npt.NDArray[np.int64] | None = None
    labels: tuple[str, ...] = ()
    observed: npt.NDArray[np.bool_] | None = None

    @property
    def a(self) -> Int8:
        """Treatment: 0 where the label is the control's."""
        return arms_from(self.label, self.ranks)

    def batches(self) -> Iterator[tuple[slice, pd.DataFrame]]:
        """Yield all rows."""
        return InMemory(self.covariates).batches()

    def take(self, mask: npt.NDArray[np.bool_]) -> pd.DataFrame:
        """Return the covariates of the masked rows."""
        return InMemory(self.covariates).take(mask)

    def by_key(self, values: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Return values of the rows in the order of their keys, which they are in."""
        return values


def arms_from(label: Int8, ranks: Sequence[int]) -> Int8:
    """Return the arm of each row from the place of its label, shape (n,); ``ranks`` as in :class:`Table`."""
    return np.asarray(np.argsort(ranks)[label], dtype=np.int8)


def read_roles(frame: pd.DataFrame, roles: ColumnRoles | Mapping[str, Any]) -> ColumnRoles:
    """Check roles against a frame's columns.

    Parameters
    ----------
    frame : DataFrame
    roles : ColumnRoles or mapping
        A mapping has the keys of :class:`tasks.contract.roles.ColumnRoles`; its covariates may be ``"*"``, or left out: all columns
        that play no other part.

    Returns
    -------
    ColumnRoles

    Raises
    ------
    SpecError
        If the roles are not valid, or name a column that is not there, is there twice, or plays two parts.
    """
    if not isinstance(roles, ColumnRoles):
        values = dict(roles)
        if values.get("covariates", "*") == "*":
            taken = {values.get("treatment"), values.get("outcome")}
            values["covariates"] = tuple(name for name in frame.columns if name not in taken)
        try:
            roles = ColumnRoles.model_validate(values)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors())
            raise SpecError(f"roles of estimate must be valid; got {faults}.", f"Keys: {', '.join(ColumnRoles.model_fields)}.") from None
    parts = (roles.treatment, roles.outcome, *roles.covariates)
    for name in (*parts, *roles.subgroups):
        matches = int(np.count_nonzero(np.asarray([column == name for column in frame.columns], dtype=bool)))
        if matches != 1:
            raise SpecError(f"column '{name}' of the frame must be there once; got {matches} of that name.", "See roles.")
    if len(set(parts)) != len(parts):
        raise SpecError("roles of estimate must give each column one part; got a column with two.", "Remove it from covariates.")
    return roles


def read_table(frame: pd.DataFrame, roles: ColumnRoles, propensity: Float64 | None = None, weights: Float64 | None = None) -> Table:
    """Make the canonical table of a frame.

    Parameters
    ----------
    frame : DataFrame
        Numbers, booleans, texts, categories, dates; missing covariates allowed.
    roles : ColumnRoles
        As :func:`read_roles` returns them.
    propensity : ndarray of float64, shape (n,), optional
        Known P(treated | W) by row: it is content too, and enters the row's key.
    weights : ndarray of float64, shape (n,), optional
        Row weights: they distinguish rows of the same content.

    Returns
    -------
    Table

    Raises
    ------
    EstimationError
        If treatment or outcome is missing somewhere, a value is infinite, the treatment has not two labels, the outcome is not a
        number or does not vary, or no covariate varies.
    SpecError
        If the treated label or the outcome's kind does not fit the data, or a text covariate has too many levels.
    """
    label, ranks, labels = _read_treatment(frame[roles.treatment], roles)
    present = frame[roles.outcome].notna().to_numpy()
    observed = present if roles.missing_outcome == "ipcw" and not present.all() else None
    y, kind = _read_outcome(frame[roles.outcome] if observed is None else frame.loc[present, roles.outcome], roles)
    if observed is not None:
        y = _in_place(y, observed)
    columns = {name: canonical(frame[name]) for name in roles.covariates}
    subgroups = {name: columns[name] if name in columns else canonical(frame[name]) for name in roles.subgroups}
    content = [
        *columns.values(),
        *(subgroups[name] for name in roles.subgroups if name not in columns),
        pd.Series(label.astype(np.float64)),
    ]
    if propensity is not None:
        content.append(pd.Series(propensity))
    if observed is not None:
        content.append(pd.Series(observed.astype(np.float64)))
    keys = row_keys(content, y, weights)
    order = np.argsort(keys)
    varying = {f"w{j}": name for j, name in enumerate(columns) if _varies(columns[name])}
    if not varying:
        raise EstimationError(
            "covariates of the table must contain one that varies; got none.", "Compare the arms' means directly instead."
        )
    covariates = _in_order({key: columns[name] for key, name in varying.items()}, order)
    levels = {name: _levels(column)[order] for name, column in subgroups.items()}
    w, given = (None if values is None else values[order] for values in (weights, propensity))
    outcomes = None if observed is None else observed[order]
    return Table(
        covariates, varying, label[order], ranks, y[order], kind, keys[order], order, levels, w, given, labels=labels, observed=outcomes
    )


def _in_place(y: Float64, observed: npt.NDArray[np.bool_]) -> Float64:
    """Return outcomes of all rows from those of the observed ones; the others get a placeholder of weight 0."""
    whole = np.zeros(len(observed))
    whole[observed] = y
    return placeholders(whole, observed)


def _varies(column: pd.Series) -> bool:
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy()  # -1 is missing
        return bool(np.max(codes) >= 0 and np.min(codes) < np.max(codes))
    low, high = np.fmin.reduce(column.to_numpy()), np.fmax.reduce(column.to_numpy())  # over known cells; NaN where there is none
    return bool(low < high or (low == high and column.hasnans))


def _in_order(columns: Mapping[str, pd.Series], order: npt.NDArray[np.intp]) -> pd.DataFrame:
    if any(isinstance(column.dtype, pd.CategoricalDtype) for column in columns.values()):
        return pd.DataFrame({key: column.iloc[order].reset_index(drop=True) for key, column in columns.items()}, copy=False)
    # one block of memory, written once: learners get their matrix from it without another copy
    block = np.empty((len(columns), len(order)))
    for row, column in zip(block, columns.values()):
        np.take(column.to_numpy(), order, out=row, mode="clip")  # "raise" would go through a buffer
    return pd.DataFrame(block.T, columns=list(columns), copy=False)


def _levels(column: pd.Series) -> Levels:
    codes, levels = level_codes(column)
    return np.asarray([*levels, None], dtype=object)[codes]


def _read_treatment(column: pd.Series, roles: ColumnRoles) -> tuple[Int8, tuple[int, ...], tuple[str, ...]]:
    missing = int(column.isna().sum())
    if missing:
        raise EstimationError(
            f"treatment '{roles.treatment}' of the frame must be known in every row; got {missing} missing.", "Drop these rows."
        )
    codes, labels = level_codes(column)
    several = roles.control is not None
    if not 2 <= len(labels) <= (MOST_ARMS if several else 2):
        raise EstimationError(
            f"labels of treatment '{roles.treatment}' must be {f'two to {MOST_ARMS}' if several else 'two'}; got {len(labels)}.",
            "Keep the rows of the arms to be compared." if several else "Name the reference arm as control, or keep the rows of two arms.",
        )
    role, wanted = ("control", roles.control) if roles.control is not None else ("treated", roles.treated)
    match = match_label(wanted, labels)
    if match is None:
        shown = listed_labels(dict(zip(labels, np.bincount(codes).tolist(), strict=True)))
        raise SpecError(
            f"{role} of roles must be one of the {'labels' if several else 'two labels'} of '{roles.treatment}'{shown}; got {wanted!r}.",
            f"Name the label that means {role}.",
        )
    others = [label for label in labels if label != match]
    arms = (match, *sorted(others, key=label_order)) if several else (others[0], match)
    return np.asarray(codes, dtype=np.int8), tuple(labels.index(label) for label in arms), arms


def _read_outcome(column: pd.Series, roles: ColumnRoles) -> tuple[Float64, str]:
    owner = f"outcome '{roles.outcome}' of the frame"
    missing = int(column.isna().sum())
    if missing:
        raise EstimationError(f"{owner} must be known in every row; got {missing} missing.", "Drop these rows, or model the missingness.")
    if pd.api.types.infer_dtype(column, skipna=True) == "boolean":
        column = column.astype(np.float64)
    column = _answers(column)
    types = pd.api.types
    if (
        isinstance(column.dtype, pd.CategoricalDtype)
        or types.is_datetime64_any_dtype(column.dtype)
        or types.is_timedelta64_dtype(column.dtype)
    ):
        raise EstimationError(f"{owner} must be a number or a boolean; got values of type {column.dtype.name}.", "Code it as a number.")
    y = np.asarray(canonical(column, "outcome").to_numpy(), dtype=np.float64)
    if len(y) == 0 or float(np.min(y)) == float(np.max(y)):
        raise EstimationError(
            f"{owner} must take at least two values; got {min(len(y), 1)}.", "A constant outcome has no effect to estimate."
        )
    return y, outcome_kind(y, roles)


def _answers(column: pd.Series) -> pd.Series:
    """Return 0 and 1 for an outcome of two labels of a known pair (yes and no in many languages), any other outcome as it is."""
    if isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.infer_dtype(column, skipna=True) == "string":
        codes, labels = level_codes(column)
        if len(labels) == 2 and (pair := affirmative(labels)) is not None:
            return pd.Series(np.asarray([float(label == pair[1]) for label in labels])[codes])
    return column


def outcome_kind(y: Float64, roles: ColumnRoles) -> str:
    """Return the outcome's kind, as declared or as seen.

    ``auto``: only 0 and 1 is binary; whole numbers that are never negative, of at least three values, are a count; all else
    is continuous.

    Raises
    ------
    SpecError
        If the declared kind can't hold the values.
    """
    whole = bool(np.all(y == np.rint(y)))
    binary = bool(np.all((y == 0.0) | (y == 1.0)))
    if roles.outcome_kind == "auto":
        if binary:
            return "binary"
        counts = whole and float(np.min(y)) >= 0.0 and len(np.unique(y)) >= 3
        return "count" if counts else "continuous"
    if roles.outcome_kind == "binary" and not binary:
        raise SpecError(f"outcome '{roles.outcome}' of kind binary must be 0 or 1; got other values.", "Recode it, or declare continuous.")
    if roles.outcome_kind == "count" and not (whole and float(np.min(y)) >= 0.0):
        raise SpecError(f"outcome '{roles.outcome}' of kind count must be whole and not negative; got other values.", "Declare continuous.")
    return roles.outcome_kind
