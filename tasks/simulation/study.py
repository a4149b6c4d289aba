"""Simulated data sets with several outcomes, or with outcomes that some rows lack: their law, and what estimators see of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.contract.columns import predictions_of
from tasks.contract.frames import to_frame
from tasks.contract.nuisance import Float64, Learner, Nuisances, Predictions
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec
from tasks.mechanisms.draw import draw_treatment
from tasks.mechanisms.joint import OutcomeDesign, draw_together
from tasks.mechanisms.model import Mechanisms
from tasks.mechanisms.presence import PresenceLaw, draw_presence
from tasks.mechanisms.ranks import RankLaw
from tasks.nuisance.crossfit import Rows, cross_fit_small
from tasks.nuisance.fold_model import averaged_all
from tasks.nuisance.plan import Plan, require_rows_per_fold
from tasks.simulation.contrasts import View
from tasks.simulation.population import Data, Population, Source, population_of
from tasks.targeting.fluctuation import truncation_bound
from tasks.targeting.sample import prepare
from tasks.targeting.unobserved import observed_of

#: Rows whose chances to be known are predicted at a time.
_BLOCK = 8_192


@dataclass(frozen=True, kw_only=True)
class StudyData(Data):
    """One data set; ``y`` is the first outcome.

    Attributes
    ----------
    outcomes : tuple of p ndarray of float64, shape (n,)
        All of them, NaN where missing.
    """

    outcomes: tuple[Float64, ...]


@dataclass(frozen=True, kw_only=True)
class StudyPopulation(Population):
    """Calibrated covariate rows with what the mechanisms say of every outcome; the attributes of a population are the first one's.

    Attributes
    ----------
    each : tuple of Population
        One of every outcome.
    predictions : Predictions
        g, Q* of every outcome, chances to be known; each of shape (N,).
    ranks : RankLaw or None
        How several outcomes hang together.
    presence : PresenceLaw or None
        Which outcomes are missing.
    """

    each: tuple[Population, ...]
    predictions: Predictions
    ranks: RankLaw | None = None
    presence: PresenceLaw | None = None

    @property
    def names(self) -> tuple[str | None, ...]:
        """Names of the outcomes; None of one."""
        return tuple(one.outcome.name for one in self.each) if len(self.each) > 1 else (None,)

    @property
    def incomplete(self) -> tuple[str | None, ...]:
        """Those with missing cells."""
        return () if self.presence is None else tuple(self.names[number] for number in self.presence.outcomes)

    def missing_shares(self, design: Nuisances) -> list[float]:
        """Return the share of missing cells of every outcome under a design, in [0, 1]."""
        shares = []
        for number in range(len(self.each)):
            chances = self.predictions.chances(number)
            here = 1.0 if chances is None else float(np.mean(np.sum(np.multiply(design.propensities, chances), axis=0)))
            shares.append(1.0 - here)
        return shares

    def without_noise(self) -> Population | None:
        """Return the law of the first outcome whose residuals take no factor; None where all do."""
        return next((one for one in self.each if Population.without_noise(one) is not None), None)

    def source(self, nuisances: Nuisances, scale: float, noise: float, visible: tuple[str, ...]) -> Source:
        """Return the law of a cell, whose nuisances know the scale of the effect on the first outcome already."""
        further = tuple(one.scaled(scale) for one in self.each[1:])
        predictions = Predictions(nuisances, further, self.predictions.presence)
        return StudySource(self, nuisances, noise, visible, predictions=predictions)


@dataclass(frozen=True, kw_only=True)
class StudySource(Source):
    """The law of one cell; ``predictions`` hold the design's propensities, every outcome's scaled Q, and the chances to be known."""

    predictions: Predictions

    @property
    def parts(self) -> Sequence[tuple[str | None, Nuisances]]:
        """Every outcome's name, with the design's propensities and its Q."""
        return [(name, self.predictions.of(number)) for number, name in enumerate(self.population.names)]

    def draw(self, n: int, rng: np.random.Generator) -> Data:
        """Draw one data set of n rows: covariates, treatment, which cells are known, all outcomes together."""
        law = self.population
        assert isinstance(law, StudyPopulation)  # StudyPopulation.source makes it
        rows = rng.integers(len(law.covariates), size=n)
        covariates, here = law.covariates.take(rows).reset_index(drop=True), self.predictions.at(rows)
        a = draw_treatment(here.first, rng)
        present = np.ones((n, len(law.each)), dtype=bool) if law.presence is None else draw_presence(law.presence, a, here, False, rng)
        means = [here.of(number).observed(a) for number in range(len(law.each))]
        designs = [OutcomeDesign(one.law, mean, np.ones(n)) for one, mean in zip(law.each, means, strict=True)]
        drawn = draw_together(designs, a, covariates, law.ranks or RankLaw((np.eye(1),) * here.first.arms), False, rng)
        shown = [self.shown(one, mean, y) for one, mean, y in zip(law.each, means, drawn.T, strict=True)]
        outcomes = tuple(np.where(seen, y, np.nan) for seen, y in zip(present.T, shown, strict=True))
        return StudyData(covariates[list(self.visible)], a, outcomes[0], here.first.arms, outcomes=outcomes)


def study_population(schema: TableSchema, rows: pa.Table, mechanisms: Mechanisms, spec: Spec) -> StudyPopulation:
    """Return the law of drawn rows: canonical, with their nuisances beside; the chances to be known are predicted here."""
    first = population_of(schema, rows, mechanisms.law, spec.mechanisms, spec.outcome.range)
    predictions = predictions_of(rows)
    if mechanisms.presence is not None:
        frame = to_frame(rows, schema.modelled)
        blocks = [averaged_all(mechanisms.models, frame.iloc[start : start + _BLOCK]).presence for start in range(0, len(frame), _BLOCK)]
        joined = [None if each[0] is None else tuple(np.concatenate(arm) for arm in zip(*each)) for each in zip(*blocks, strict=True)]
        predictions = predictions._replace(presence=tuple(joined))
    each = []
    for number, (one, kind, column) in enumerate(zip(mechanisms.every, schema.outcome_kinds, schema.outcomes, strict=True)):
        declared = spec.outcome_of(column.name).range
        of_one: dict[str, Any] = {
            "nuisances": predictions.of(number),
            "law": one.law,
            "kind": kind,
            "outcome": column,
            "outcome_range": declared,
        }
        each.append(replace(first, **of_one))
    beside: dict[str, Any] = {"each": tuple(each), "predictions": predictions, "ranks": mechanisms.ranks, "presence": mechanisms.presence}
    return StudyPopulation(**vars(first), **beside)


def views_of(
    data: StudyData, population: Population, learner: Learner, folds: int, truncation: str | float, rng: np.random.Generator
) -> list[View]:
    """Cross-fit one data set, g once for all outcomes, and return every outcome as estimators see it.

    Outcomes with missing cells are weighted by the inverse of the cross-fitted chance to be known
    (:mod:`tasks.targeting.unobserved`).

    Raises
    ------
    EstimationError
        If an arm has fewer than two rows per fold, or fewer than two of them have an outcome.
    """
    assert isinstance(population, StudyPopulation)  # such data are drawn from one
    require_rows_per_fold(data.a, folds, data.arms)
    kinds, n = [one.kind for one in population.each], len(data.a)
    plan = Plan("simulate", int(rng.integers(2**62)), folds)
    further = tuple((y, kind) for y, kind in zip(data.outcomes[1:], kinds[1:], strict=True))
    gaps = tuple(bool(np.isnan(y).any()) for y in data.outcomes)
    rows = Rows(np.arange(n, dtype=np.uint64), data.a, data.y, kinds[0], arms=data.arms, further=further, gaps=gaps)
    predictions = cross_fit_small(plan, learner, rows, data.covariates)
    views = []
    for number, (name, kind, y) in enumerate(zip(population.names, kinds, data.outcomes, strict=True)):
        seen = observed_of(data.a, y, predictions.of(number), predictions.chances(number))
        bound = truncation_bound(n, truncation, seen.nuisances.arms)  # type: ignore[arg-type]  # the SPEC has checked it
        views.append(View(name, prepare(seen.a, seen.y, seen.nuisances, kind, bound)))
    return views


def complete_data(data: StudyData, population: Population) -> list[tuple[str | None, str, Data]]:
    """Return the rows that have an outcome, for each with missing cells, with its name and kind: what is left where others are dropped."""
    assert isinstance(population, StudyPopulation)  # such data are drawn from one
    left = []
    for name, one, y in zip(population.names, population.each, data.outcomes, strict=True):
        if name in population.incomplete:
            present = ~np.isnan(y)
            frame = data.covariates.loc[present].reset_index(drop=True)
            left.append((name, one.kind, Data(frame, data.a[present], y[present], data.arms)))
    return left
