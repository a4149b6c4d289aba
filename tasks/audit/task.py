"""Tasks of the audit step: gather what an attacker is given, attack, keep the answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from infra.cluster import coarse
from infra.store import open_store, put_report
from infra.workspace import Run, Workspace
from tasks.audit.case import Bool, Case, Outcome, Rows, require_rows
from tasks.audit.finding import Finding
from tasks.audit.page import render
from tasks.audit.request import Audit
from tasks.contract.columns import unit_keys
from tasks.contract.errors import SourceError
from tasks.contract.frames import to_frame
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.registry import resolve
from tasks.contract.rng import Float64, UInt64, in_holdout, rng_for
from tasks.contract.roles import TableSchema

#: Most rows of each table that attacks look at: hash samples, for partitions are in hash order.
MOST_TRAINING = MOST_HOLDOUT = 5_000
MOST_RELEASE = 20_000


@coarse("gather audited rows", "gather audited rows")
def gather(
    run: Run, schema: TableSchema, source: Sequence[PartitionRef], release: Sequence[PartitionRef], canaries: Sequence[PartitionRef]
) -> ModelRef:
    """Put together training, holdout, released rows and canaries; all references are canonical tables with keys.

    Raises
    ------
    EstimationError
        If there are too few rows of a kind.
    SourceError
        If a canary is no row of the source, or there is no covariate that varies.
    """
    space, spec = run.space(), run.spec
    if not schema.modelled:
        raise SourceError("covariates of source must hold at least one column that varies; got none.")
    keyed = pa.concat_tables([space.table(part, ["key", *schema.beside]) for part in source])
    keys = np.asarray(keyed.column("key").to_numpy())
    units = unit_keys(keyed)
    held, one_each = in_holdout(units, spec.split_seed, spec.source.holdout), np.zeros(len(keys), dtype=np.bool_)
    one_each[np.unique(units, return_index=True)[1]] = True  # of each cluster one row is a target
    seen = min(MOST_TRAINING, spec.covariates.fit_rows or MOST_TRAINING)
    planted = _canaries(space, schema, canaries, keys) if canaries else None
    case = Case(
        columns=schema.modelled,
        outcomes=_outcomes(schema),
        mode=spec.release.mode,
        training=_rows(space, schema, source, _first(~held & one_each, seen)),
        holdout=_rows(space, schema, source, _first(held & one_each, MOST_HOLDOUT)),
        release=_rows(space, schema, release, _first(np.ones(sum(part.rows for part in release), dtype=np.bool_), MOST_RELEASE)),
        training_rows=int(np.sum(~held & one_each)),
        synthesizer=spec.covariates.synthesizer,
        params=dict(spec.covariates.params),
        canaries=planted,
    )
    require_rows(case)
    return space.put_model("audit/case.model", case)


@coarse("attack", "attack: {name}")
def attack(run: Run, case: ModelRef, name: str) -> Ref:
    """Run one attack; its findings as JSON."""
    space = run.space()
    key = f"audit/{name}.json"
    if (done := space.finished(key, Ref)) is not None:
        return done
    findings: list[Finding] = resolve("attack", name).run(space.model(case), rng_for(run.spec.seed, "audit", name))
    return space.put_bytes(key, json.dumps([each.model_dump(mode="json") for each in findings], allow_nan=False).encode())


def answers(run: Run, request: Audit, case: ModelRef, findings: Sequence[Ref]) -> dict[str, Any]:
    """Return the record of an audit: what was attacked, with what, and every finding."""
    space = run.space()
    given: Case = space.model(case)
    return {
        "format": "waymint-audit/1",
        "id": run.id,
        "created": run.created,
        "release": {"name": request.name, "version": request.version, "manifest": request.manifest, "mode": given.mode},
        "rows": {
            "seed": len(given.training),
            "holdout": len(given.holdout),
            "release": len(given.release),
            "canaries": 0 if given.canaries is None else len(given.canaries),
        },
        "seed_rows": given.training_rows,
        "attacks": [finding for ref in findings for finding in json.loads(space.read(ref.key))],
    }


def keep(store: str, folder: str, record: dict[str, Any]) -> str:
    """Write ``audit.json`` and ``audit.html`` below a folder of the store; return the folder's URI.

    Parameters
    ----------
    store : str
        URI of the store.
    folder : str
        Key prefix without a slash at its end.
    record : dict
        Of :func:`answers`.
    """
    return put_report(open_store(store), folder, "audit", render(record), record)


def _first(mask: Bool, most: int) -> Bool:
    """Keep the first of the masked rows."""
    return mask & (np.cumsum(mask) <= most)


def _rows(space: Workspace, schema: TableSchema, parts: Sequence[PartitionRef], mask: Bool) -> Rows:
    tables, start = [], 0
    for part in parts:
        here = mask[start : start + part.rows]
        start += part.rows
        if here.any():
            tables.append(space.table(part).filter(pa.array(here)))
    if not tables:
        tables = [space.table(parts[0]).slice(0, 0)]
    table = pa.concat_tables(tables).unify_dictionaries()
    further = pd.DataFrame({each.id: _numbers(table, each.id) for each in _outcomes(schema)[1:]})
    if schema.event is not None:
        # of competing causes: whether any event came
        further[schema.event.id] = np.minimum(further[schema.event.id], 1.0)
    return Rows(to_frame(table, schema.modelled), np.array(table.column("a").to_numpy()), _numbers(table, "y"), len(schema.arms), further)


def _numbers(table: pa.Table, name: str) -> Float64:
    return np.array(table.column(name).to_numpy(), dtype=np.float64)


def _outcomes(schema: TableSchema) -> tuple[Outcome, ...]:
    """Describe what attackers may be after: every outcome; of a time to event the time, and whether it came."""
    if schema.outcome_kind == "survival":
        times = () if schema.survival is None else schema.survival.times
        came = () if schema.event is None else (Outcome(schema.event.id, schema.event.name, "event"),)
        return (Outcome("y", schema.outcome.name, "time", times), *came)
    kinds = (schema.outcome_kind, *schema.further_kinds)
    return tuple(Outcome(column.id, column.name, kind) for column, kind in zip(schema.outcomes, kinds, strict=True))


def _canaries(space: Workspace, schema: TableSchema, parts: Sequence[PartitionRef], keys: UInt64) -> Rows:
    """Read the canaries, every one of which must be a row of the source, by its key."""
    present = np.concatenate([np.asarray(space.table(part, ["key"]).column("key").to_numpy()) for part in parts])
    matches = int(np.isin(present, keys).sum())
    if matches < len(present):
        raise SourceError(
            f"canaries of audit must be rows of the source; {len(present) - matches} of {len(present)} are not.",
            "Plant them first, release the planted table, then audit that release (docs/privacy.md).",
        )
    return _rows(space, schema, parts, np.ones(len(present), dtype=np.bool_))
