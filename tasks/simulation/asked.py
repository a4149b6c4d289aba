"""What a simulation is asked where its law is that of a published release."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from tasks.contract.spec import Spec


class Parent(BaseModel):
    """The release that a law comes from.

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


class FromRelease(Spec):
    """A SPEC together with the release that its source stands for: both decide what is simulated.

    Attributes
    ----------
    parent : Parent
    """

    parent: Parent
