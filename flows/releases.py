"""Entry points that look after what a store holds: each returns a reply for --json and lines for people."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra import signing
from infra.rollback import check_latest, remember_latest
from infra.settings import Settings
from infra.store import open_store, split_release_uri
from infra.workspaces import leftovers, sweep
from tasks.audit.page import headline
from tasks.contract.errors import SpecError, StoreMissing
from tasks.contract.headline import built_in, main_effect, main_estimand, main_pair
from tasks.contract.store import Store
from tasks.pages.numbers import plural
from tasks.publish import collect, difference, releases, signatures
from tasks.publish import export as exporting
from tasks.publish.audits import list_audits
from tasks.publish.catalogue.site import write_site
from tasks.publish.layout import is_sealed
from tasks.publish.manifest import Effect, Manifest, odd_values
from tasks.publish.unpacked import UnpackedRelease, is_addition, unpacked_manifest
from tasks.source.builtin import BUILTINS

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Reply = tuple[Any, list[str]]


def listing(where: str) -> Reply:
    """List the published releases of a store, or of one name in it."""
    infos, unreadable = releases.scan_releases(open_store(where))
    if not (infos or unreadable):
        with contextlib.suppress(SpecError):  # a path that can't be STORE/NAME is a store, and empty
            store, name, _ = split_release_uri(where)
            infos, unreadable = releases.scan_releases(open_store(store), name)
    lines = [f"{info.name}  v{info.version:06d}  {info.created}  {info.rows:>12,} rows  {info.uri}" for info in infos]
    lines += [f"{name}  v{version:06d}  can't be read: {reason}" for name, version, reason in unreadable]
    return [info._asdict() for info in infos], lines or [f"no published release in {where}"]


def show(where: str) -> Reply:
    """Show one release: its manifest, or the lines that matter most of it."""
    store, name, version = split_release_uri(where)
    opened = open_store(store)
    manifest = releases.show(opened, name, version)
    return manifest.as_dict(), [*summary(manifest), *_audits(opened, manifest)]


def _audits(store: Store, manifest: Manifest) -> list[str]:
    """Return a line for each audit that lies beside a release."""
    lines = []
    for audit in list_audits(store, manifest.name, manifest.version):
        verdict = "can't be read" if audit.record is None else headline([each.model_dump() for each in audit.record.attacks])["text"]
        when = "" if audit.record is None else f"{audit.record.created}  "
        lines.append(f"audit     {when}{verdict}  {audit.uri}/audit.html")
    return lines


def summary(manifest: Manifest) -> list[str]:
    """Return a release's lines for people."""
    effects, title = manifest.effects, main_estimand(manifest.effects).upper()
    lines = [
        f"{manifest.name} v{manifest.version:06d}  {manifest.created}  {manifest.rows:,} rows; {len(manifest.files)} files",
        f"source    {manifest.source['uri']}  ({manifest.source['rows']:,} rows used)",
        f"mode      {_key(manifest.spec, 'release', 'mode')}, covariates by {_key(manifest.spec, 'covariates', 'synthesizer')}",
    ]
    if pair := main_pair(effects):
        lines.append(f"arms      {pair}: the first of the pairs, the report has all")
    for where in ("source", "release"):
        effect = Effect.model_validate(main_effect(effects, where) or {})
        if effect.estimate is not None:
            interval = f"95 % {_number(effect.ci_low, '.4g')} to {_number(effect.ci_high, '.4g')}"
            lines.append(f"{title} {where:<9}{effect.estimate:.4g}  (SE {_number(effect.se, '.2g')}, {interval}, {effect.estimator})")
    carried = built_in(effects)
    if carried is not None:
        lines.append(f"{title} exact    {carried.value:.4g}  (Monte-Carlo error {_number(carried.mc_se, '.2g')})")
    passed = sum(gate.status == "passed" for gate in manifest.gates)
    off = sum(gate.status == "off" for gate in manifest.gates)
    unsure = [gate.name for gate in manifest.gates if gate.status == "inconclusive"]
    remainder = (f", {off} switched off" if off else "") + (f", inconclusive: {', '.join(unsure)}" if unsure else "")
    lines.append(f"gates     {passed} of {len(manifest.gates)} passed{remainder}")
    return lines + [f"warning   {text}" for text in manifest.warnings]


