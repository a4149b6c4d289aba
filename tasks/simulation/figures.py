"""From replicates to figures: one row for each estimator of each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.contract.nuisance import Float64
from tasks.contract.rng import rng_for
from tasks.simulation.answers import AnswerSeries, by_series
from tasks.simulation.contrasts import CONTRAST, Effect, Series
from tasks.simulation.grid import Cell
from tasks.simulation.performance import MEASURES, Figure, performance, share
from tasks.simulation.population import Truth
from tasks.simulation.ranking import ranking


def figures(table: pa.Table, cells: Sequence[Cell], truths: Sequence[Mapping[Effect, Truth]]) -> list[dict[str, Any]]:
    """Measure every estimator of every cell.

    Parameters
    ----------
    table : pyarrow.Table
        Replicates of one draw of the law, in their order within each cell.
    cells : sequence of Cell
        The grid.
    truths : sequence of mapping
        Effects of each cell's law.

    Returns
    -------
    list of dict
        In the order of cells, estimators and contrasts: what the cell is, the estimator, its estimand and truth, number of replicates,
        and each of ``MEASURES`` with its ``_mcse``; mean effective sample size and share of truncated rows. Of several outcomes also
        ``outcome``; of more than two arms ``arm``, ``control`` and ``joint_coverage``, the same for all contrasts of an estimator on one
        outcome: :func:`joint_coverages`.
    """
    rows = []
    for cell, truth_of in zip(cells, truths, strict=True):
        of_cell = table.filter(pc.equal(table.column("cell"), cell.key))
        answered = by_series(of_cell)
        together = joint_coverages(answered, truth_of)
        for series, (estimand, numbers) in answered.items():
            truth = None if estimand is None else truth_of.get(Effect(estimand, series.contrast))
            measured = performance(answered[series].answers, None if truth is None else truth.value)
            if truth is None and cell.effect_scale == 0.0:  # of a test
                measured = {**measured, "type1_error": measured["power"]}
            row: dict[str, Any] = {"cell": cell.key, "title": cell.title, **cell._asdict(), "estimator": series.estimator}
            row |= {"estimand": estimand, **series.contrast.columns}
            row |= {"truth": None if truth is None else truth.value, "truth_se": None if truth is None else truth.se}
            row["replicates"] = len(numbers["estimate"])
            for measure in MEASURES:
                row[measure], row[f"{measure}_mcse"] = measured[measure]
            if (series.estimator, series.contrast.outcome) in together:
                row["joint_coverage"], row["joint_coverage_mcse"] = together[series.estimator, series.contrast.outcome]
            rows.append(row | {key: _mean(numbers[key]) for key in ("ess", "clipped")})
    return rows


def joint_coverages(answered: Mapping[Series, AnswerSeries], truths: Mapping[Effect, Truth]) -> dict[tuple[str, str | None], Figure]:
    """Return, by estimator and outcome, the share of data sets in which the simultaneous intervals of all its contrasts hold their truths.

    Of data sets in which every contrast was answered; where no arm has an effect, one minus it is the family-wise type-1 error.
    Empty where there are only two arms.
    """
    inside: dict[tuple[str, str | None], list[Float64]] = {}
    for (estimator, contrast), (estimand, numbers) in answered.items():
        if "joint_low" not in numbers:
            return {}
        effect = None if estimand is None else truths.get(Effect(estimand, contrast))
        truth = np.nan if effect is None else effect.value
        held = (numbers["joint_low"] <= truth) & (truth <= numbers["joint_high"])
        # NaN where a replicate failed or a contrast was never answered
        there = np.isfinite(numbers["joint_low"]) & np.isfinite(truth)
        inside.setdefault((estimator, contrast.outcome), []).append(np.where(there, held.astype(np.float64), np.nan))
    return {name: share(values[np.isfinite(values)] > 0.0) for name, held in inside.items() for values in [np.min(held, axis=0)]}


def to_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return figures as a table whose types don't depend on what happens to be known."""
    whole, texts = (
        ("draw", "n", "replicates"),
        ("cell", "title", "design", "withheld", "learner", "estimator", "estimand", *CONTRAST),
    )
    names = list(rows[0])
    types = {name: pa.int64() if name in whole else pa.string() if name in texts else pa.float64() for name in names}
    return pa.Table.from_pylist([dict(row) for row in rows], schema=pa.schema(list(types.items())))


def places(table: pa.Table, cells: Sequence[Cell], truths: Sequence[Mapping[Effect, Truth]], seed: int) -> list[dict[str, Any]]:
    """Rank the estimators of each cell that share an estimand and a contrast, where there are at least two.

    Parameters
    ----------
    table, cells, truths
        As for :func:`figures`.
    seed : int
        The SPEC's seed.

    Returns
    -------
    list of dict
        In the order of cells, the best first.
    """
    ranks = []
    for cell, truth_of in zip(cells, truths, strict=True):
        answered = by_series(table.filter(pc.equal(table.column("cell"), cell.key)))
        ranked = (Effect(each.estimand, series.contrast) for series, each in answered.items() if each.estimand is not None)
        for effect in (each for each in dict.fromkeys(ranked) if each in truth_of):
            errors = {
                series.estimator: each.numbers["estimate"] - truth_of[effect].value
                for series, each in answered.items()
                if (each.estimand, series.contrast) == effect
            }
            if len(errors) < 2:
                continue
            for place in ranking(errors, rng_for(seed, "simulate ranking", f"{cell.key}/{effect.estimand}{effect.contrast.suffix}")):
                named = {"cell": cell.key, "title": cell.title, "n": cell.n, "design": cell.design, "estimand": effect.estimand}
                ranks.append(named | effect.contrast.columns | place._asdict())
    return ranks


def _mean(values: Float64) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None
