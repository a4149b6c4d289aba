"""Every object key that is written to a store, made and read in one place.

::

    <name>/v000001/data/copy-0/part-00000.parquet
    <name>/v000001/report.html
    <name>/v000001/codebook.{html,csv}      what the columns hold
    <name>/v000001/datapackage.json         the same for programs: Frictionless Data Package,
    <name>/v000001/croissant.json           MLCommons Croissant,
    <name>/v000001/odcs.yaml                and Open Data Contract Standard
    <name>/v000001/mechanisms.json          where include_nuisances asks for it: the outcome's law of each copy
    <name>/v000001/models/copy-0.sealed     where keep_models asks for it: what the copy's rows are drawn from, encrypted
    <name>/v000001/checks/...
    <name>/v000001/signatures/<key>.dsse.json  of a signed release: one file a key, over the manifest's bytes
    <name>/v000001/manifest.json            written last
    <name>/rejected/<run id>/...            checks and report of a failed gate
    <name>/audits/v000001/<audit id>/...    attacks against a version: audit.html, audit.json
    <name>/comparisons/<run id>/...         synthesizers compared: compare.html, compare.json
    <name>/simulations/<run id>/...         estimators tried on the source's law: simulate.html, simulate.json, *.parquet
    <name>/claims/identity.json             the table that the name identifies
    <name>/claims/access-<run id>.json      there for a moment: may this run write?
    <name>/claims/v000001/owner.json        who may write below <name>/v000001/
    <name>/claims/v000001/heir-<token>.json the resumed run that continues for an owner that died
    <name>/claims/v000001/decision.json     sealed or abandoned, written once
    _holdouts/<source>-<split>/00000001.json queries of a holdout, by releases of any name
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from tasks.contract.errors import SpecError, StoreError
from tasks.contract.spec import NAME_PATTERN

MANIFEST = "manifest.json"
REPORT = "report.html"
MECHANISMS = "mechanisms.json"
CODEBOOK_PAGE, CODEBOOK_TABLE = "codebook.html", "codebook.csv"
DATA_PACKAGE, CROISSANT, DATA_CONTRACT = "datapackage.json", "croissant.json", "odcs.yaml"

_SIGNATURE = re.compile(r"signatures/[0-9a-f]{16}\.dsse\.json")
_SEALED = re.compile(r"models/copy-\d+\.sealed")
_OWNER = "owner.json"
_HEIR = "heir-"
_DECISION = "decision.json"
_VERSION = re.compile(r"v(\d{6,})")
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Place(NamedTuple):
    """Where a key belongs.

    Attributes
    ----------
    name : str
        The release name.
    kind : str
        ``"release"`` (a file of a version's folder), ``"claim"`` or ``"other"``.
    version : int or None
        Of a release's file or a claim.
    path : str
        Below the version's folder.
    """

    name: str
    kind: Literal["release", "claim", "other"]
    version: int | None
    path: str


def part_path(copy: int, part: int) -> str:
    """Return the path of one Parquet part in a release."""
    return f"{copy_folder(copy)}part-{part:05d}.parquet"


def copy_folder(copy: int) -> str:
    """Return the folder of one copy's parts in a release, with its slash."""
    return f"data/copy-{copy}/"


def sealed_path(copy: int) -> str:
    """Return the path of one copy's sealed models in a release, which is also their name in the run's workspace."""
    return f"models/copy-{copy}.sealed"


def is_sealed(path: str) -> bool:
    """Return whether a path in a release is that of sealed models: they stay in the store, and no exported file holds them."""
    return _SEALED.fullmatch(path) is not None


def check_path(path: str) -> str:
    """Return the path of one file of the checks in a release."""
    return checked_path(f"checks/{path}")


def signature_path(key: str) -> str:
    """Return the path of a key's signature in a release.

    Parameters
    ----------
    key : str
        Id of the key: hexadecimal digits, of which the first 16 name the file.
    """
    return f"signatures/{key[:16]}.dsse.json"


def is_signature(path: str) -> bool:
    """Return whether a path in a release is that of a signature: the manifest can't list what is made from its own bytes."""
    return _SIGNATURE.fullmatch(path) is not None


def name_folder(name: str) -> str:
    """Return the folder of a release name, with its slash."""
    if not re.fullmatch(NAME_PATTERN, name) or name == "rejected":
        raise SpecError(f"name of SPEC must be lower case letters, digits and dashes, and not 'rejected'; got '{name}'.")
    return f"{name}/"


def version_folder(name: str, version: int) -> str:
    """Return the folder of one release, with its slash."""
    if version < 1:
        raise SpecError(f"version of release must be at least 1; got {version}.")
    return f"{name_folder(name)}{version_text(version)}/"


def version_text(version: int) -> str:
    """Return a version as it is written in keys: ``v000001``."""
    return f"v{version:06d}"


def release_key(name: str, version: int, path: str) -> str:
    """Return the key of one file of a release."""
    return version_folder(name, version) + checked_path(path)


def manifest_key(name: str, version: int) -> str:
    """Return the key whose presence makes a release exist."""
    return version_folder(name, version) + MANIFEST


def claims_folder(name: str) -> str:
    """Return the folder of a name's claims, with its slash."""
    return f"{name_folder(name)}claims/"


def identity_key(name: str) -> str:
    """Return the key of the record that says which table a name identifies."""
    return f"{claims_folder(name)}identity.json"


def access_key(name: str, run_id: str) -> str:
    """Return the key of the small object a run writes and removes to learn whether it may write."""
    return f"{claims_folder(name)}access-{checked_run(run_id)}.json"


def owner_key(name: str, version: int) -> str:
    """Return the key that says who may write a version."""
    return f"{claims_folder(name)}{version_text(version)}/{_OWNER}"


def heir_key(name: str, version: int, token: str) -> str:
    """Return the key of the record that says who continues a run's claim."""
    return f"{claims_folder(name)}{version_text(version)}/{_HEIR}{checked_run(token)}.json"


def is_owner(place: Place) -> bool:
    """Return whether a place holds an owner or an heir of a claim."""
    return place.kind == "claim" and (place.path == _OWNER or place.path.startswith(_HEIR))


def decision_key(name: str, version: int) -> str:
    """Return the key that says what became of a claim."""
    return f"{claims_folder(name)}{version_text(version)}/{_DECISION}"


def rejected_folder(name: str, run_id: str) -> str:
    """Return the folder of a run that failed a gate, with its slash."""
    return f"{name_folder(name)}rejected/{checked_run(run_id)}/"


def audits_folder(name: str, version: int) -> str:
    """Return the key prefix of a version's audits: beside the releases, whose folders hold nothing but their own files."""
    return f"{name_folder(name)}audits/{version_text(version)}/"


def audit_key(name: str, version: int, audit_id: str, path: str) -> str:
    """Return the key of one file of an audit."""
    return f"{audits_folder(name, version)}{checked_run(audit_id)}/{checked_path(path)}"


def comparison_key(name: str, run_id: str, path: str) -> str:
    """Return the key of one file of a comparison of synthesizers."""
    return f"{name_folder(name)}comparisons/{checked_run(run_id)}/{checked_path(path)}"


def holdouts_folder(holdout: str) -> str:
    """Return the folder of a holdout's queries, with its slash; of the first half of its name, the prefix of all such folders.

    No release can be named so: names hold no underscore.
    """
    if not re.fullmatch(r"[0-9a-f]{32}(-[0-9a-f]{16})?", holdout):
        raise StoreError(f"name of holdout must be 32 and 16 hexadecimal digits; got {holdout!r}.")
    return f"_holdouts/{holdout}/" if "-" in holdout else f"_holdouts/{holdout}-"


def holdout_key(holdout: str, number: int) -> str:
    """Return the key of one question to a holdout, counted from 1."""
    return f"{holdouts_folder(holdout)}{number:08d}.json"


def simulation_key(name: str, run_id: str, path: str) -> str:
    """Return the key of one file of a simulation: beside the releases, as audits are."""
    return f"{name_folder(name)}simulations/{checked_run(run_id)}/{checked_path(path)}"


def is_run(text: str) -> bool:
    """Return whether a text can be the id of a run."""
    return _RUN.fullmatch(text) is not None


def checked_run(run_id: str) -> str:
    """Return a run id if it is valid in a key."""
    if not is_run(run_id):
        raise StoreError(f"run id or token of release must be letters, digits, dots and dashes; got {run_id!r}.")
    return run_id


def checked_path(path: str) -> str:
    """Return a path inside a release if it stays inside it."""
    if "\\" in path or not path.isprintable() or any(part in ("", ".", "..") for part in path.split("/")):
        raise StoreError(f"path of release file must be relative, without empty parts or '..'; got {path!r}.")
    return path


def place_of(key: str) -> Place | None:
    """Read a key: the reverse of the functions above.

    Returns
    -------
    Place or None
        None where the key is none of ours.
    """
    name, _, rest = key.partition("/")
    if not rest or not re.fullmatch(NAME_PATTERN, name):
        return None
    first, _, path = rest.partition("/")
    version = _read_version(first)
    if version is not None and path:
        return Place(name, "release", version, path)
    if first == "claims":
        claimed = _read_version(path.partition("/")[0])
        return Place(name, "other" if claimed is None else "claim", claimed, path.partition("/")[2])
    return Place(name, "other", None, rest)


def _read_version(text: str) -> int | None:
    match = _VERSION.fullmatch(text)
    number = int(match[1]) if match else 0
    # v0000001 is not how we write 1: a key that we would not make is not ours
    return number if number and version_text(number) == text else None