def _key(values: Mapping[str, Any], section: str, key: str) -> Any:
    """Return a key of a section of the SPEC, "?" where an unusual manifest lacks it."""
    inner = values.get(section)
    return inner.get(key, "?") if isinstance(inner, Mapping) else "?"


def _number(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)


def verify(where: str, key: Path | None = None) -> Reply:
    """Re-hash every file of a release, in its store or in the folder of a copy; with a public key, require its signature."""
    public = _public(key)
    opened, name, number, copied = _placed(where, public)
    problems = releases.verify(opened, name, number, public)
    uncovered = [each.path for each in problems if copied and each.fault == "extra" and is_addition(each.path)]
    left_out = [each.path for each in problems if copied and each.fault == "missing" and is_sealed(each.path)]
    problems = [each for each in problems if each.path not in {*uncovered, *left_out}]
    lines = [f"{problem.fault}: {problem.path}: {problem.detail}" for problem in problems]
    reply: dict[str, Any] = {"name": name, "version": number, "problems": [problem._asdict() for problem in problems]}
    if copied:
        reply |= {"uncovered": uncovered}
    if public is not None:
        reply |= {"signed_by": None if problems else signatures.key_id(public)}
        signed = f"signed by key {signatures.key_id(public)}"
        if not (problems or copied):
            remember_latest(Settings(), opened.uri, name, signatures.key_id(public), number)
    else:
        signed = "signed, which only --key checks" if releases.signature_paths(opened, name, number) else "not signed"
    lines = lines or [f"{name} v{number:06d}: every file is as its manifest says; {signed}"]
    return reply, lines + [f"not covered by the manifest: {path}" for path in uncovered]


def _placed(where: str, public: Ed25519PublicKey | None) -> tuple[Store, str, int, bool]:
    """Return a release's store, name and version, and whether it is a copy outside of its store; with a key, refuse a rollback."""
    try:
        store, name, version = split_release_uri(where)
        opened = open_store(store)
        number = version if version is not None else releases.latest_version(opened, name)
        releases.manifest_bytes(opened, name, number)
    except (SpecError, StoreMissing):
        copy = open_store(where) if Path(where).is_dir() else None
        manifest = None if copy is None else unpacked_manifest(copy)
        if copy is None or manifest is None:
            raise
        return UnpackedRelease(copy, manifest.name, manifest.version), manifest.name, manifest.version, True
    if public is not None and version is None:
        check_latest(Settings(), opened.uri, name, signatures.key_id(public), number)
    return opened, name, number, False


def pull(where: str, to: Path, key: Path | None = None) -> Reply:
    """Copy a release into a folder; with a public key, only if that key signed it."""
    public = _public(key)
    opened, name, number, _ = _placed(where, public)
    manifest = releases.pull(opened, name, number, to, public)
    if public is not None:
        remember_latest(Settings(), opened.uri, name, signatures.key_id(public), number)
    return manifest.as_dict(), [f"{name} v{manifest.version:06d}: {len(manifest.files)} files, {manifest.rows:,} rows in {to}"]


def keygen(to: Path) -> Reply:
    """Make a key pair that signs and checks releases."""
    private, public = signatures.new_key_pair()
    beside = signing.write_key_files(to, private, public)
    identity = signatures.key_id(signatures.read_public_key(public, str(beside)))
    lines = [f"private key  {to}  (set WAYMINT_SIGN_KEY to it; give it to nobody)", f"public key   {beside}", f"key id       {identity}"]
    return {"private": str(to), "public": str(beside), "key": identity}, lines


