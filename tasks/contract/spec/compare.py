"""The SPEC's section of ``waymint compare``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tasks.contract.spec.section import Section

#: Released rows per variant where the SPEC does not say.
ROWS = 10_000
LABEL_PATTERN = r"^[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,38}[A-Za-z0-9.])?$"

Mode = Literal["hybrid", "full"]


class Candidate(Section):
    """One synthesizer of a comparison, with its parameters."""

    name: str = Field(min_length=1, description="name of a synthesizer or plug-in", examples=["forest"])
    params: dict[str, Any] = Field(default_factory=dict, description="parameters of the synthesizer", examples=[{"min_leaf": 30}])
    label: str = Field(
        "", description="name in the comparison, at most 40 characters; empty: the synthesizer's name", examples=["smoother forest"]
    )

    @model_validator(mode="after")
    def _plain(self) -> Candidate:
        if not re.fullmatch(LABEL_PATTERN, self.title):
            raise ValueError("label must be of at most 40 letters, digits, spaces, dots and dashes")
        return self

    @property
    def title(self) -> str:
        """Label, or name where there is none."""
        return self.label or self.name


def _named(value: object) -> object:
    """Let a bare name stand for a synthesizer with its own defaults."""
    return {"name": value} if isinstance(value, str) else value


class CompareSpec(Section):
    """The variants of ``waymint compare``."""

    synthesizers: tuple[Annotated[Candidate, BeforeValidator(_named, json_schema_input_type=str | Candidate)], ...] = Field(
        (Candidate(name="forest"), Candidate(name="copula")), description="synthesizers: names, or tables {name, params, label}"
    )
    modes: tuple[Mode, ...] = Field(("hybrid", "full"), description="modes that each synthesizer runs in")
    seeds: int = Field(
        3, ge=1, le=100, description="runs of each variant, with seed, seed + 1, ...; each has its own holdout, folds and draws"
    )
    rows: int | None = Field(
        None,
        ge=200,
        le=1_000_000,
        description=f"released rows of each variant; where left out: release.rows, at most {ROWS:,}",
        examples=[5_000],
    )

    @model_validator(mode="after")
    def _distinct(self) -> CompareSpec:
        if not self.modes or len(set(self.modes)) < len(self.modes):
            raise ValueError("modes must name at least one mode, and none twice")
        if not self.synthesizers:
            raise ValueError("synthesizers must name at least one")
        titles = [candidate.title for candidate in self.synthesizers]
        if len(set(titles)) < len(titles):
            raise ValueError("synthesizers must differ in name or label; give a label to each table of the same name")
        return self
