"""References: what crosses a Prefect task boundary instead of data."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Ref(BaseModel):
    """A frozen pointer to one object in the workspace or the store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    sha256: str
    bytes: int


class PartitionRef(Ref):
    """One partition of the snapshot, or one drawn part of a release."""

    part: int
    rows: int


class ModelRef(Ref):
    """One fitted model."""


class FileRef(BaseModel):
    """One file of a release, as listed in its manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    rows: int | None
    bytes: int
    sha256: str


class ReleaseRef(BaseModel):
    """One published release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    name: str
    version: int
    sha256: str


class Parent(BaseModel):
    """The release that something was made from.

    Attributes
    ----------
    uri : str
        Of its name's folder in the store.
    name, version : str, int
        Which it is.
    manifest : str
        SHA-256 of its manifest, which holds those of all its files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    name: str
    version: int = Field(ge=1)
    manifest: str