def sign(where: str, key: Path) -> Reply:
    """Sign a release that is published and sound."""
    store, name, version = split_release_uri(where)
    private = signatures.read_private_key(signing.read_private_file(key), str(key))
    identity = signatures.key_id(private.public_key())
    number = releases.sign(open_store(store), name, version, private)
    return {"name": name, "version": number, "signed_by": identity}, [f"{name} v{number:06d}: signed by key {identity}"]


def _public(path: Path | None) -> Ed25519PublicKey | None:
    return None if path is None else signatures.read_public_key(signing.read_public_file(path), str(path))


def export(where: str, to: Path, csv: bool, licence: Path | None) -> Reply:
    """Write a release into one zip file."""
    store, name, version = split_release_uri(where)
    try:
        text = None if licence is None else licence.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise SpecError(f"licence of export must be a text file that can be read; got '{licence}'.") from None
    manifest = exporting.export(open_store(store), name, version, to, csv, text)
    return manifest.as_dict(), [f"{name} v{manifest.version:06d}: {manifest.rows:,} rows, codebook, report and manifest in {to}"]


def diff(left: str, right: str) -> Reply:
    """Tell two releases apart."""
    manifests = []
    for where in (left, right):
        store, name, version = split_release_uri(where)
        manifests.append(releases.show(open_store(store), name, version))
    with odd_values(f"{left} or {right}"):
        changes = difference.diff(*manifests)
    reply = changes.model_dump(mode="json") | {"identical": changes.identical}
    if changes.identical:
        return reply, [f"{changes.left} and {changes.right} are identical: the same bytes of data, SPEC, code, effects and gates"]
    lines = ["data: the same bytes" if changes.data else "data: other bytes", f"rows: {changes.rows[0]:,} | {changes.rows[1]:,}"]
    for group in ("spec", "table", "source", "packages", "code", "gates"):
        lines += [f"{group} {change['key']}: {change['left']} | {change['right']}" for change in reply[group]]
    for change in reply["effects"]:
        if change["difference"] is not None:
            lines.append(f"effect {change['key']}: {change['left']:.4g} | {change['right']:.4g}  (difference {change['difference']:.2g})")
    return reply, lines


def site(where: str, to: Path) -> Reply:
    """Write the static catalogue of a store."""
    store = open_store(where)
    written = write_site(store, to)
    reply = written._asdict() | {"index": str(to / "index.html")}
    counts = (plural(written.names, "name"), plural(written.versions, "version"), plural(written.rejected, "rejected run"))
    lines = [f"catalogue of {store.uri}: {', '.join(counts)}", f"open      {to / 'index.html'}"]
    return reply, [*lines, *(f"left out  {path}: it is not as its manifest says" for path in written.damaged)]


def gc(where: str, older_than_hours: float) -> Reply:
    """Clear what dead writers left."""
    store, name, version = split_release_uri(where)
    if version is not None:
        raise SpecError(f"gc takes STORE/NAME without a version; got '{where}'.", "Published versions are never collected.")
    age, now, settings = older_than_hours * 3600, time.time(), Settings()
    actions = collect.gc(open_store(store), name, age, now)
    swept = sweep(settings.workspace_uri, settings, name, age, now)
    left = [each for each in leftovers(settings) if each.state == "left"]
    lines = [" ".join(str(value) for value in action._asdict().values()) for action in actions]
    lines += [f"removed workspace {uri}" for uri in swept]
    reply = {"name": name, "actions": [action._asdict() for action in actions], "workspaces": swept, "workspaces_left": len(left)}
    lines = lines or [f"{name}: nothing to clear"]
    if left:
        lines.append(f"not touched: {len(left)} {'workspace' if len(left) == 1 else 'workspaces'} of killed runs; see 'waymint work list'")
    return reply, lines


def datasets() -> Reply:
    """List the built-in sources."""
    entries = [dict(entry) if isinstance(entry, dict) else entry._asdict() for entry in BUILTINS.values()]
    return entries, [f"builtin:{entry['name']}  {entry['rows']:,} rows  {entry['description']}" for entry in entries]
