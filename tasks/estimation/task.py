"""Tasks of the estimation step: effects and overlap of one table from its cross-fitted nuisances."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from infra.cluster import coarse
from infra.workspace import Run, Workspace
from tasks.contract.columns import CLUSTER, clusters_of, nuisances_of, prediction_names, predictions_of, survey_weights
from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.frames import levels_of, strata_codes, to_frame
from tasks.contract.nuisance import Nuisances
from tasks.contract.refs import PartitionRef, Ref
from tasks.contract.results import Estimate
from tasks.contract.rng import UInt64, rng_for
from tasks.contract.roles import Column, TableSchema
from tasks.estimation.arms import overlap_of_arms
from tasks.estimation.cate import cate_gap
from tasks.estimation.combine import combine_estimates
from tasks.estimation.contrasts import contrasts_of
from tasks.estimation.evaluate import evaluate
from tasks.estimation.fidelity import Counting, LedgerEntry, error_ledger
from tasks.estimation.outcome import arm_weights, outcome_distance
from tasks.estimation.overlap import overlap, target_overlap, weighted_shares
from tasks.estimation.propensity import propensity_gap, propensity_law, propensity_record
from tasks.estimation.survival.record import survival_record
from tasks.estimation.together import outcomes_together
from tasks.estimation.transfer import transfer_scores
from tasks.estimation.twins import CANDIDATES, Sample, learn_twins
from tasks.nuisance.task import by_partition, columns_of, curves_of
from tasks.numerics.blocked import blocks_of, floats, kept, sums_by
from tasks.numerics.normal import Z95
from tasks.targeting.estimators import ALL
from tasks.targeting.fluctuation import truncation_bound
from tasks.targeting.influence import pseudo_outcomes
from tasks.targeting.sample import prepare
from tasks.targeting.unobserved import Observed, observed_of

# Most source rows that single effects are compared on.
PEOPLE = 20_000
# Most rows that statistics of ranks are taken of: the first in hash order.
SCORED_ROWS = 1_000_000


@coarse("estimate effects", "estimate effects of {name}")
def effects(run: Run, schema: TableSchema, parts: Sequence[PartitionRef], nuisances: Sequence[PartitionRef], name: str) -> Ref:
    """Evaluate every estimator and the overlap of one table. A JSON record: ``{"estimates": [...], "overlap": {...}}``."""
    space, spec = run.space(), run.spec
    key = f"{name}/effects.json"
    if (done := space.finished(key, Ref)) is not None:
        return done
    table = space.table(nuisances) if schema.survival is not None else columns_of(space, nuisances)
    a, fitted = table.column("a").to_numpy(), nuisances_of(table)
    groups = {column.name: _levels(space, parts, column) for column in subgroup_columns(schema, spec.roles.subgroups)}
    weights, clusters = survey_weights(table), clusters_of(table)
    estimates: list[Estimate] = []
    for number, (column, kind) in enumerate(zip(schema.outcomes, schema.outcome_kinds, strict=True)):
        seen = _outcome_rows(table, schema, number)
        given = (kind, ALL, spec.mechanisms.truncation, groups or None, weights, clusters, schema.arms, seen.treatment)
        named = column.name if len(schema.outcomes) > 1 else None
        estimates += [each._replace(outcome=named) for each in evaluate(seen.a, seen.y, seen.nuisances, *given)]
    rule = spec.gates.overlap_bound
    bound = truncation_bound(len(a), spec.mechanisms.truncation if rule == "auto" else rule, fitted.arms)
    several = fitted.arms > 2
    measured = (overlap_of_arms(a, fitted, bound, schema.arms, weights) if several else overlap(a, fitted.g, bound, weights)).as_dict()
    if weights is not None:
        weakest = schema.arms.index(str(measured["weakest"])) if several else 1
        measured |= weighted_shares(a, fitted.propensities[weakest], weights, (0, weakest))
    if spec.mechanisms.estimand != "ate":
        measured["of_target"] = target_overlap(a, fitted, bound, spec.mechanisms.estimand, weights)._asdict()
    record: dict[str, object] = {"estimates": [estimate._asdict() for estimate in estimates], "overlap": measured}
    if schema.survival is not None:
        full = truncation_bound(len(a), spec.mechanisms.truncation, fitted.arms)
        # the nuisances may lie in another folder of the run: their keys are whole
        curves = curves_of(run.model_copy(update={"folder": ""}).space(), nuisances)
        record["survival"] = survival_record(schema, table, curves, full, _strata(space, schema, parts))
    return space.put_bytes(key, json.dumps(record, sort_keys=True).encode())


def _strata(space: Workspace, schema: TableSchema, parts: Sequence[PartitionRef]) -> npt.NDArray[np.int64] | None:
    """Return the number of each row's stratum; None where there are none."""
    if not schema.strata:
        return None
    names = [column.id for column in schema.strata]
    return strata_codes(pa.concat_tables([space.table(part, names) for part in parts]), schema.strata)


