"""Stages of the augment flow: read the other table, judge the gain, gather the facts."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from flows.stages.inputs import PublishedRelease, find_release, find_table
from flows.stages.source import another_table, read_plan, read_rows
from infra.stages import Stages
from infra.workspace import Run
from tasks.checks.metric import Metric
from tasks.contract.columns import MARKER
from tasks.contract.errors import SourceError, SpecError
from tasks.contract.gates import gate_rows
from tasks.contract.refs import Parent, PartitionRef, Ref
from tasks.contract.results import Gate
from tasks.contract.roles import Column, TableSchema, pack_field
from tasks.contract.spec import Spec
from tasks.publish.layout import copy_folder, version_folder
from tasks.publish.manifest import Manifest
from tasks.publish.record import Facts, effect_section, privacy_section
from tasks.publish.task import origin
from tasks.source.task import Source

if TYPE_CHECKING:
    from tasks.checks.expectations import Judgement

#: The source of a gate's number in the report and in --json.
WORTH = "worth"


class Other(NamedTuple):
    """The table that outcomes come from.

    Attributes
    ----------
    parts : tuple of PartitionRef
        Its rows in hash order, in the source's canonical form.
    rows : int
    fingerprint : str
        SHA-256 of its content.
    parent : Parent or None
        Where it is an earlier release.
    """

    parts: tuple[PartitionRef, ...]
    rows: int
    fingerprint: str
    parent: Parent | None


def judged_spec(spec: Spec) -> Spec:
    """Return the SPEC by which added rows are judged and effects compared."""
    return spec.model_copy(
        update={
            "gates": spec.gates.model_copy(update={row.name: False for row in gate_rows() if not row.asked_of_added_rows}),
            "mechanisms": spec.mechanisms.model_copy(update={"targeting": "full"}),
        }
    )


def find_other(spec: Spec) -> tuple[str, PublishedRelease | None]:
    """Return the URI that the other table is read from, and the release where it is one, before any work is done.

    Raises
    ------
    SourceError
        If nothing is there.
    SpecError
        If the URI is none.
    """
    uri = spec.augment.outcome
    release = find_release(uri, "outcome of augment")
    if release is None:
        find_table(uri, "outcome of augment")
        return uri, None
    manifest = release.manifest
    return f"{release.store.uri}/{version_folder(manifest.name, manifest.version)}{copy_folder(0)}", release


def read_other(run: Run, stages: Stages, schema: TableSchema) -> Other:
    """Bring the other table into the source's canonical form and hash order."""
    uri, release = find_other(run.spec)
    manifest = None if release is None else release.manifest
    _refuse_release(manifest, schema)
    schema = _asked_of(schema)
    table_run = another_table(run, "other", uri)
    plan = read_plan(table_run, stages, "other table")
    lacking = sorted({column.name for column in schema.columns} - set(plan.names))
    if lacking:
        raise SourceError(
            f"columns of augment.outcome must be those of the source; got a table that lacks {', '.join(lacking)}.",
            "The other table must hold the same covariates, treatment and outcome under the same names.",
        )
    buckets = 1 if manifest is None else max(1, -(-manifest.rows // run.spec.source.partition_rows))
    try:
        rows_read = read_rows(table_run, stages, plan, schema, buckets, "other table")
    except SourceError as error:
        raise SourceError(
            f"cells of augment.outcome must be of the source's kinds and levels; {error.message}",
            "Give both tables the same labels and levels.",
        ) from None
    if not rows_read:
        raise SourceError("rows of augment.outcome must be at least 1 with treatment and outcome known; got 0.")
    parent = None if release is None else release.parent()
    return Other(rows_read, sum(part.rows for part in rows_read), plan.fingerprint, parent)


def _asked_of(schema: TableSchema) -> TableSchema:
    """Return the columns that the other table must hold: its ids and passengers are of no use."""
    return schema.model_copy(update={"columns": tuple(column for column in schema.columns if column.role not in ("id", "passenger"))})


def marked(schema: TableSchema) -> TableSchema:
    """Return the schema with the marker's column: what table the name of an augmentation stands for."""
    field = pack_field(pa.field(MARKER, pa.bool_()))
    number = len(schema.covariates)
    marker = Column(id=f"w{number}", name=MARKER, role="covariate", kind="boolean", field=field, levels=("true",), constant=True)
    return schema.model_copy(update={"columns": (*schema.columns, marker)})


def judge_worth(run: Run, decision: Mapping[str, Any]) -> Judgement:
    """Judge whether the augmentation is expected to err less than everything that could be done instead."""
    from tasks.checks.expectations import judge  # takes seconds to import

    worst = max(decision.get("outcomes", [decision]), key=lambda each: each["worth"])
    mine, *others = worst["rivals"]
    ways = ", ".join(f"{each['name']} {each['error']:.3g}" for each in others if each["error"] is not None)
    on = f"on '{worst['outcome']}': " if "outcomes" in decision else ""
    detail = f"{on}expected squared error {mine['error']:.3g}; {ways}"
    metric = Metric(WORTH, float(decision["worth"]), "at most", decision["tolerance"], detail=detail)
    with tempfile.TemporaryDirectory(prefix="waymint-checks-") as scratch:
        return judge([metric], Path(scratch), run.created)


def section(
    run: Run, decision: Mapping[str, Any], other: Other | None, before: Sequence[Any], after: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what the manifest says of the augmentation."""
    settings = run.spec.augment
    return {
        "outcome": {
            "source": "self" if other is None else settings.outcome,
            "rows": None if other is None else other.rows,
            "fingerprint": None if other is None else other.fingerprint,
            "flip": settings.flip,
            "adds_information": other is not None,
        },
        "averaging": settings.averaging,
        "marker": MARKER,
        **{name: decision[name] for name in ("bound", "lacking", "regions", "curve", "chosen", "conflict", "rivals", "worth", "tolerance")},
        "estimates": {
            "before": list(before),
            "after": None if after is None else after[settings.averaging],
            "other_averaging": _other(settings, after),
        },
        **{name: None if after is None else after[name] for name in ("rows", "treated")},
        **({"outcomes": decision["outcomes"]} if "outcomes" in decision else {}),
        **({"arms": decision["arms"], "added": None if after is None else after["arms"]} if "arms" in decision else {}),
    }


def _other(settings: Any, after: Mapping[str, Any] | None) -> list[Any] | None:
    return None if after is None else after["pooled" if settings.averaging == "real" else "real"]


class Outcome(NamedTuple):
    """What a run has found out, with or without rows.

    Attributes
    ----------
    gates : tuple of Gate
    section : dict
        The manifest's section ``augmentation``.
    effects, overlap : dict
        Of the source, and of the augmented table where there is one.
    holdout : dict or None
        What the manifest says of the holdout.
    warnings : tuple of str
    """

    gates: tuple[Gate, ...]
    section: dict[str, Any]
    effects: dict[str, Any]
    overlap: dict[str, Any]
    holdout: dict[str, Any] | None
    warnings: tuple[str, ...]


def facts_of(run: Run, source: Source, other: Other | None, outcome: Outcome) -> Facts:
    """Gather the manifest's values."""
    parents = () if other is None or other.parent is None else (other.parent.model_dump(),)
    return Facts(
        **origin(run, source),
        effects=outcome.effects,
        fidelity={},
        privacy=privacy_section(outcome.gates, outcome.holdout),
        overlap=outcome.overlap,
        gates=outcome.gates,
        warnings=(*source.described.warnings, *outcome.warnings),
        profile="augment",
        augmentation=outcome.section,
        parents=parents,
    )


def read_json(run: Run, ref: Ref) -> dict[str, Any]:
    """Read a JSON record of the run."""
    return dict(json.loads(run.space().read(ref.key)))


def effects_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Arrange one table's estimates, TMLE standing for the ATE."""
    return effect_section(record, "tmle")


def _refuse_release(manifest: Manifest | None, schema: TableSchema) -> None:
    """Refuse an earlier release that is no table of its own: added rows alone represent no population."""
    if manifest is not None and manifest.profile == "augment":
        raise SpecError(
            f"augment.outcome must be a whole table; got {manifest.name} version {manifest.version}, which holds added rows only.",
            f"Name a release of another source of {len(_asked_of(schema).columns)} such columns.",
        )
