"""From cross-fitted predictions to the mechanisms of all outcomes: each targeted, each with its law, and how they hang together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.nuisance import Float64, Int8, Nuisances, Predictions
from tasks.contract.rng import rng_for
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec
from tasks.mechanisms.laws.choice import attainable, choose_law
from tasks.mechanisms.laws.support import find_support
from tasks.mechanisms.model import Mechanisms, assemble
from tasks.mechanisms.presence import PresenceLaw, fit_presence
from tasks.mechanisms.ranks import RankLaw, fit_ranks
from tasks.mechanisms.targeting import target
from tasks.mechanisms.targets import Targets
from tasks.nuisance.fold_model import FoldModel
from tasks.targeting.fluctuation import truncation_bound
from tasks.targeting.unobserved import observed_of, with_presence

#: Rows that the natural support of an outcome is found on: the first in hash order.
SUPPORT_ROWS = 1_000_000
#: Rows that tell how missing outcomes go together: the first in hash order.
PRESENCE_ROWS = 1_000_000


class OutcomeRows(NamedTuple):
    """Source rows as mechanisms are assembled from them.

    Attributes
    ----------
    a : ndarray of int8, shape (n,)
        Treatment.
    y : ndarray of float64, shape (n, p)
        Outcomes, NaN where missing.
    fitted, averaged : Predictions
        Out of fold, and by the mean over fold models.
    weights : ndarray of float64, shape (n,), or None
        Row weights.
    some : DataFrame, m rows
        Covariates of the first m rows, which laws are fitted on.
    members : ndarray of float64, shape (n, groups), or None
        Indicators of the subgroups that are targets; None where the ATE is the only target.
    """

    a: Int8
    y: Float64
    fitted: Predictions
    averaged: Predictions
    weights: Float64 | None
    some: pd.DataFrame
    members: Float64 | None


class OutcomeParts(NamedTuple):
    """One outcome: its mechanisms, its out-of-fold targeted mean of the own arm at the first rows, and the record of its targeting."""

    mechanisms: Mechanisms
    mean: Float64
    record: dict[str, Any]


def assemble_outcomes(
    spec: Spec, schema: TableSchema, name: str, models: Sequence[FoldModel], rows: OutcomeRows, targets: Targets
) -> tuple[Mechanisms, dict[str, Any]]:
    """Target Q of every outcome, fit its law around it, and anchor the averaged model's means at the targeted ones.

    Parameters
    ----------
    spec : Spec
    schema : TableSchema
    name : str
        Of the table: random streams go by it.
    models : sequence of FoldModel
    rows : OutcomeRows
    targets : Targets

    Returns
    -------
    tuple of Mechanisms and dict
        And a record of how far targeting went and why: of the first outcome, under ``outcomes`` of all where there are several.
    """
    parts = [_outcome(spec, schema, name, number, rows, targets) for number in range(len(schema.outcomes))]
    first = replace(parts[0].mechanisms, models=tuple(models), further=tuple(part.mechanisms for part in parts[1:]))
    record = parts[0].record
    if len(parts) > 1:
        record = record | {
            "outcomes": [{"outcome": column.name, **part.record} for column, part in zip(schema.outcomes, parts, strict=True)]
        }
        first = replace(first, ranks=_ranks(spec, schema, name, rows, parts))
    return replace(first, presence=_presence(spec, rows)), record


def _outcome(spec: Spec, schema: TableSchema, name: str, number: int, rows: OutcomeRows, targets: Targets) -> OutcomeParts:
    column, kind, settings, n = schema.outcomes[number], schema.outcome_kinds[number], spec.mechanisms, len(rows.some)
    chances = rows.averaged.chances(number)
    seen = observed_of(rows.a, rows.y[:, number], rows.fitted.of(number), rows.fitted.chances(number), rows.weights)
    bound = truncation_bound(len(seen.y), settings.truncation, seen.nuisances.arms)
    directions = None if rows.members is None else targets.directions(rows.members, rows.fitted.of(number), bound)
    declared = spec.outcome_of(column.name)
    support = find_support(seen.y[seen.present][:SUPPORT_ROWS], declared.range)
    fitted = np.flatnonzero(seen.present[:n])
    a, y = seen.a[:n][fitted], seen.y[:n][fitted]
    reach = attainable(y, support, kind)
    targeting = target(seen.a, seen.y, seen.nuisances, kind, bound, rows.weights, settings.targeting, directions, reach, targets.ate)
    rng = rng_for(spec.seed, f"outcome law {name}{f' {column.id}' if number else ''}")
    arms = rows.fitted.first.arms
    mean = Nuisances(*rows.fitted.first[: arms - 1], *targeting.outcomes[:arms]).observed(rows.a)[:n]
    frame = rows.some if len(fitted) == n else rows.some.iloc[fitted].reset_index(drop=True)
    weight = None if rows.weights is None else rows.weights[:n][fitted]
    law = choose_law(a, y, mean[fitted], frame, kind, rng, weight, support, declared.law)
    raw = rows.averaged.of(number)
    if chances is not None and seen.level is not None:
        raw = with_presence(raw, chances, seen.level)
    named = None if rows.members is None else (rows.members, rows.a)
    of_all = rows.averaged.of(number)
    mechanisms = replace(assemble((), targeting, raw, law.law, kind, rows.weights, targets, named, of_all), level=seen.level)
    facts = {"ate": targeting.ate, "se": targeting.se, **targeting.truncation._asdict(), "law": law.record}
    if not targets.ate:
        facts["estimand"] = settings.estimand
    return OutcomeParts(mechanisms, mean, facts)


def _ranks(spec: Spec, schema: TableSchema, name: str, rows: OutcomeRows, parts: Sequence[OutcomeParts]) -> RankLaw:
    n, mean = len(rows.some), np.column_stack([part.mean for part in parts])
    laws = [part.mechanisms.law for part in parts]
    rng = rng_for(spec.seed, "ranks of outcomes", name)
    weights = None if rows.weights is None else rows.weights[:n]
    return fit_ranks(laws, rows.a[:n], rows.y[:n], mean, rows.some, len(schema.arms), spec.roles.visits, rng, weights)


def _presence(spec: Spec, rows: OutcomeRows) -> PresenceLaw | None:
    if not any(each is not None for each in rows.fitted.presence):
        return None
    some = slice(PRESENCE_ROWS)
    weights = None if rows.weights is None else rows.weights[some]
    return fit_presence(rows.a[some], ~np.isnan(rows.y[some]), rows.fitted.at(some), spec.roles.visits, weights)