def _outcome_rows(table: pa.Table, schema: TableSchema, number: int) -> Observed:
    """Return one outcome of a table with nuisances as estimators see it."""
    predictions = predictions_of(table)
    a, y = table.column("a").to_numpy(), table.column(schema.outcomes[number].id).to_numpy()
    return observed_of(a, y, predictions.of(number), predictions.chances(number), survey_weights(table))


def subgroup_columns(schema: TableSchema, names: Sequence[str]) -> list[Column]:
    """Find the declared subgroup columns among the covariates.

    Raises
    ------
    SpecError
        If a name is no covariate that varies.
    """
    by_name = {column.name: column for column in schema.modelled}
    for name in names:
        if name not in by_name:
            raise SpecError(f"subgroups of roles must be covariates that vary; '{name}' is none.", "Covariates: see roles.covariates.")
    return [by_name[name] for name in names]


def _levels(space: Workspace, parts: Sequence[PartitionRef], column: Column) -> npt.NDArray[np.object_]:
    """Return each row's level of a subgroup column as text, None where missing."""

    def levels(frame: pd.DataFrame) -> npt.NDArray[np.object_]:
        series = frame[column.id]
        return np.asarray(levels_of(series).where(series.notna(), None), dtype=np.object_)

    return by_partition(space, parts, (column,), levels)


@coarse("measure fidelity", "measure fidelity")
def fidelity(
    run: Run,
    schema: TableSchema,
    source: Sequence[PartitionRef],
    mechanism: Sequence[PartitionRef],
    transferred: Sequence[PartitionRef],
    release: Sequence[PartitionRef],
    released: Ref,
) -> Ref:
    """Measure what became of the effect, and what prediction says of the release, side by side.

    Parameters
    ----------
    run : Run
        The run.
    schema : TableSchema
        The source's schema.
    source : sequence of PartitionRef
        Out-of-fold nuisances of the source.
    mechanism : sequence of PartitionRef
        The released mechanism's Q at the source's rows: known in mode "hybrid"; in mode "full" there is none and ``transferred`` stands in.
    transferred : sequence of PartitionRef
        Q learnt from the release, at the source's rows.
    release : sequence of PartitionRef
        Canonical drawn parts of the first copy (hybrid: with the mechanism's Q), or nuisances learnt from it (full).
    released : Ref
        Effects record of the first copy.

    Returns
    -------
    Ref
        A JSON record: ``{"ledger", "tstr", "truth"}`` of the first outcome; of several ``outcomes`` holds one of each, with ``outcome``.
    """
    space, spec = run.space(), run.spec
    key = "checks/fidelity.json"
    if (done := space.finished(key, Ref)) is not None:
        return done
    learnt = predictions_of(columns_of(space, transferred))
    hybrid = spec.release.mode == "hybrid"
    of_release = predictions_of(columns_of(space, mechanism)) if hybrid else learnt
    beside = [CLUSTER] if hybrid and schema.cluster is not None else []
    drawn_rows = columns_of(space, release, [*prediction_names(schema), *beside])
    drawn, of_drawn = predictions_of(drawn_rows), Counting(None, clusters_of(drawn_rows))
    estimates = [Estimate(**each) for each in json.loads(space.read(released.key))["estimates"]]
    mains = [each for each in estimates if (each.estimand, each.estimator) == ("ate", spec.main)]
    records = []
    for number, column in enumerate(schema.outcomes):
        main = next(each for each in mains if each.outcome in (None, column.name))
        here = (of_release.of(number), learnt.of(number), drawn.of(number), of_drawn)
        ledger = _kept(run, schema, columns_of(space, source), number, *here, main)
        records.append({**ledger, "truth": _truth(run, schema, drawn.of(number), release, of_drawn.clusters) if hybrid else None})
    record: dict[str, object] = dict(records[0])
    if len(records) > 1:
        record["outcomes"] = [{"outcome": column.name, **each} for column, each in zip(schema.outcomes, records, strict=True)]
    return space.put_bytes(key, json.dumps(record, sort_keys=True).encode())


