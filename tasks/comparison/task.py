"""Tasks of the comparison step: tell drawn rows from real ones, weigh drawing, keep rows and the comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from infra.cluster import coarse
from infra.metering import metered
from infra.provenance import package_versions
from infra.store import open_store, put_report
from infra.workspace import Run
from tasks.comparison.closeness import closer_share
from tasks.comparison.page import render
from tasks.comparison.recommend import recommend
from tasks.comparison.row import Row, measured_row
from tasks.comparison.summary import summarize
from tasks.comparison.twosample import two_sample
from tasks.comparison.variants import Variant
from tasks.contract.errors import EstimationError
from tasks.contract.frames import to_frame
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.results import Gate
from tasks.contract.rng import rng_for
from tasks.contract.roles import TableSchema

#: Rows drawn at a time, as a release draws them.
SLICE = 12_500
ROW = "row.json"
FORMAT = "waymint-comparison/1"


@coarse("tell apart", "tell drawn rows from real ones")
def tell_apart(run: Run, schema: TableSchema, training: PartitionRef, holdout: PartitionRef, drawn: PartitionRef) -> Ref:
    """Measure how well a classifier separates drawn from held-out covariates, and which reference drawn rows are closer to.

    Returns
    -------
    Ref
        A JSON record: ``{"c2st": {...} or None, "dcr_share": float or None, "refused": [why, ...]}``.
    """
    space = run.space()
    key = "comparison/apart.json"
    if (done := space.finished(key, Ref)) is not None:
        return done
    seen, held, new = (to_frame(space.table(ref), schema.modelled) for ref in (training, holdout, drawn))
    record: dict[str, Any] = {"c2st": None, "dcr_share": None, "refused": []}
    try:
        record["c2st"] = two_sample(held, new, rng_for(run.spec.seed, "two samples"))._asdict()
    except EstimationError as error:
        record["refused"].append(error.message)
    try:
        record["dcr_share"] = closer_share(seen, held, new, rng_for(run.spec.seed, "closer share"))
    except EstimationError as error:
        record["refused"].append(error.message)
    return space.put_bytes(key, json.dumps(record, sort_keys=True).encode())


@coarse("weigh drawing", "weigh drawing {rows} rows")
def weigh_drawing(run: Run, model: ModelRef, rows: int) -> Ref:
    """Draw rows from a synthesizer for what it costs. A JSON record of :class:`infra.metering.Meter`."""
    space = run.space()
    key = "comparison/drawing.json"
    if (done := space.finished(key, Ref)) is not None:
        return done
    fitted, rng = space.model(model), rng_for(run.spec.seed, "weigh drawing")
    with metered() as meter:
        for start in range(0, rows, SLICE):
            fitted.sample(min(SLICE, rows - start), rng)
    return space.put_bytes(key, json.dumps(meter.as_dict(), sort_keys=True).encode())


def finished_row(run: Run) -> Row | None:
    """Return the row of a variant that an earlier run of this SPEC finished (in the flow process)."""
    space = run.space()
    done = space.finished(ROW, Ref)
    return None if done is None else Row.model_validate_json(space.read(done.key))


def keep_row(run: Run, row: Row) -> Row:
    """Keep a variant's row, and nothing else of the variant: models and drawn rows are of no more use."""
    space = run.space()
    space.put_bytes(ROW, row.model_dump_json().encode())
    space.clear(keep=(ROW, f"{ROW}.receipt"))
    return row


def conclude(
    run: Run,
    variant: Variant,
    effects: Mapping[str, Ref],
    fidelity: Ref,
    people: Ref,
    apart: Ref,
    drawing: Ref,
    gates: Sequence[Gate],
    together: Ref | None = None,
) -> Row:
    """Put the records of a variant together (in the flow process: they are small); ``together`` of several or missing outcomes."""
    space = run.space()
    read = {name: json.loads(space.read(ref.key)) for name, ref in effects.items()}
    records = [json.loads(space.read(ref.key)) for ref in (fidelity, apart, people, drawing)]
    costs = {"fit": space.record("covariates/copy-0.cost") or {}, "sample": records[3]}
    joined = None if together is None else json.loads(space.read(together.key))
    return measured_row(variant, read, run.spec.main, records[0], records[1], records[2], gates, costs, joined)


def answers(run: Run, schema: TableSchema, source: Mapping[str, Any], released: int, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the record of a comparison: every row, what they come to, and what to take.

    Raises
    ------
    EstimationError
        If no variant could be made.
    """
    reasons = [row.refused for row in rows if row.refused is not None]
    if len(reasons) == len(rows):
        raise EstimationError(f"variants of compare must yield at least one release; all {len(rows)} were refused, the first: {reasons[0]}")
    summaries = summarize(rows)
    named = [{"name": column.name, "kind": kind} for column, kind in zip(schema.outcomes, schema.outcome_kinds, strict=True)]
    return {
        "format": FORMAT,
        "id": run.id,
        "created": run.created,
        "name": run.spec.name,
        "spec": run.spec.model_dump(mode="json", exclude={"simulate", "augment"}),
        "source": dict(source),
        "outcome": named[0],
        **({"outcomes": named} if len(named) > 1 else {}),
        "treatment": schema.treatment.name,
        "released": released,
        "estimator": run.spec.main,
        "packages": package_versions(),
        "rows": [row.model_dump(mode="json") for row in rows],
        "summary": [each.as_dict() for each in summaries],
        "recommendation": recommend(summaries, rows).model_dump(mode="json"),
    }


def keep(store: str, folder: str, record: dict[str, Any]) -> str:
    """Write ``compare.html`` and ``compare.json`` below a folder of the store; return the folder's URI.

    Parameters
    ----------
    store : str
        URI of the store.
    folder : str
        Key prefix without a slash at its end.
    record : dict
        Of :func:`answers`.
    """
    return put_report(open_store(store), folder, "compare", render(record), record)
