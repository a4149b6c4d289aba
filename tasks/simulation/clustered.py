"""Simulated data sets whose rows come in clusters: whole clusters are sampled, and outcomes are alike within them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import ndtr

from tasks.contract.columns import clusters_of
from tasks.contract.nuisance import Nuisances
from tasks.contract.rng import UInt64
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec
from tasks.mechanisms.clusters import ClusterLaw, treat_clusters
from tasks.mechanisms.draw import draw_treatment
from tasks.mechanisms.model import Mechanisms
from tasks.mechanisms.ranks import lay_out, step_at
from tasks.simulation.population import Data, Population, Source, population_of

Intp = npt.NDArray[np.intp]

#: Outcomes that each row's law is laid out in, as for a release.
_STEPS = 16


@dataclass(frozen=True, kw_only=True)
class ClusterData(Data):
    """One data set; ``clusters`` is the number of each row's cluster, (n,)."""

    clusters: UInt64


@dataclass(frozen=True, kw_only=True)
class ClusterPopulation(Population):
    """Calibrated covariate rows in clusters.

    Attributes
    ----------
    order : ndarray of intp, shape (N,)
        Rows, cluster by cluster.
    starts : ndarray of intp, shape (G + 1,)
        Where clusters begin in ``order``, and N.
    alike : ClusterLaw
        How rows of a cluster hang together.
    """

    order: Intp
    starts: Intp
    alike: ClusterLaw

    @property
    def units(self) -> Intp:
        """Number of each row's cluster, shape (N,)."""
        place = np.empty(len(self.order), dtype=np.intp)
        place[self.order] = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        return place

    @property
    def facts(self) -> dict[str, Any]:
        """What a record says of clusters."""
        sizes = np.diff(self.starts)
        alike = {"icc": self.alike.icc, "treated_whole": self.alike.treated_whole}
        return {"pool": len(sizes), "mean_size": float(sizes.mean()), **alike}

    def sampled(self, n: int, rng: np.random.Generator) -> tuple[Intp, Intp]:
        """Sample whole clusters with replacement until there are n rows, the last one cut; return rows and their clusters' numbers."""
        sizes = np.diff(self.starts)
        chosen, rows = np.empty(0, dtype=np.intp), 0
        while rows < n:
            more = rng.integers(len(sizes), size=1 + int((n - rows) / sizes.mean()))
            chosen, rows = np.concatenate((chosen, more)), rows + int(sizes[more].sum())
        within = np.concatenate([np.arange(self.starts[each], self.starts[each + 1]) for each in chosen])
        return self.order[within][:n], np.repeat(np.arange(len(chosen)), sizes[chosen])[:n]

    def source(self, nuisances: Nuisances, scale: float, noise: float, visible: tuple[str, ...]) -> Source:  # noqa: ARG002
        """Return the law of a cell, whose nuisances know the scale of the effect already."""
        return ClusterSource(self, nuisances, noise, visible)


@dataclass(frozen=True)
class ClusterSource(Source):
    """The law of one cell."""

    def draw(self, n: int, rng: np.random.Generator) -> Data:
        """Draw one data set of n rows: whole clusters, treated whole where the source's are, outcomes by a one-factor copula of ranks."""
        law = self.population
        assert isinstance(law, ClusterPopulation)  # ClusterPopulation.source makes it
        rows, place = law.sampled(n, rng)
        covariates = law.covariates.take(rows).reset_index(drop=True)
        here = Nuisances(*(values[rows] for values in self.nuisances))
        a = treat_clusters(here, place, False, rng) if law.alike.treated_whole else draw_treatment(here, rng)
        mean, rho = here.observed(a), law.alike.rho
        scores = np.sqrt(rho) * rng.normal(size=int(place.max()) + 1)[place] + np.sqrt(1.0 - rho) * rng.normal(size=n)
        y = step_at(lay_out(law.law, a, mean, covariates, _STEPS, rng), ndtr(scores))
        return ClusterData(covariates[list(self.visible)], a, self.shown(law, mean, y), here.arms, clusters=place.astype(np.uint64))


def cluster_population(schema: TableSchema, rows: pa.Table, mechanisms: Mechanisms, alike: ClusterLaw, spec: Spec) -> ClusterPopulation:
    """Return the law of drawn rows: canonical, with their nuisances and the keys of their clusters beside."""
    first = population_of(schema, rows, mechanisms.law, spec.mechanisms, spec.outcome.range)
    units = clusters_of(rows)
    assert units is not None  # of every table with a cluster
    place = np.unique(units, return_inverse=True)[1]
    order = np.argsort(place, kind="stable").astype(np.intp)
    starts = np.concatenate(([0], np.cumsum(np.bincount(place)))).astype(np.intp)
    return ClusterPopulation(**vars(first), order=order, starts=starts, alike=alike)