def _kept(
    run: Run,
    schema: TableSchema,
    rows: pa.Table,
    number: int,
    of_release: Nuisances,
    learnt: Nuisances,
    drawn: Nuisances,
    of_drawn: Counting,
    main: Estimate,
) -> dict[str, object]:
    """Return the error ledger and the scores of one outcome."""
    kind, a, seen = schema.outcome_kinds[number], rows.column("a").to_numpy(), _outcome_rows(rows, schema, number)
    bound = truncation_bound(len(a), run.spec.mechanisms.truncation, seen.nuisances.arms)
    prepared = prepare(seen.a, seen.y, seen.nuisances, kind, bound).between()
    counting = Counting(survey_weights(rows), clusters_of(rows))
    entries = error_ledger(pseudo_outcomes(prepared), _contrast(of_release), _contrast(drawn), main, counting, of_drawn)
    here, most = seen.present, SCORED_ROWS
    y, by_release, by_source = (values[here][:most] for values in (seen.y, learnt.observed(a), seen.nuisances.observed(a)))
    scores = transfer_scores(y, by_release, by_source, kind, counting.of(here).first(most))
    return {
        "ledger": [_entry(entry) for entry in entries],
        "tstr": [
            {"metric": score.metric, "tstr": score.tstr._asdict(), "trtr": score.trtr._asdict(), "difference": score.difference._asdict()}
            for score in scores
        ],
    }


@coarse("compare outcomes together", "compare outcomes together")
def together(run: Run, schema: TableSchema, source: Sequence[PartitionRef], released: Sequence[PartitionRef]) -> Ref:
    """Compare how several outcomes hang together and how many cells are missing: a JSON record of :func:`outcomes_together`."""
    space = run.space()
    key = "checks/together.json"
    if (done := space.finished(key, Ref)) is not None:
        return done
    names = ["a", *schema.beside, *(column.id for column in schema.outcomes), *prediction_names(schema)]
    tables = (space.first_rows(parts, SCORED_ROWS, names) for parts in (source, released))
    record = outcomes_together(schema, *tables)
    return space.put_bytes(key, json.dumps(record, sort_keys=True).encode())


@coarse("compare people", "compare effects person by person")
def people(
    run: Run,
    schema: TableSchema,
    parts: Sequence[PartitionRef],
    source: Sequence[PartitionRef],
    released: Sequence[PartitionRef],
    refit: Sequence[PartitionRef],
) -> Ref:
    """Measure how alike single effects, assignment and outcomes are in source and release: records of fidelity that gate nothing.

    Parameters
    ----------
    run : Run
        The run.
    schema : TableSchema
        The source's schema.
    parts : sequence of PartitionRef
        The source's partitions.
    source : sequence of PartitionRef
        Out-of-fold nuisances of the source.
    released : sequence of PartitionRef
        Canonical drawn parts of the first copy.
    refit : sequence of PartitionRef
        Out-of-fold nuisances learnt from the first copy.

    Returns
    -------
    Ref
        A JSON record: ``{"cate", "propensity_js", "outcome_distance"}``, each ``{"refused": why}`` where rows are too few.
    """
    space, spec = run.space(), run.spec
    key = "checks/people.json"
    if (done := space.finished(key, Ref)) is not None:
        return done
    if len(schema.arms) > 2 or schema.outcome.missing:
        what = f"of {len(schema.arms)} arms" if len(schema.arms) > 2 else "on an outcome with missing cells"
        refused = {"refused": f"single effects {what} are not compared: the comparison is built for two arms and a known outcome."}
        return space.put_bytes(key, json.dumps({"cate": refused, "outcome_distance": refused}, sort_keys=True).encode())
    source_rows, fitted = columns_of(space, source), columns_of(space, refit)
    drawn = space.first_rows(released, CANDIDATES * PEOPLE)
    design = "joint" if spec.release.mode == "full" else spec.mechanisms.treatment
    released_g = fitted.column("g").to_numpy() if design == "joint" else columns_of(space, released, ["g"]).column("g").to_numpy()
    survey = survey_weights(source_rows)
    law = propensity_law(source_rows.column("g").to_numpy(), released_g, survey)
    given = drawn.column("g").to_numpy() if design in ("randomized", "tilted") else None
    record: dict[str, object] = {}
    try:
        twins = learn_twins(
            _sample(schema, space.first_rows(parts, PEOPLE)),
            _sample(schema, drawn),
            schema.mean_kind,
            rng_for(spec.seed, "people"),
            given,
            PEOPLE,
        )
        record["cate"] = cate_gap(twins).as_dict()
        record["propensity_js"] = propensity_record(propensity_gap(twins), law, design)
    except EstimationError as error:
        record["cate"] = {"refused": error.message}
    a, y = source_rows.column("a").to_numpy(), source_rows.column("y").to_numpy()
    weights_of = arm_weights(a, source_rows.column("g").to_numpy(), truncation_bound(len(y), spec.mechanisms.truncation))
    if survey is not None:
        used = survey > 0.0
        a, y, weights_of = a[used], y[used], (weights_of * survey)[used]
    others = fitted.column("a").to_numpy()
    weights = None if design == "randomized" else arm_weights(others, released_g, truncation_bound(len(others), spec.mechanisms.truncation))
    try:
        most, drawn_y = SCORED_ROWS, fitted.column("y").to_numpy()
        sides = (a[:most], y[:most]), (others[:most], drawn_y[:most])
        record["outcome_distance"] = outcome_distance(*sides, weights_of[:most], None if weights is None else weights[:most]).as_dict()
    except EstimationError as error:
        record["outcome_distance"] = {"refused": error.message}
    return space.put_bytes(key, json.dumps(record, sort_keys=True).encode())


