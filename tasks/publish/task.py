"""Tasks of the publish step: check the store, ask the holdout, publish a release or keep the checks of a rejected run."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from infra.cluster import coarse
from infra.provenance import code_record, package_versions
from infra.signing import read_signing_key
from infra.store import open_store
from infra.workspace import Run
from tasks.checks.measured import Measured
from tasks.contract.budget import Answer, Entry, Query, Terms, holdout_name
from tasks.contract.columns import mechanism_columns
from tasks.contract.errors import SpecError, StoreError
from tasks.contract.refs import FileRef, PartitionRef, Ref, ReleaseRef
from tasks.contract.roles import TableSchema
from tasks.contract.store import Store
from tasks.publish.commit import claim, finish, reject, seal, upload, withdraw
from tasks.publish.descriptions.labels import label_faults
from tasks.publish.holdouts import ask, holdout_record, keep, splits
from tasks.publish.identity import check_identity, identity_of
from tasks.publish.kept import kept_files
from tasks.publish.layout import access_key, check_path
from tasks.publish.record import COPIES_NOTE, Facts, Verdict, effect_section, privacy_section
from tasks.publish.releases import show
from tasks.publish.signatures import read_private_key
from tasks.source.task import Source

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def check_added_columns(run: Run, schema: TableSchema) -> None:
    """Refuse to add columns whose names the source has already, and labels of columns that will not be there."""
    for fault in label_faults(run.spec, schema):
        raise fault
    taken = {column.name for column in schema.columns} & set(mechanism_columns(schema).values())
    if run.spec.release.include_nuisances and taken:
        raise SpecError(
            f"include_nuisances of release must be false where the source has a column '{min(taken)}'; got true.",
            "Rename that column of the source, or leave include_nuisances out.",
        )


def check_store(run: Run) -> None:
    """Write and remove a small object, and read the signing key: what refuses is reported before any work is done."""
    signing_key()
    store = open_store(run.spec.store.uri, options=run.spec.store)
    key = access_key(run.spec.name, run.id)
    store.put(key, b"{}")
    store.delete(key)


def signing_key() -> Ed25519PrivateKey | None:
    """Return the key that signs this environment's releases, None where they are not signed."""
    named = read_signing_key()
    return None if named is None else read_private_key(*named)


def check_name(run: Run, schema: TableSchema) -> None:
    """Refuse a release name that identifies another table, before any work is done."""
    check_identity(open_store(run.spec.store.uri, options=run.spec.store), run.spec.name, identity_of(schema))


def ask_holdout(run: Run, source: Source, query: Query, terms: Terms) -> Answer:
    """Ask the run's holdout, in the store where its releases land; nothing is written."""
    return ask(open_store(run.spec.store.uri, options=run.spec.store), _holdout(run, source), query, terms)


def keep_answer(run: Run, source: Source, query: Query, answer: Answer, charged: bool) -> bool:
    """Record a query of a holdout and its answer; False if another writer has recorded one since."""
    entry = Entry(
        query=query.digest,
        above=answer.above,
        answer=answer.value,
        charged=charged,
        left=answer.left,
        release=run.spec.name,
        run=run.id,
        created=run.created,
    )
    return keep(open_store(run.spec.store.uri, options=run.spec.store), _holdout(run, source), answer, entry)


def holdout_section(run: Run, source: Source, answer: Answer, charged: bool, terms: Terms) -> dict[str, Any]:
    """Return what a manifest says of its holdout; see :func:`tasks.publish.holdouts.holdout_record`."""
    name = _holdout(run, source)
    return holdout_record(name, splits(open_store(run.spec.store.uri, options=run.spec.store), name), answer, charged, terms)


def _holdout(run: Run, source: Source) -> str:
    return holdout_name(source.plan.fingerprint, run.spec.split_seed, run.spec.source.holdout)


def origin(run: Run, source: Source) -> dict[str, Any]:
    """Return what a manifest says of where a release comes from: SPEC, source, code, packages, seed, table."""
    described = source.described
    return {
        "name": run.spec.name,
        "created": run.created,
        "run": run.id,
        # a manifest travels: it names no account and no key of the bucket it was written to
        "spec": run.spec.model_dump(mode="json", exclude={"store": {"kms_key", "bucket_owner"}}),
        "source": {
            "uri": run.spec.source.uri,
            "fingerprint": source.plan.fingerprint,
            "rows": described.table.rows,
            "profile": described.profile.model_dump(mode="json"),
        },
        "code": code_record(),
        "packages": package_versions(),
        "seed": run.spec.seed,
        "table": described.table.model_dump(mode="json"),
    }


