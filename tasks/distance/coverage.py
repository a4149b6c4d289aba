"""Alpha-precision and beta-recall: whether released covariates are typical of real ones, and real ones covered by the release.

Alaa et al. (2022), ICML, PMLR 162, arXiv 2102.08921, with this project's distance of mixed types instead of a learnt embedding. The
alpha-support of a table is the ball around its centre that holds a share alpha of its rows:

    precision P(alpha) = share of released rows inside the alpha-support of the real ones
    recall    R(beta)  = share of real rows within whose distance to their own closest real row
                         lies a released row of the release's beta-support

and the scores are 1 - 2 int |P(alpha) - alpha| d alpha, the same of R. Real rows are those the synthesizer never saw; the scores of the
rows that it did see stand beside as the reference, so copying real rows earns nothing. For recall the reference is about one half and
not 1, even where both laws agree: a new row is as often as not further away than the closest real one.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.errors import SourceError
from tasks.distance.cells import Float64
from tasks.distance.closest import closest
from tasks.distance.records import Int64, Records, encode, find_distinct
from tasks.distance.scale import Scale, fit_scale

#: Fewest rows of each table; below, scores say nothing.
MIN_ROWS = 50
#: Closest released rows looked at for one in the beta-support; more lie within a real row's reach once in a few hundred.
LOOKED_AT = 8
#: Points of the grid of levels that scores are integrated over.
LEVELS = 101
_NEVER = 2.0  # above all levels


class Score(NamedTuple):
    """An integrated score in [0, 1] with its standard error over the rows that are counted, all else held fixed."""

    value: float
    se: float


class Coverage(NamedTuple):
    """Precision and recall of released covariates, beside those of training rows; all against rows that the synthesizer never saw.

    Attributes
    ----------
    precision, recall : Score
        Of the release.
    precision_reference, recall_reference : Score
        Of as many training rows.
    rows : int
        Rows taken of each of the three tables.
    """

    precision: Score
    recall: Score
    precision_reference: Score
    recall_reference: Score
    rows: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the record ``fidelity.precision_recall``."""
        return {**{name: score._asdict() for name, score in self._asdict().items() if name != "rows"}, "rows": self.rows}


def coverage(
    training: pd.DataFrame, holdout: pd.DataFrame, drawn: pd.DataFrame, rng: np.random.Generator, rows: int = 20_000, threads: int = 1
) -> Coverage:
    """Score released covariates by alpha-precision and beta-recall.

    Parameters
    ----------
    training, holdout : pandas.DataFrame
        Covariates of real rows that the synthesizer saw and did not see; missing cells allowed.
    drawn : pandas.DataFrame
        Covariates of released rows.
    rng : numpy.random.Generator
        Spent on the choice of rows.
    rows : int
        Most rows of each table; the smallest table decides, for recall grows with the number of rows.
    threads : int
        Threads of the search, at least 1; the result does not depend on it.

    Returns
    -------
    Coverage

    Raises
    ------
    SourceError
        If a table has fewer than 50 rows, or columns or kinds differ.
    """
    size = min(rows, len(training), len(holdout), len(drawn))
    if size < MIN_ROWS:
        raise SourceError(f"rows of precision and recall must be at least {MIN_ROWS} in each table; got {size}.", "Use a larger source.")
    scale = fit_scale([training, holdout], metric="l2")
    # the same spending of the generator whatever the sizes
    order = [np.argsort(one.random(len(frame)), kind="stable") for one, frame in zip(rng.spawn(3), (training, holdout, drawn))]
    members, real, new = (
        frame.iloc[np.sort(rows_of[:size])].reset_index(drop=True) for frame, rows_of in zip((training, holdout, drawn), order)
    )
    reach = _reach(real, scale, threads)
    precision, reference = (_score(*_precision_levels(real, table, scale)) for table in (new, members))
    recall, recall_reference = (_score(*_recall_levels(real, reach, table, scale, threads)) for table in (new, members))
    return Coverage(precision, recall, reference, recall_reference, size)


def _precision_levels(real: pd.DataFrame, table: pd.DataFrame, scale: Scale) -> tuple[Float64, Float64]:
    """Return for each row of a table the levels between which it enters the real rows' support."""
    real_depth, depth = _depths(real, table, scale)
    return _enter(real_depth, depth)


def _reach(real: pd.DataFrame, scale: Scale, threads: int) -> Float64:
    """Return each row's distance to its closest other row: 0 where the table holds it twice."""
    copies = find_distinct(encode(real, real, scale)[0])
    several = np.diff(copies.starts) > 1
    if len(several) == 1:
        return np.zeros(len(real))
    # rows held many times would make the search list every copy
    distinct = real.iloc[copies.first].reset_index(drop=True)
    apart = closest(distinct, distinct, 2, scale=scale, threads=threads)[0][:, 1]
    return np.asarray(np.where(several, 0.0, apart)[copies.group], dtype=np.float64)


