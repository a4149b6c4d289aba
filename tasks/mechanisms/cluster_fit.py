"""Learning from a source how rows of one cluster hang together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8
from tasks.contract.rng import UInt64
from tasks.contract.roles import TableSchema
from tasks.mechanisms.clusters import Alike, ClusterLaw, Intp, constant_within, likeness_of
from tasks.nuisance.crossfit import Covariates

#: Rows that tell how alike rows of one cluster are.
_ROWS = 20_000


class ClusteredRows(NamedTuple):
    """Source rows in clusters; each of shape (n,).

    Attributes
    ----------
    clusters : ndarray of uint64
        Hash of each row's cluster; rows of one stand together.
    a : ndarray of int8
        Treatment.
    weights : ndarray of float64, optional
        Survey weights.
    """

    clusters: UInt64
    a: Int8
    weights: Float64 | None


def fit_clusters(
    schema: TableSchema,
    rows: ClusteredRows,
    covariates: Covariates,
    relations: Sequence[Sequence[str]],
    fit: Callable[[pd.DataFrame, Intp], Alike],
) -> ClusterLaw:
    """Learn sizes, constant columns, and how alike covariates and outcomes are within clusters.

    Parameters
    ----------
    schema : TableSchema
    rows : ClusteredRows
    covariates : Covariates
        Of the same rows; each batch holds whole clusters.
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
    place = _numbered(rows.clusters)
    same = [constant_within(frame, _numbered(rows.clusters[at.start : at.start + len(frame)])) for at, frame in covariates.batches()]
    constant = set.intersection(*same)
    _refuse_linked({column.name for column in schema.covariates if column.constant or column.id in constant}, relations)
    n = min(len(rows.a), _ROWS)
    first, some = covariates.take(np.arange(len(rows.a)) < n), place[:n]
    some = np.unique(some, return_inverse=True)[1].astype(np.intp)
    alike = fit(first, some)
    sizes = np.bincount(place)
    shares = np.ones(len(sizes)) if rows.weights is None else np.bincount(place, weights=rows.weights) / sizes
    return ClusterLaw(
        sizes=sizes,
        shares=shares / shares.sum(),
        constant=tuple(sorted(constant)),
        likeness=likeness_of(first[[name for name in first if name not in constant]], some),
        treated_whole=bool(constant_within(pd.DataFrame({"a": rows.a.astype(np.float64)}), place)),
        rho=alike.rho,
        icc=alike.icc,
        lost=alike.lost,
    )


def _numbered(clusters: UInt64) -> Intp:
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
