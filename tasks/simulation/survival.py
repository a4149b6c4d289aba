"""Simulated data sets whose outcome is a time to event: what they are drawn from, and what estimators see of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tasks.contract.columns import conform, nuisances_of
from tasks.contract.frames import to_frame
from tasks.contract.nuisance import Float64, Learner, Nuisances
from tasks.contract.roles import TableSchema
from tasks.contract.spec import MechanismsSpec
from tasks.contract.survival import EventRows, TimesToEvent
from tasks.mechanisms.draw import draw_treatment
from tasks.mechanisms.survival_law import TimesLaw
from tasks.mechanisms.survival_model import TimesMechanisms
from tasks.nuisance.plan import Plan, require_rows_per_fold
from tasks.nuisance.survival_fold import Hazards, cross_fit_times
from tasks.simulation.population import Data, Population, Source
from tasks.targeting.fluctuation import truncation_bound
from tasks.targeting.scores import expit
from tasks.targeting.survival import survival

#: Rows whose hazards are predicted at a time.
_BLOCK = 8_192


@dataclass(frozen=True, kw_only=True)
class TimesData(Data):
    """One data set of times: ``y`` is the time, ``event`` whether it is that of an event, ``strata`` each row's stratum, each (n,)."""

    event: npt.NDArray[np.bool_]
    outcome: TimesToEvent
    strata: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, kw_only=True)
class TimesPopulation(Population):
    """Calibrated covariate rows with their hazards; Q of an arm is its restricted mean.

    Attributes
    ----------
    hazards : Hazards
        Of the event and of censoring, shape (K, N, m).
    times : TimesLaw
        Where within periods times lie.
    """

    hazards: Hazards
    times: TimesLaw

    def event_hazards(self, scale: float) -> Float64:
        """Return hazards whose logits are those of the control plus ``scale`` times the difference from it, shape (K, N, m)."""
        event = self.hazards.event
        if scale == 1.0:
            return event
        logit = np.log(event) - np.log1p(-event)
        return np.asarray(expit(logit[:1] + scale * (logit - logit[:1])), dtype=np.float64)

    def scaled(self, scale: float) -> tuple[Float64, ...]:
        """Return the restricted mean of every arm under such hazards, K arrays of shape (N,)."""
        mean = self.times.outcome.functionals[0]
        return tuple(mean.value(survival(hazard)) for hazard in self.event_hazards(scale))

    def source(self, nuisances: Nuisances, scale: float, noise: float, visible: tuple[str, ...]) -> Source:
        """Return the law of a cell; without a factor on residuals."""
        return TimesSource(self, nuisances, noise, visible, event=self.event_hazards(scale))


@dataclass(frozen=True, kw_only=True)
class TimesSource(Source):
    """The law of one cell; ``event`` are the hazards of the event under the cell's effect, shape (K, N, m)."""

    event: Float64

    def draw(self, n: int, rng: np.random.Generator) -> Data:
        """Draw one data set of n rows."""
        law = self.population
        assert isinstance(law, TimesPopulation)  # TimesPopulation.source makes it
        rows = rng.integers(len(law.covariates), size=n)
        covariates = law.covariates.take(rows).reset_index(drop=True)
        here = Nuisances(*(values[rows] for values in self.nuisances))
        a = draw_treatment(here, rng)
        time, came = law.times.draw(self.event[a, rows], law.hazards.censoring[a, rows], (rng.random(n), rng.random(n)))
        rounded = np.array(conform(law.outcome, pa.array(time)).to_numpy(zero_copy_only=False), dtype=np.float64)
        visible = covariates[list(self.visible)]
        names = [column.id for column in law.columns if column.role == "stratum" and column.id in self.visible]
        strata = _strata(visible[names])
        return TimesData(visible, a, rounded, here.arms, event=came, outcome=law.times.outcome, strata=strata)


def _strata(columns: pd.DataFrame) -> npt.NDArray[np.int64] | None:
    """Return the number of each row's cell of columns with levels; None without columns."""
    codes = np.zeros(len(columns), dtype=np.int64)
    for name in columns:
        levels = columns[name].cat
        codes = codes * (len(levels.categories) + 1) + levels.codes.to_numpy()
    return codes if len(columns.columns) else None


def times_population(schema: TableSchema, rows: pa.Table, mechanisms: TimesMechanisms, design: MechanismsSpec) -> TimesPopulation:
    """Return the law of drawn rows: canonical, with their nuisances beside.

    Parameters
    ----------
    schema : TableSchema
    rows : pyarrow.Table
    mechanisms : TimesMechanisms
    design : MechanismsSpec
        Shares of the randomized design.
    """
    covariates = pd.DataFrame(to_frame(rows, schema.modelled)).reset_index(drop=True)
    parts = [mechanisms.hazards(covariates.iloc[start : start + _BLOCK]) for start in range(0, len(covariates), _BLOCK)]
    hazards = Hazards(*(np.concatenate(each, axis=-2) for each in zip(*parts, strict=True)))
    nuisances = Nuisances(*(np.array(values) for values in nuisances_of(rows)))
    columns, outcome, arms = schema.modelled, schema.outcome, schema.arms
    # the law of means has no part in it: times are drawn from hazards
    law: object = None
    given = (covariates, nuisances, law, "survival", columns, outcome, arms, design)
    return TimesPopulation(*given, hazards=hazards, times=mechanisms.law)  # type: ignore[arg-type]


def predict_data(
    data: TimesData, learner: Learner, folds: int, truncation: str | float, rng: np.random.Generator
) -> tuple[Nuisances, Float64]:
    """Cross-fit one data set; return g with restricted means, and the pseudo-outcomes that estimators of means see.

    Raises
    ------
    EstimationError
        If an arm has fewer than two rows per fold, or training rows lack events.
    """
    require_rows_per_fold(data.a, folds, data.arms)
    plan = Plan("simulate", int(rng.integers(2**62)), folds)
    rows = EventRows(np.arange(len(data.y), dtype=np.uint64), data.a, data.y, data.event)
    bound = truncation_bound(len(data.y), truncation, data.arms)  # type: ignore[arg-type]  # the SPEC has checked it
    predicted = cross_fit_times(plan, learner, rows, data.covariates, data.outcome, data.arms, bound)
    return predicted.nuisances, predicted.outcomes[0]