def _recall_levels(real: pd.DataFrame, reach: Float64, table: pd.DataFrame, scale: Scale, threads: int) -> tuple[Float64, Float64]:
    """Return for each real row the levels between which a row of the table's support comes within its reach; above 1 for never."""
    depth, _ = _depths(table, table, scale)
    first_of = find_distinct(encode(table, table, scale)[0]).first
    # deepest first: among rows equally near the search returns the one that enters the support first
    order = first_of[np.argsort(depth[first_of], kind="stable")]
    deepest = table.iloc[order].reset_index(drop=True)
    distances, rows = closest(real, deepest, min(LOOKED_AT, len(deepest)), scale=scale, threads=threads)
    first = np.where(distances <= reach[:, None], rows, len(order)).min(axis=1)
    low, high = _enter(depth, depth[order])
    return np.append(low, _NEVER)[first], np.append(high, _NEVER)[first]


def _enter(reference: Float64, depth: Float64) -> tuple[Float64, Float64]:
    """Return the shares of the reference strictly below and up to each depth.

    A row at a depth that many share enters the support gradually between the two: so equal laws have P(alpha) = alpha even where
    covariates are few levels.
    """
    ordered = np.sort(reference)
    below, up_to = np.searchsorted(ordered, depth, side="left"), np.searchsorted(ordered, depth, side="right")
    return below.astype(np.float64) / len(ordered), up_to.astype(np.float64) / len(ordered)


def _score(low: Float64, high: Float64) -> Score:
    """Integrate 1 - 2 |curve - level| over levels, by trapezoids."""
    levels = np.linspace(0.0, 1.0, LEVELS)
    steps = np.full(LEVELS, float(levels[1]))
    steps[[0, -1]] /= 2.0
    start, width = low[:, None], (high - low)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        ramp = np.clip((levels - start) / width, 0.0, 1.0)
    # a row between two depths of the reference enters at once
    curves = np.where(width > 0.0, ramp, levels >= start)
    curve = np.mean(curves, axis=0)
    gap = curve - levels
    influence = -2.0 * (curves - curve) @ (steps * np.sign(gap))
    return Score(max(0.0, 1.0 - 2.0 * float(np.abs(gap) @ steps)), float(np.std(influence, ddof=1)) / math.sqrt(len(low)))


def _depths(centred: pd.DataFrame, table: pd.DataFrame, scale: Scale) -> tuple[Float64, Float64]:
    """Return the distances of both tables' rows to the centre of the first one.

    The centre is the mean in the space where the metric is Euclidean: a category is 1/sqrt(2) times its indicator (two levels are then
    1 apart), and so is missingness of a number, which itself stands at the mean of the known ones.
    """
    first, second, sizes = encode(centred, table, scale)
    totals = [np.zeros(len(first.numeric)), np.zeros(len(second.numeric))]
    for at, width in enumerate(scale.numeric_widths):
        present = first.numeric[:, at][~np.isnan(first.numeric[:, at])]
        mean = float(np.mean(present)) if len(present) else 0.0
        missing = [np.isnan(side.numeric[:, at]).astype(np.int64) for side in (first, second)]
        for total, side, gap, levels in zip(totals, (first, second), missing, _indicator_squares(missing[0], missing[1], 2)):
            total += np.where(gap == 1, 0.0, ((side.numeric[:, at] - mean) / width) ** 2) + levels
    for at, size in enumerate(sizes):
        codes = [_codes(side, at) for side in (first, second)]
        for total, levels in zip(totals, _indicator_squares(codes[0], codes[1], size)):
            total += levels
    # rows with the same cells must have the same bits for ties to be ties: rounding errors are cut off
    near, far = (np.asarray(np.round(np.sqrt(total), 12), dtype=np.float64) for total in totals)
    return near, far


def _codes(side: Records, at: int) -> Int64:
    return np.asarray(side.codes[:, at], dtype=np.int64)


def _indicator_squares(first: Int64, second: Int64, size: int) -> tuple[Float64, Float64]:
    """Return (1 - 2 p(level) + sum p^2) / 2 for each row's level, p the shares in the first table."""
    shares = np.bincount(first, minlength=size) / len(first)
    squares = np.maximum((1.0 - 2.0 * shares + float(shares @ shares)) / 2.0, 0.0)
    return np.asarray(squares[first], dtype=np.float64), np.asarray(squares[second], dtype=np.float64)
