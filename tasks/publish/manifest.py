"""The manifest: the record of one release, and the file that makes it exist."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tasks.contract.errors import StoreError
from tasks.contract.refs import FileRef
from tasks.contract.results import Gate
from tasks.publish.layout import MANIFEST, checked_path, is_signature

FORMAT: Literal["waymint-release/1"] = "waymint-release/1"
#: A manifest is read from a store that others may write to: what is larger or deeper was not written by us.
MOST_BYTES = 16 * 2**20
MOST_DEPTH = 40


class Effect(BaseModel):
    """One estimate, as far as a listing shows it."""

    model_config = ConfigDict(extra="allow")

    estimate: float | None = None
    se: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    estimator: str | None = None
    mc_se: float | None = None


class _Origin(BaseModel):
    """Required keys of ``source``."""

    uri: str
    rows: int = Field(ge=0)


class _Truth(BaseModel):
    """Keys of ``effects.truth``."""

    ate: float | None = None
    mc_se: float | None = None
    estimand: str | None = None


class _Shape(BaseModel):
    """The parts of a manifest that commands rely on."""

    source: _Origin
    spec: dict[str, Any]
    effects: dict[str, dict[str, Any] | None] = Field(default_factory=dict)

    @field_validator("effects", mode="after")
    @classmethod
    def _effects(cls, effects: dict[str, dict[str, Any] | None]) -> dict[str, dict[str, Any] | None]:
        for name, group in effects.items():
            if name == "truth":
                _Truth.model_validate(group or {})
            elif group is not None and group.get("ate") is not None:
                Effect.model_validate(group["ate"])
        return effects


class Manifest(BaseModel):
    """What a release is, where it comes from and how good it is.

    Values that JSON can't hold are put right on the way in: NaN and infinities become None, NumPy scalars plain
    numbers, tuples lists. So a manifest that was written and read again equals the first.

    Attributes
    ----------
    name, version : str, int
        Where it is in the store.
    created : str
        UTC, ISO 8601.
    run, profile : str
        Id of the run that made it; what it was made as (e.g. ``"release"``, ``"augment"``).
    spec, source, code, packages, seed
        Everything that decided the bytes.
    files : tuple of FileRef
        Every file of the release but the manifest.
    table : dict
        The columns; ``schema`` in JSON.
    effects, fidelity, privacy, overlap : dict
        Measurements.
    augmentation : dict
        Where rows were added, how many, from whose outcomes, and what that is worth; empty but for profile "augment".
    metrics : dict
        What the run cost: ``seconds``, ``rows_per_second``, ``peak_mib``, ``stages``; empty in manifests of older versions.
    gates : tuple of Gate
        Verdicts.
    parents : tuple
        Releases this one was made from.
    warnings : tuple of str
        What a user should know before using it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    format: Literal["waymint-release/1"] = FORMAT
    name: str
    version: int = Field(ge=1)
    created: str
    run: str
    profile: str = "release"
    spec: dict[str, Any]
    source: dict[str, Any]
    code: dict[str, Any]
    packages: dict[str, str]
    seed: int
    files: tuple[FileRef, ...]
    table: dict[str, Any] = Field(alias="schema")
    effects: dict[str, Any] = Field(default_factory=dict)
    fidelity: dict[str, Any] = Field(default_factory=dict)
    privacy: dict[str, Any] = Field(default_factory=dict)
    overlap: dict[str, Any] = Field(default_factory=dict)
    augmentation: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)
    gates: tuple[Gate, ...] = ()
    parents: tuple[Any, ...] = ()
    warnings: tuple[str, ...] = ()

    @field_validator(
        "spec", "source", "code", "table", "effects", "fidelity", "privacy", "overlap", "augmentation", "metrics", "parents", mode="before"
    )
    @classmethod
    def _plain(cls, value: object) -> object:
        return plain(value)

    @field_validator("gates", mode="after")
    @classmethod
    def _plain_gates(cls, gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
        return tuple(Gate.model_validate(plain(gate.model_dump())) for gate in gates)

    @field_validator("files", mode="after")
    @classmethod
    def _inside(cls, files: tuple[FileRef, ...]) -> tuple[FileRef, ...]:
        paths = [checked_path(file.path) for file in files]
        if len(set(paths)) != len(paths):
            raise ValueError("files must not list a path twice")
        if any(path == MANIFEST or is_signature(path) for path in paths):
            raise ValueError("files must not list the manifest or a signature: neither can hold its own digest")
        return tuple(sorted(files, key=lambda file: file.path))

    @property
    def rows(self) -> int:
        """Rows of all parts together."""
        return sum(file.rows or 0 for file in self.files)

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return self.model_dump(mode="json")

    def to_bytes(self) -> bytes:
        """Return canonical JSON: sorted keys, two spaces, one newline at the end; no NaN."""
        text = json.dumps(plain(self.as_dict()), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()

    def sha256(self) -> str:
        """Return the digest of :meth:`to_bytes`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def read_manifest(data: bytes, owner: str = "release") -> Manifest:
    """Read a manifest.

    Parameters
    ----------
    data : bytes
        JSON. Fields that this version does not know are left out: the format grows by adding.
    owner : str
        What it belongs to, for the error's text.

    Returns
    -------
    Manifest

    Raises
    ------
    StoreError
        If it is no JSON object, too large or too deep, of another format, or incomplete.
    """
    if len(data) > MOST_BYTES:
        raise StoreError(f"manifest of {owner} must have at most {MOST_BYTES} bytes; got {len(data)}.", _DAMAGED)
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise StoreError(f"manifest of {owner} must be JSON; got {len(data)} bytes that are not.", _DAMAGED) from None
    if _deeper(values, MOST_DEPTH):
        raise StoreError(f"manifest of {owner} must be nested at most {MOST_DEPTH} deep; got more.", _DAMAGED)
    form = values.get("format") if isinstance(values, dict) else None
    if form != FORMAT:
        hint = "A newer waymint may have written it." if str(form).startswith("waymint-release/") else _DAMAGED
        raise StoreError(f"format of manifest of {owner} must be '{FORMAT}'; got {form!r:.80}.", hint)
    keys = {field.alias or key for key, field in Manifest.model_fields.items()}
    try:
        manifest = Manifest.model_validate({key: value for key, value in values.items() if key in keys})
        _Shape.model_validate(values)
    except ValidationError as error:
        faults = sorted({".".join(str(part) for part in fault["loc"]) for fault in error.errors(include_url=False)})
        raise StoreError(f"manifest of {owner} must be complete; got faults in {', '.join(faults)}.", _DAMAGED) from None
    return manifest


@contextlib.contextmanager
def odd_values(owner: str) -> Iterator[None]:
    """Tell what an odd value of a manifest leads to as one error, for the length of the block: who can write to a store can write any.

    Put it around code that only reads a manifest: elsewhere it would hide faults of our own.

    Raises
    ------
    StoreError
        In place of any error that a value of another type or shape leads to.
    """
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        message = f"manifest of {owner} must hold values of the usual kinds; got one that leads to {type(error).__name__}."
        raise StoreError(message, _DAMAGED) from None


def _deeper(value: object, depth: int) -> bool:
    """Return whether a JSON value is nested deeper, without recursion of its own depth."""
    level: list[Any] = [value]
    for _ in range(depth):
        level = [inner for each in level if isinstance(each, dict | list) for inner in (each.values() if isinstance(each, dict) else each)]
        if not level:
            return False
    return any(isinstance(each, dict | list) for each in level)


def plain(value: object) -> Any:
    """Return a value as JSON can hold it: NaN and infinities None, NumPy scalars numbers, sequences lists."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


_DAMAGED = "The file may be damaged or not be ours; 'waymint releases verify' tells about the rest."