def facts(
    run: Run,
    source: Source,
    measured: Measured,
    effects: Sequence[Ref],
    combined: Sequence[dict[str, object]],
    verdict: Verdict,
    kept: Mapping[str, Sequence[str]],
) -> Facts:
    """Gather the manifest's values from the run's records.

    Parameters
    ----------
    run, source : Run, Source
        The run and its source.
    measured : Measured
        References to records of source and release.
    effects : sequence of Ref
        Record of effects and overlap of each copy of the release.
    combined : sequence of dict
        Estimates over all copies, with the source's sampling error in them.
    verdict : Verdict
        Gates, holdout, cautions.
    kept : mapping of str to sequence of str
        By kind what every row keeps of the source: relations, grids, atoms, missingness.
    """
    space, main = run.space(), run.spec.main
    before, ledger, people = (json.loads(space.read(ref.key)) for ref in (measured.source, measured.fidelity, measured.people))
    copies = [json.loads(space.read(ref.key)) for ref in effects]
    release = effect_section(copies[0], main) | {"combined": list(combined)}
    if measured.coverage is not None:
        people["precision_recall"] = json.loads(space.read(measured.coverage.key))
    truth, several = ledger["truth"], ledger.get("outcomes", [])
    if run.spec.mechanisms.estimand != "ate" and run.spec.release.mode == "hybrid":
        truth = truth | {"estimand": run.spec.mechanisms.estimand}
    if several:
        if truth is not None:  # in mode "full" no effect is built in
            truth = truth | {"outcomes": [{"outcome": each["outcome"], **each["truth"]} for each in several]}
        people["outcomes"] = [{name: each[name] for name in ("outcome", "ledger", "tstr")} for each in several]
    if measured.together is not None:
        people["together"] = json.loads(space.read(measured.together.key))
    targeting = [json.loads(space.read(ref.key)) for ref in measured.targetings]
    balances = [space.model(ref) for ref in measured.balances]
    calibration = [{name: getattr(each, name) for name in ("relaxed", "feasible", "ess", "capped")} for each in balances]
    if len(copies) > 1:
        release["copies"] = [effect_section(copy, main) for copy in copies]
    return Facts(
        **origin(run, source),
        effects={"source": effect_section(before, main), "release": release, "truth": truth},
        fidelity={
            "ledger": ledger["ledger"],
            "tstr": ledger["tstr"],
            "targeting": targeting,
            "calibration": calibration,
            "kept": dict(kept),
        }
        | people,
        privacy=privacy_section(verdict.gates, verdict.holdout),
        overlap={"source": before["overlap"], "release": copies[0]["overlap"]},
        gates=verdict.gates,
        warnings=(*source.described.warnings, *([COPIES_NOTE] if len(copies) > 1 else []), *verdict.cautions),
    )


class Draft(NamedTuple):
    """A claimed version whose parts are uploaded.

    Attributes
    ----------
    version : int
        The number.
    parts : tuple of FileRef
        The uploaded parts; empty where the version is sealed.
    sealed : ReleaseRef or None
        The release, where an earlier process of this run came so far.
    """

    version: int
    parts: tuple[FileRef, ...]
    sealed: ReleaseRef | None


@coarse("upload parts", "upload parts")
def draft(run: Run, schema: TableSchema, parts: Mapping[str, PartitionRef]) -> Draft:
    """Claim a version and upload the release's parts.

    Parameters
    ----------
    run : Run
        The run; resumed, it finds the number it had.
    schema : TableSchema
        The table that the name identifies.
    parts : mapping
        Path in the release to the drawn part in the workspace.

    Raises
    ------
    StoreConflict
        If the claim was lost: claim again.
    """
    store, space, name = open_store(run.spec.store.uri, options=run.spec.store), run.space(), run.spec.name
    claimed = (space.record("claim.json") or {}).get("version")
    version = claim(store, name, run.id, uuid.uuid4().hex, identity_of(schema), claimed)
    space.put_record("claim.json", {"version": version})
    with _all_or_nothing(store, name, version):
        sealed = finish(store, name, version)
        if sealed is not None:
            return Draft(version, (), sealed)
        return Draft(
            version, tuple(upload(store, name, version, path, space.read(part.key), part.rows) for path, part in parts.items()), None
        )


@coarse("publish release", "publish release")
def publish(run: Run, drafted: Draft, facts: Facts, files: Mapping[str, bytes], parts: Mapping[str, PartitionRef]) -> dict[str, Any]:
    """Upload report, checks and mechanisms, seal the version, and return the reply.

    Parameters
    ----------
    run : Run
        The run.
    drafted : Draft
        Of :func:`draft`.
    facts : Facts
        The manifest but for version and files.
    files : mapping
        Report and checks by their path in the release.
    parts : mapping
        As :func:`draft` was given.

    Raises
    ------
    StoreConflict
        If the claim was lost: draft again.
    """
    store, name, sealed = open_store(run.spec.store.uri, options=run.spec.store), run.spec.name, drafted.sealed
    if sealed is None:
        with _all_or_nothing(store, name, drafted.version):
            law = run.spec.outcome.kind != "survival"
            small = {**files, **kept_files(run.spec.release, facts.profile, parts, run.space().read, law)}
            uploaded = [upload(store, name, drafted.version, path, data) for path, data in sorted(small.items())]
            sealed = seal(store, facts.manifest(drafted.version, (*drafted.parts, *uploaded)), signing_key())
    manifest = show(store, name, sealed.version)
    return {"status": "published", "uri": sealed.uri, "version": sealed.version, "manifest": manifest.as_dict()}


@contextlib.contextmanager
def _all_or_nothing(store: Store, name: str, version: int) -> Iterator[None]:
    """Remove what was uploaded where the store fails: nothing half-written stays readable.

    The claim stays, so the same command gets the same number. Where the store fails at the removal too, the first error is raised.
    """
    try:
        yield
    except StoreError:
        with contextlib.suppress(StoreError):
            withdraw(store, name, version)
        raise


@coarse("keep rejected checks", "keep rejected checks")
def keep_rejected(run: Run, values: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
    """Keep checks and report of a rejected run in the store, never rows; return the reply.

    Parameters
    ----------
    run : Run
        The run.
    values : mapping
        The manifest's values, of :meth:`tasks.publish.record.Facts.unpublished`.
    files : mapping
        Report and checks by their path in the folder.
    """
    uri = reject(open_store(run.spec.store.uri, options=run.spec.store), run.spec.name, run.id, files)
    return {"status": "rejected", "uri": uri, "version": None, "manifest": dict(values)}


def check_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of the checks by their path in a release."""
    return {check_path(path): data for path, data in files.items()}
