"""Simulated data sets whose outcome is a time to event: what they are drawn from, and what estimators see of them.

Estimators of means see pseudo-outcomes: of the restricted mean; where causes compete, of the time lost to the cause of interest and of its
incidence F(t) at the declared times, each as an outcome of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tasks.contract.columns import conform, nuisances_of
from tasks.contract.frames import to_frame
from tasks.contract.nuisance import Float64, Int8, Learner, Nuisances
from tasks.contract.roles import TableSchema
from tasks.contract.spec import MechanismsSpec
from tasks.contract.survival import EventRows, TimesToEvent, causes_of
from tasks.mechanisms.cause_draw import draw_causes
from tasks.mechanisms.draw import draw_treatment
from tasks.mechanisms.survival_law import TimesLaw
from tasks.mechanisms.survival_model import TimesMechanisms, cause_values
from tasks.nuisance.causes import cause_shares
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
    """One data set of times: ``y`` is the time, ``event`` whether it is that of an event, ``strata`` each row's stratum, each (n,).

    ``cause`` is 0 of no event and 1, ..., J of causes that compete, that of interest first; None where an event has one cause.
    """

    event: npt.NDArray[np.bool_]
    outcome: TimesToEvent
    strata: npt.NDArray[np.int64] | None = None
    cause: Int8 | None = None


def numbers_of(outcome: TimesToEvent) -> tuple[str | None, ...]:
    """Return what data sets are tried for: None of a restricted mean; where causes compete the time lost and F at each time, by name."""
    return ("time lost", *(f"incidence at {time:.12g}" for time in outcome.times)) if outcome.causes else (None,)


@dataclass(frozen=True, kw_only=True)
class TimesPopulation(Population):
    """Calibrated covariate rows with their hazards; Q of an arm is its restricted mean, or the time lost to the cause of interest.

    Attributes
    ----------
    hazards : Hazards
        Of the event and of censoring, shape (K, N, m), and the chances of causes.
    times : TimesLaw
        Where within periods times lie.
    """

    hazards: Hazards
    times: TimesLaw

    @property
    def names(self) -> tuple[str | None, ...]:
        """Names of the numbers: :func:`numbers_of`."""
        return numbers_of(self.times.outcome)

    def under(self, scale: float) -> Hazards:
        """Return hazards and chances of causes whose logits are the control's plus ``scale`` times the difference from it."""
        moved = (_scaled(self.hazards.event, scale), self.hazards.censoring, _scaled(self.hazards.splits, scale))
        return Hazards(*moved)

    def values(self, scale: float) -> Float64:
        """Return each of the numbers of every row under every arm and such hazards, shape (P, K, N)."""
        hazards, outcome = self.under(scale), self.times.outcome
        if outcome.causes:
            return cause_values(hazards.event, cause_shares(hazards.splits)[0], outcome.of_cause)
        return np.array([[outcome.functionals[0].value(survival(hazard)) for hazard in hazards.event]])

    def scaled(self, scale: float) -> tuple[Float64, ...]:
        """Return the first of the numbers under every arm and such hazards, K arrays of shape (N,)."""
        return tuple(self.values(scale)[0])

    def source(self, nuisances: Nuisances, scale: float, noise: float, visible: tuple[str, ...]) -> Source:
        """Return the law of a cell; without a factor on residuals."""
        return TimesSource(self, nuisances, noise, visible, hazards=self.under(scale), values=self.values(scale))


def _scaled(chances: Float64, scale: float) -> Float64:
    """Scale the differences of logits from those of the control, chances of shape (..., K, N, m)."""
    if scale == 1.0 or chances.size == 0:
        return chances
    logit = np.log(chances) - np.log1p(-chances)
    control = logit[..., :1, :, :]
    return np.asarray(expit(control + scale * (logit - control)), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class TimesSource(Source):
    """The law of one cell: ``hazards`` under the cell's effect, and ``values``, the numbers of every row and arm, shape (P, K, N)."""

    hazards: Hazards
    values: Float64

    @property
    def parts(self) -> Sequence[tuple[str | None, Nuisances]]:
        """Every number's name, with the design's propensities and its value under every arm."""
        given = self.nuisances.propensities[1:]
        return [(name, Nuisances(*given, *values)) for name, values in zip(self.population.names, self.values, strict=True)]

    def draw(self, n: int, rng: np.random.Generator) -> Data:
        """Draw one data set of n rows."""
        law = self.population
        assert isinstance(law, TimesPopulation)  # TimesPopulation.source makes it
        rows = rng.integers(len(law.covariates), size=n)
        covariates = law.covariates.take(rows).reset_index(drop=True)
        here = Nuisances(*(values[rows] for values in self.nuisances))
        a = draw_treatment(here, rng)
        time, came = law.times.draw(self.hazards.event[a, rows], self.hazards.censoring[a, rows], (rng.random(n), rng.random(n)))
        rounded = np.array(conform(law.outcome, pa.array(time)).to_numpy(zero_copy_only=False), dtype=np.float64)
        visible = covariates[list(self.visible)]
        names = [column.id for column in law.columns if column.role == "stratum" and column.id in self.visible]
        strata = _strata(visible[names])
        outcome = law.times.outcome
        cause = self._causes(rows, a, time, came, rng) if outcome.causes else None
        return TimesData(visible, a, rounded, here.arms, event=came, outcome=outcome, strata=strata, cause=cause)

    def _causes(
        self, rows: npt.NDArray[np.intp], a: Int8, time: Float64, came: npt.NDArray[np.bool_], rng: np.random.Generator
    ) -> Int8 | None:
        """Draw the causes of events, given their times, independently."""
        law = self.population
        assert isinstance(law, TimesPopulation)
        period = np.minimum(law.times.outcome.grid.period(time), len(law.times.outcome.edges) - 1)
        codes = draw_causes(came, self.hazards.splits[:, a, rows, period], period, a, False, rng)
        return causes_of(codes, law.times.outcome)


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


class TimesView(NamedTuple):
    """One of the numbers as estimators of means see it: its name, g with its value under every arm, and pseudo-outcomes, shape (n,)."""

    name: str | None
    nuisances: Nuisances
    outcomes: Float64


def predict_data(data: TimesData, learner: Learner, folds: int, truncation: str | float, rng: np.random.Generator) -> list[TimesView]:
    """Cross-fit one data set; return what estimators of means see of each of the numbers.

    Raises
    ------
    EstimationError
        If an arm has fewer than two rows per fold, or training rows lack events, or those of a cause.
    """
    require_rows_per_fold(data.a, folds, data.arms)
    plan = Plan("simulate", int(rng.integers(2**62)), folds)
    rows = EventRows(np.arange(len(data.y), dtype=np.uint64), data.a, data.y, data.event, cause=data.cause)
    bound = truncation_bound(len(data.y), truncation, data.arms)  # type: ignore[arg-type]  # the SPEC has checked it
    predicted = cross_fit_times(plan, learner, rows, data.covariates, data.outcome, data.arms, bound)
    seen = predicted.causes[0] if predicted.causes else predicted
    given = predicted.nuisances.propensities[1:]
    # of survival the restricted mean alone: it comes first
    each = zip(numbers_of(data.outcome), seen.values, seen.outcomes, strict=False)
    return [TimesView(name, Nuisances(*given, *values), outcomes) for name, values, outcomes in each]
