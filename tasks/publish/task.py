"""Tasks of the publish step: claim a number, upload, seal; or keep the checks of a rejected run."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from pydantic import BaseModel

from infra.cluster import coarse
from infra.store import open_store
from infra.workspace import Run, code_record, package_versions
from tasks.checks.verdict import private_numbers
from tasks.contract.budget import Answer, Entry, Query, Terms, holdout_name
from tasks.contract.columns import NUISANCE_COLUMNS
from tasks.contract.errors import SpecError, StoreConflict, StoreError
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.results import Gate
from tasks.contract.roles import TableSchema
from tasks.contract.store import Store
from tasks.publish.commit import claim, finish, reject, seal, upload, withdraw
from tasks.publish.holdouts import ask, keep, splits
from tasks.publish.identity import check_identity, identity_of
from tasks.publish.layout import MECHANISMS, REPORT, access_key, check_path, part_path
from tasks.publish.record import Facts, effect_section
from tasks.publish.releases import show

# A claim is lost only to garbage collection that took this run for dead; losing several in a row is not chance.
MOST_CLAIMS = 3
COPIES_NOTE = (
    "Every copy is drawn from its own Bayesian bootstrap draw of the source, so that the copies differ as samples would: "
    "use effects.release.combined. effects.truth is that of copy 0."
)


def check_added_columns(run: Run, schema: TableSchema) -> None:
    """Refuse to add columns whose names the source has already."""
    taken = {column.name for column in schema.columns} & set(NUISANCE_COLUMNS.values())
    if run.spec.release.include_nuisances and taken:
        raise SpecError(
            f"include_nuisances of release must be false where the source has a column '{min(taken)}'; got true.",
            "Rename that column of the source, or leave include_nuisances out.",
        )


class Planned(Protocol):
    """What is needed of the source's plan."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the source's content."""
        ...


class Described(Protocol):
    """What is needed of the source's inspection."""

    @property
    def table(self) -> TableSchema:
        """The schema."""
        ...

    @property
    def profile(self) -> BaseModel:
        """The profile, free of extremes and rare values."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know."""
        ...


class MeasuredRefs(Protocol):
    """What is needed of the measurements."""

    @property
    def source(self) -> Ref:
        """Record of the source's effects."""
        ...

    @property
    def fidelity(self) -> Ref:
        """Record of ledger, TSTR and exact effect."""
        ...

    @property
    def people(self) -> Ref:
        """Record of single effects, assignment and outcomes."""
        ...

    @property
    def coverage(self) -> Ref | None:
        """Record of precision and recall, if measured."""
        ...

    @property
    def targetings(self) -> tuple[Ref, ...]:
        """Record of each copy's targeting."""
        ...

    @property
    def balances(self) -> tuple[ModelRef, ...]:
        """Calibration of each copy."""
        ...


def check_store(run: Run) -> None:
    """Write and remove a small object: a store that refuses is told before any work is done."""
    store = open_store(run.spec.store.uri)
    key = access_key(run.spec.name, run.id)
    store.put(key, b"{}")
    store.delete(key)


def check_name(run: Run, schema: TableSchema) -> None:
    """Refuse a release name that stands for another table, before any work is done."""
    check_identity(open_store(run.spec.store.uri), run.spec.name, identity_of(schema))


def ask_holdout(run: Run, plan: Planned, query: Query, terms: Terms) -> Answer:
    """Ask the run's holdout, in the store where its releases land; nothing is written."""
    return ask(open_store(run.spec.store.uri), _holdout(run, plan), query, terms)


def keep_answer(run: Run, plan: Planned, query: Query, said: Answer, charged: bool) -> bool:
    """Write down what a holdout was asked and has answered; False where somebody else has asked since."""
    entry = Entry(
        query=query.digest,
        above=said.above,
        answer=said.value,
        charged=charged,
        left=said.left,
        release=run.spec.name,
        run=run.id,
        created=run.created,
    )
    return keep(open_store(run.spec.store.uri), _holdout(run, plan), said, entry)


