"""The scale of a distance: which columns are compared how, in which units."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from tasks.contract.errors import SourceError, SpecError
from tasks.distance.cells import CellKind, Float64, as_numbers, kind_of

Metric = Literal["l2", "l1", "gower"]


@dataclass(frozen=True)
class Scale:
    """Columns, kinds and units that all compared frames share.

    Attributes
    ----------
    metric : str
        ``"l2"``, ``"l1"`` or ``"gower"``.
    names : tuple
        Names of all columns, in the order of the first fitted frame.
    kinds : tuple of str
        ``"numeric"`` or ``"categorical"``, one a column.
    widths : tuple of float
        Positive unit of each numeric column (interquartile range, or range for Gower); 1 for categorical ones.
    """

    metric: Metric
    names: tuple[Hashable, ...]
    kinds: tuple[CellKind, ...]
    widths: tuple[float, ...]

    @property
    def numeric(self) -> tuple[Hashable, ...]:
        """Names of the columns compared by difference, in order."""
        return tuple(name for name, kind in zip(self.names, self.kinds) if kind == "numeric")

    @property
    def categorical(self) -> tuple[Hashable, ...]:
        """Names of the columns compared by equality, in order."""
        return tuple(name for name, kind in zip(self.names, self.kinds) if kind == "categorical")

    @property
    def numeric_widths(self) -> Float64:
        """Units of the numeric columns, in order."""
        return np.array([width for width, kind in zip(self.widths, self.kinds) if kind == "numeric"], dtype=np.float64)


def fit_scale(frames: Sequence[pd.DataFrame], metric: Metric = "l2") -> Scale:
    """Fit one scale on all frames that will be compared, pooled.

    A column of numbers, instants or durations is numeric; booleans, categories and text are categorical. The unit of a
    numeric column is the interquartile range of its known cells in all frames together, their standard deviation where that
    is 0, and 1 where that is 0 too; for ``"gower"`` it is their range, 1 where that is 0 (Gower 1971, doi:10.2307/2528823).

    Parameters
    ----------
    frames : sequence of pandas.DataFrame
        At least one; the same columns in any order, missing cells allowed.
    metric : str
        ``"l2"``: sqrt(sum of (abs(x - y) / unit)^2 + mismatches); ``"l1"``: sum of abs(x - y) / unit + mismatches;
        ``"gower"``: mean over all columns of min(abs(x - y) / range, 1) or mismatch. Missing against missing
        adds 0, missing against a value counts as one mismatch.

    Returns
    -------
    Scale

    Raises
    ------
    SpecError
        If the metric is not known.
    SourceError
        If there is no frame, no row or no column, if the columns differ, or if a cell is infinite.
    """
    if metric not in get_args(Metric):
        raise SpecError(f"metric of fit_scale must be one of {', '.join(get_args(Metric))}; got '{metric}'.")
    if isinstance(frames, pd.DataFrame) or not len(frames):
        raise SourceError("frames of fit_scale must be a list of at least one frame; got none.", "Put the frames in a list.")
    names = check_columns(frames[0], tuple(frames[0].columns), "frame 0")
    for position, frame in enumerate(frames):
        check_columns(frame, names, f"frame {position}")
    if not sum(len(frame) for frame in frames):
        raise SourceError("frames of fit_scale must have at least one row; got 0.", "A scale can't be read off empty tables.")
    kinds, widths = [], []
    for name in names:
        kind = _shared_kind([frame[name] for frame in frames], name)
        kinds.append(kind)
        widths.append(
            _width([as_numbers(frame[name], f"frame {i}") for i, frame in enumerate(frames)], metric) if kind == "numeric" else 1.0
        )
    return Scale(metric, names, tuple(kinds), tuple(widths))


def check_columns(frame: pd.DataFrame, names: tuple[Hashable, ...], owner: str) -> tuple[Hashable, ...]:
    """Refuse a frame whose columns are not the named ones, each once."""
    if not len(frame.columns) or not frame.columns.is_unique:
        got = f"{len(frame.columns)} columns of {frame.columns.nunique()} names"
        raise SourceError(f"columns of {owner} must be at least one, each name once; got {got}.", "Rename or drop columns.")
    lacking = [str(name) for name in names if name not in frame.columns]
    extra = [str(name) for name in frame.columns if name not in set(names)]
    if lacking or extra:
        got = "; ".join(f"{word} {', '.join(some[:5])}" for word, some in (("lacking", lacking), ("extra", extra)) if some)
        raise SourceError(f"columns of {owner} must be those of the scale; got {got}.", "Select the same columns in every frame.")
    return names


def check_kind(values: pd.Series, kind: CellKind, owner: str) -> None:
    """Refuse a column that can't be compared the way the scale says."""
    actual = kind_of(values)
    if actual is not None and actual != kind:
        raise SourceError(
            f"{values.name} of {owner} must be {kind} as in the scale; got {actual}.", "Give the column one type in every frame."
        )


def _shared_kind(columns: list[pd.Series], name: Hashable) -> CellKind:
    kinds = {kind for kind in map(kind_of, columns) if kind is not None}
    if len(kinds) > 1:
        raise SourceError(f"{name} of frames must be of one kind; got categorical and numeric.", "Give the column one type in every frame.")
    return kinds.pop() if kinds else "categorical"


def _width(columns: list[Float64], metric: Metric) -> float:
    pooled = np.concatenate(columns)
    present = pooled[~np.isnan(pooled)]
    if not present.size:
        return 1.0
    if metric == "gower":
        candidates = [float(present.max() - present.min())]
    else:
        low, high = np.quantile(present, [0.25, 0.75])
        # deviations are taken from the median: a far offset must not drown a small spread in rounding
        candidates = [float(high - low), float(np.std(present - np.median(present)))]
    return next((width for width in candidates if np.isfinite(width) and width > 0), 1.0)
