"""The SPEC's section of the source table: where it lies, how it is read and cut."""

from __future__ import annotations

import codecs
import datetime as dt
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from tasks.contract.spec.section import Section


def _text_of_date(value: object) -> object:
    """Write a date as ISO text: TOML and YAML have dates of their own."""
    return value.isoformat() if isinstance(value, dt.date) else value


Value = Annotated[str | int | float, BeforeValidator(_text_of_date, json_schema_input_type=str | int | float)]


class CsvSpec(Section):
    """How a CSV file is written. Keys that are left out are detected and printed."""

    separator: str | None = Field(None, min_length=1, max_length=1, description="character between cells", examples=[";"])
    decimal: Literal[".", ","] | None = Field(None, description="decimal mark", examples=[","])
    thousands: Literal[",", ".", "'", " ", ""] | None = Field(
        None, description='mark between groups of three digits; "" for none', examples=["."]
    )
    encoding: str | None = Field(None, description="encoding, by its name in Python", examples=["cp1252"])
    quote: Literal['"', "'", ""] | None = Field(None, description='mark around cells that contain a separator; "" for none', examples=['"'])
    skip: int | None = Field(None, ge=0, description="lines before the header", examples=[2])
    dates: dict[str, str] = Field(default_factory=dict, description="formats of date columns, by column", examples=[{"visit": "%d.%m.%Y"}])

    @field_validator("encoding", mode="after")
    @classmethod
    def _is_codec(cls, encoding: str | None) -> str | None:
        if encoding is not None:
            try:
                codecs.lookup(encoding)
            except LookupError:
                raise ValueError(f"encoding must be one that Python reads, as utf-8 or cp1252; got '{encoding}'") from None
        return encoding

    @field_validator("dates", mode="after")
    @classmethod
    def _have_days(cls, dates: dict[str, str]) -> dict[str, str]:
        for name, form in dates.items():
            if "%" not in form:
                raise ValueError(f'dates.{name} must be a format of %-codes such as "%d.%m.%Y"; got {form!r}')
        return dates


class ReadingSpec(Section):
    """Which cells of a table mean missing, and the dialect of CSV files."""

    missing: tuple[str, ...] | None = Field(
        None,
        description="text cells that mean missing (unquoted in CSV); where left out: the list in docs/tables.md, for CSV only",
        examples=[["", "NA", "."]],
    )
    missing_values: dict[str, tuple[Value, ...]] = Field(
        default_factory=dict, description="values that mean missing, by column, quoted or not", examples=[{"bmi": [-99]}]
    )
    csv: Literal["auto"] | CsvSpec = Field("auto", description='dialect of CSV files; "auto" detects it and prints what it detected')

    @property
    def dialect(self) -> CsvSpec:
        """The declared part of the dialect."""
        return CsvSpec() if self.csv == "auto" else self.csv


class SourceSpec(ReadingSpec):
    """Where the table is, how it is read, and how it is split."""

    uri: str = Field(
        min_length=1,
        description="builtin:NAME, a file, a folder, a glob or s3://...; docs/tables.md lists the formats",
        examples=["builtin:nhefs"],
    )
    partition_rows: int = Field(250_000, ge=100, description="rows of one partition; changes memory, and results by rounding only")
    holdout: float = Field(0.3, ge=0.05, le=0.5, description="share of rows that the synthesizer of covariates never sees")
    holdout_seed: int | None = Field(
        None, ge=0, lt=2**63, description="seed of the split into training rows and holdout; where left out: seed", examples=[1]
    )