def holdout_section(run: Run, plan: Planned, said: Answer, charged: bool, terms: Terms) -> dict[str, Any]:
    """Return what a manifest says of its holdout.

    Parameters
    ----------
    run, plan
        Decide which holdout it is.
    said : Answer
        What it answered.
    charged : bool
        Whether this release cost it something.
    terms : Terms
        How it answers.

    Returns
    -------
    dict
        ``name``, ``budget``, ``left`` (before this release), ``charged``, ``asked_before``, ``repeated``, and of the source
        ``splits`` and ``splits_charged``: how many holdouts of it were asked in this store, and what they were charged together.
    """
    name = _holdout(run, plan)
    cut = splits(open_store(run.spec.store.uri), name)
    return {
        "name": name,
        "budget": terms.budget,
        "left": said.left,
        "charged": charged and not said.spent,
        "spent": said.spent,
        "asked_before": said.asked,
        "repeated": said.recorded,
        "splits": cut.asked,
        "splits_charged": cut.charged,
    }


def holdout_cautions(section: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Say where a source was cut anew after its gates had failed: trying seeds until one passes is luck and no evidence."""
    if section is None or section["splits"] < 2 or not section["splits_charged"]:
        return ()
    return (
        f"Releases of this source in this store were judged by {section['splits']} different holdouts and failed by them "
        f"{section['splits_charged']} times: a split chosen because its gates pass proves nothing (docs/gates.md).",
    )


def _holdout(run: Run, plan: Planned) -> str:
    return holdout_name(plan.fingerprint, run.spec.seed, run.spec.source.holdout)


def origin(run: Run, plan: Planned, described: Described) -> dict[str, Any]:
    """Return what a manifest says of where a release comes from: SPEC, source, code, packages, seed, table."""
    return {
        "name": run.spec.name,
        "created": run.created,
        "run": run.id,
        "spec": run.spec.model_dump(mode="json"),
        "source": {
            "uri": run.spec.source.uri,
            "fingerprint": plan.fingerprint,
            "rows": described.table.rows,
            "profile": described.profile.model_dump(mode="json"),
        },
        "code": code_record(),
        "packages": package_versions(),
        "seed": run.spec.seed,
        "table": described.table.model_dump(mode="json"),
    }


def privacy_section(gates: Sequence[Gate], holdout: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the numbers of the distance gates, and what the holdout was asked."""
    found: dict[str, Any] = dict(private_numbers(gates))
    return found if holdout is None else found | {"holdout": dict(holdout)}


def facts(
    run: Run,
    plan: Planned,
    described: Described,
    measured: MeasuredRefs,
    effects: Sequence[Ref],
    combined: Sequence[dict[str, object]],
    gates: Sequence[Gate],
    main: str,
    holdout: Mapping[str, Any] | None = None,
    cautions: Sequence[str] = (),
) -> Facts:
    """Gather the manifest's values from the run's records.

    Parameters
    ----------
    run : Run
        The run.
    plan, described
        The source's plan (its fingerprint) and inspection (schema, profile, warnings).
    measured
        References to records of source, fidelity.
    effects : sequence of Ref
        Record of effects and overlap of each copy of the release.
    combined : sequence of dict
        Estimates over all copies, with the source's sampling error in them.
    gates : sequence of Gate
        Verdicts.
    main : str
        The estimator of the ATE that stands for a table.
    holdout : mapping, optional
        Of :func:`holdout_section`.
    cautions : sequence of str
        What else a user should know.
    """
    space = run.space()
    own = json.loads(space.read(measured.source.key))
    copies = [json.loads(space.read(ref.key)) for ref in effects]
    found = json.loads(space.read(measured.fidelity.key))
    release = effect_section(copies[0], main) | {"combined": list(combined)}
    people = json.loads(space.read(measured.people.key))
    if measured.coverage is not None:
        people["precision_recall"] = json.loads(space.read(measured.coverage.key))
    targeting = [json.loads(space.read(ref.key)) for ref in measured.targetings]
    balances = [space.model(ref) for ref in measured.balances]
    calibration = [{name: getattr(each, name) for name in ("relaxed", "feasible", "ess", "capped")} for each in balances]
    if len(copies) > 1:
        release["copies"] = [effect_section(copy, main) for copy in copies]
    return Facts(
        **origin(run, plan, described),
        effects={"source": effect_section(own, main), "release": release, "truth": found["truth"]},
        fidelity={"ledger": found["ledger"], "tstr": found["tstr"], "targeting": targeting, "calibration": calibration} | people,
        privacy=privacy_section(gates, holdout),
        overlap={"source": own["overlap"], "release": copies[0]["overlap"]},
        gates=tuple(gates),
        warnings=(*described.warnings, *([COPIES_NOTE] if len(copies) > 1 else []), *cautions),
    )


@coarse("publish release", "publish release")
def publish(
    run: Run,
    schema: TableSchema,
    parts: Mapping[str, PartitionRef],
    facts: Facts,
    checks: Mapping[str, bytes],
    page: Callable[[dict[str, Any]], bytes],
) -> dict[str, Any]:
    """Publish a release under a number of its own; return the reply.

    Parameters
    ----------
    run : Run
        The run; resumed, it finds the number it had.
    schema : TableSchema
        What table the name stands for.
    parts : mapping
        Path in the release to the drawn part in the workspace.
    facts : Facts
        The manifest but for version and files.
    checks : mapping
        Files of the checks by their path below ``checks/``.
    page : callable
        Renders the report of a manifest's values.
    """
    store, space, name = open_store(run.spec.store.uri), run.space(), run.spec.name
    identity = identity_of(schema)
    for attempt in range(1, MOST_CLAIMS + 1):
        known = (space.record("claim.json") or {}).get("version")
        version = claim(store, name, run.id, uuid.uuid4().hex, identity, known)
        space.put_record("claim.json", {"version": version})
        try:
            sealed = finish(store, name, version)  # a killed run may have come so far
            if sealed is None:
                files = [upload(store, name, version, path, space.read(part.key), part.rows) for path, part in parts.items()]
                report = page(facts.manifest(version, files).as_dict())
                small = {check_path(path): data for path, data in checks.items()} | {REPORT: report} | _mechanisms(run, parts, facts)
                files += [upload(store, name, version, path, data) for path, data in sorted(small.items())]
                sealed = seal(store, facts.manifest(version, files))
        except StoreConflict:
            # either garbage collection took this run for dead, and it needs another number, or a killed run left a file that differs
            _take_back(store, name, version)
            if attempt == MOST_CLAIMS:
                raise
        except StoreError:
            # nothing half-written stays readable; the claim stays, so the same command gets the same number
            _take_back(store, name, version)
            raise
        else:
            manifest = show(store, name, sealed.version)
            return {"status": "published", "uri": sealed.uri, "version": sealed.version, "manifest": manifest.as_dict()}
    raise AssertionError("the last attempt returns or raises")


def _mechanisms(run: Run, parts: Mapping[str, PartitionRef], facts: Facts) -> dict[str, bytes]:
    """Return the file of the outcome's laws, one for each copy, where the release keeps its mechanisms; each lies beside its parts."""
    release = run.spec.release
    if not release.include_nuisances or facts.profile != "release":
        return {}
    first = [parts[part_path(copy, 0)].key.rpartition("/")[0] for copy in range(release.copies)]
    laws = [json.loads(run.space().read(f"{folder}/law.json")) for folder in first]
    return {MECHANISMS: f"{json.dumps({'laws': laws}, sort_keys=True, allow_nan=False)}\n".encode()}


def _take_back(store: Store, name: str, version: int) -> None:
    """Remove what was uploaded; where the store fails at this too, the first error is the one to tell."""
    with contextlib.suppress(StoreError):
        withdraw(store, name, version)


@coarse("keep rejected checks", "keep rejected checks")
def keep_rejected(run: Run, facts: Facts, checks: Mapping[str, bytes], page: Callable[[dict[str, Any]], bytes]) -> dict[str, Any]:
    """Keep checks and report of a rejected run in the store, never rows; return the reply."""
    values = facts.unpublished()
    files = {check_path(path): data for path, data in checks.items()} | {REPORT: page(values)}
    uri = reject(open_store(run.spec.store.uri), run.spec.name, run.id, files)
    return {"status": "rejected", "uri": uri, "version": None, "manifest": values}