def _sample(schema: TableSchema, table: pa.Table) -> Sample:
    a, y = table.column("a").to_numpy().astype(np.int8), table.column("y").to_numpy().astype(np.float64)
    return Sample(to_frame(table, schema.modelled), a, y, survey_weights(table))


def combined(run: Run, source: Ref, copies: Sequence[Ref]) -> list[dict[str, object]]:
    """Combine the copies' estimates into intervals that are valid for the source's population (in the flow process: it is small)."""
    space = run.space()
    of_source, *drawn = ([Estimate(**each) for each in json.loads(space.read(ref.key))["estimates"]] for ref in (source, *copies))
    same = run.spec.mechanisms.treatment == "fitted" and run.spec.release.draws == "iid"
    return [each._asdict() for each in combine_estimates(drawn, of_source[0].n, source=of_source, proper=len(copies) > 1, same_design=same)]


def _contrast(nuisances: Nuisances, arm: int = 1, reference: int = 0) -> npt.NDArray[np.float64]:
    """Return the difference of two arms' Q at each row."""
    return nuisances.outcomes[arm] - nuisances.outcomes[reference]


def _entry(entry: LedgerEntry) -> dict[str, object]:
    if entry.value is None:
        return {"name": entry.name, "value": None, "se": entry.se, "ci_low": None, "ci_high": None}
    low, high = entry.value - Z95 * entry.se, entry.value + Z95 * entry.se
    return {"name": entry.name, "value": entry.value, "se": entry.se, "ci_low": low, "ci_high": high}


def _truth(run: Run, schema: TableSchema, drawn: Nuisances, release: Sequence[PartitionRef], clusters: UInt64 | None) -> dict[str, object]:
    """Return the exact effects of the release: E[Q*1 - Q*0] over its covariates, with the error of having drawn finitely many.

    Beside the ATE those of its treated (by its own design) and of the declared subgroups.
    """
    space, tau, wanted = run.space(), _contrast(drawn), run.spec.mechanisms.targets
    ate, error = _weighted(tau, np.ones_like(tau), clusters)
    p = drawn.propensities
    others: list[tuple[str, int, int, npt.NDArray[np.float64]]] = []
    if drawn.arms > 2:
        others += [("ate", arm, reference, np.ones_like(tau)) for arm, reference in contrasts_of(drawn.arms)]
    if "att" in wanted:
        others += [("att", arm, 0, p[arm]) for arm in range(1, drawn.arms)]
    if "ato" in wanted:
        weight = 1.0 / functools.reduce(np.add, [1.0 / np.maximum(each, 1e-12) for each in p])
        others += [("ato", arm, reference, weight) for arm, reference in contrasts_of(drawn.arms)]
    for column in subgroup_columns(schema, run.spec.roles.subgroups):
        levels = _levels(space, release, column)
        for level in sorted({str(level) for block in blocks_of(levels) for level in block if level is not None}):
            (member,) = kept(floats(levels == level))
            others += [(f"gate[{column.name}={level}]", arm, 0, member) for arm in range(1, drawn.arms)]
    truths = []
    for name, arm, reference, weight in others:
        value, spread = _weighted(_contrast(drawn, arm, reference), weight, clusters)
        labels = {"arm": schema.arms[arm], "control": schema.arms[reference]} if drawn.arms > 2 else {}
        truths.append({"estimand": name, "value": value, "mc_se": spread, **labels})
    return {"ate": ate, "mc_se": error, "others": truths}


def _weighted(tau: npt.NDArray[np.float64], weight: npt.NDArray[np.float64], clusters: UInt64 | None) -> tuple[float, float]:
    mean = float(np.average(tau, weights=weight))
    values = weight * (tau - mean)
    if clusters is not None:  # whole clusters are drawn
        values = sums_by(clusters, values)
    error = float(np.sqrt(np.sum(values**2)) / np.sum(weight)) if len(values) > 1 else float("nan")
    return mean, error
