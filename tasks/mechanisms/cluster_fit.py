"""Learning from a source how rows of one cluster hang together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8
from tasks.contract.rng import UInt64
from tasks.contract.roles import TableSchema
from tasks.mechanisms.clusters import Alike, ClusterLaw, Intp, constant_within, fit_rho, likeness_of
from tasks.mechanisms.laws.protocol import OutcomeLaw
from tasks.mechanisms.ranks import positive

#: Rows that tell how alike rows of one cluster are.
ALIKE_ROWS = 20_000
#: Largest correlation of what a cluster shares of two outcomes.
_MOST = 0.98
#: What the treatment is called beside covariates' ids.
_TREATMENT = "a"


class ClusteredRows(NamedTuple):
    """Source rows in clusters, whole ones; n rows.

    Attributes
    ----------
    covariates : DataFrame
    clusters : ndarray of uint64, shape (n,)
        Hash of each row's cluster; rows of one stand together.
    a : ndarray of int8, shape (n,)
        Treatment.
    weights : ndarray of float64, shape (n,), optional
        Survey weights.
    """

    covariates: pd.DataFrame
    clusters: UInt64
    a: Int8
    weights: Float64 | None


def fit_clusters(
    schema: TableSchema,
    parts: Iterable[ClusteredRows],
    relations: Sequence[Sequence[str]],
    fit: Callable[[pd.DataFrame, Intp], Alike],
) -> ClusterLaw:
    """Learn sizes, constant columns, and how alike covariates and outcomes are within clusters.

    Parameters
    ----------
    schema : TableSchema
    parts : iterable of ClusteredRows
        The source's partitions: one is in memory at a time, and three numbers for each cluster.
    relations : sequence of sequence of str
        Names of columns that are declared to hang together.
    fit : callable
        Learns how alike outcomes of the first rows are, from their covariates and the number of each row's cluster.

    Returns
    -------
    ClusterLaw

    Raises
    ------
    EstimationError
        If a relation joins a column that is constant within clusters with one that is not.
    """
    frames: list[pd.DataFrame] = []
    hashes: list[UInt64] = []
    names, sizes, weights = [], [], []
    constant: set[str] | None = None
    for part in parts:
        distinct, place = np.unique(part.clusters, return_inverse=True)
        same = constant_within(part.covariates.assign(**{_TREATMENT: part.a.astype(np.float64)}), place.astype(np.intp))
        constant = same if constant is None else constant & same
        names.append(distinct)
        sizes.append(np.bincount(place))
        weights.append(sizes[-1].astype(np.float64) if part.weights is None else np.bincount(place, weights=part.weights))
        wanted = ALIKE_ROWS - sum(map(len, frames))
        if wanted > 0:
            frames.append(part.covariates.iloc[:wanted])
            hashes.append(part.clusters[:wanted])
    within = set(constant or ())
    treated_whole = _TREATMENT in within
    within.discard(_TREATMENT)
    _refuse_linked({column.name for column in schema.covariates if column.constant or column.id in within}, relations)
    first, some = pd.concat(frames, ignore_index=True), np.unique(np.concatenate(hashes), return_inverse=True)[1].astype(np.intp)
    alike = fit(first, some)
    order = np.argsort(np.concatenate(names))
    size = np.concatenate(sizes)[order]
    shares = np.concatenate(weights)[order] / size
    return ClusterLaw(
        sizes=size,
        shares=shares / shares.sum(),
        constant=tuple(sorted(within)),
        likeness=likeness_of(first[[name for name in first if name not in within]], some),
        treated_whole=treated_whole,
        rho=alike.rho,
        icc=alike.icc,
        lost=alike.lost,
        further=alike.further,
        between=alike.between,
    )


def fit_outcomes(
    laws: Sequence[OutcomeLaw], a: Int8, y: Float64, mean: Float64, covariates: pd.DataFrame, place: Intp, rng: np.random.Generator
) -> Alike:
    """Learn how alike outcomes within clusters are, each by :func:`tasks.mechanisms.clusters.fit_rho` among the rows that have it.

    Parameters
    ----------
    laws : sequence of p OutcomeLaw
    a : ndarray of int8, shape (n,)
        Treatment.
    y, mean : ndarray of float64, shape (n, p)
        Outcomes, NaN where missing, and their out-of-fold means in the row's own arm.
    covariates : DataFrame, n rows
    place : ndarray of intp, shape (n,)
        Number of each row's cluster.
    rng : numpy.random.Generator
    """
    parts = []
    for law, values, means in zip(laws, y.T, mean.T, strict=True):
        present = ~np.isnan(values)
        if present.all():
            parts.append(fit_rho(law, a, values, means, covariates, place, rng))
        else:
            given = (a[present], values[present], means[present], covariates.loc[present].reset_index(drop=True))
            parts.append(fit_rho(law, *given, _numbered(place[present]), rng))
    between = tuple(map(tuple, shared_correlations(y - mean, place).tolist()))
    return parts[0]._replace(further=tuple(parts[1:]), between=between)


def shared_correlations(rest: Float64, place: Intp) -> Float64:
    """Return the correlations of what rows of a cluster share of several outcomes, shape (p, p): 0 where an outcome's rows share nothing.

    They are those of different rows of one cluster, moments over all pairs: the covariance of one outcome of a row and another of another
    row is that of the shared parts alone.

    Parameters
    ----------
    rest : ndarray of float64, shape (n, p)
        Residuals, NaN where missing.
    place : ndarray of intp, shape (n,)
        Number of each row's cluster.
    """
    present = ~np.isnan(rest)
    centred = np.where(present, rest - np.nanmean(rest, axis=0), 0.0)
    sums = np.column_stack([np.bincount(place, weights=column) for column in centred.T])
    counts = np.column_stack([np.bincount(place, weights=column) for column in present.T.astype(np.float64)])
    seen = present.astype(np.float64)
    pairs = counts.T @ counts - seen.T @ seen
    moments = (sums.T @ sums - centred.T @ centred) / np.maximum(pairs, 1.0)
    spread = np.sqrt(np.maximum(np.diag(moments), 0.0))
    both = np.outer(spread, spread)
    correlations = np.where(both > 0.0, moments / np.where(both > 0.0, both, 1.0), 0.0)
    np.fill_diagonal(correlations, 1.0)
    return positive(np.clip(correlations, -_MOST, _MOST) * (1.0 - np.eye(len(spread))) + np.eye(len(spread)))


def _numbered(clusters: UInt64 | Intp) -> Intp:
    """Return the number of each row's cluster, from 0."""
    return np.unique(clusters, return_inverse=True)[1].astype(np.intp)


def _refuse_linked(constant: set[str], relations: Sequence[Sequence[str]]) -> None:
    for related in relations:
        inside = [name for name in related if name in constant]
        if inside and len(inside) < len(related):
            raise EstimationError(
                f"relations of roles must not join column '{inside[0]}', which is constant within clusters, with one that is not.",
                "Take out that relation, or roles.cluster.",
            )
