"""Fields of laws' records: plain JSON that a release carries."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.nuisance.design import CategoryTerm, Design, NumericTerm

Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Plain(BaseModel):
    """Base of all records: frozen, no unknown keys, no conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class NumericRecord(Plain):
    """One numeric covariate of a design."""

    column: str
    centre: Number
    scale: Positive
    fill: Number
    low: Number
    high: Number
    missing: Share | None
    square: list[Number] | None = Field(min_length=2, max_length=2)


class CategoryRecord(Plain):
    """One category of a design."""

    column: str
    levels: list[str | None]
    shares: list[Share]

    @model_validator(mode="after")
    def _even(self) -> CategoryRecord:
        if len(self.levels) != len(self.shares):
            raise ValueError("levels and shares of a category must be equally many")
        return self


class DesignRecord(Plain):
    """A design."""

    numeric: list[NumericRecord]
    category: list[CategoryRecord]


def numeric_records(design: Design) -> list[NumericRecord]:
    """Return the records of a design's numeric terms."""
    records = []
    for name, centre, scale, fill, low, high, missing, square in design.numeric:
        pair = None if square is None else list(square)
        records.append(NumericRecord(column=name, centre=centre, scale=scale, fill=fill, low=low, high=high, missing=missing, square=pair))
    return records


def category_records(design: Design) -> list[CategoryRecord]:
    """Return the records of a design's categories."""
    return [CategoryRecord(column=term.name, levels=list(term.levels), shares=list(term.shares)) for term in design.category]


def design_record(design: Design) -> DesignRecord:
    """Return the record of a design."""
    return DesignRecord(numeric=numeric_records(design), category=category_records(design))


def read_terms(numeric: list[NumericRecord], category: list[CategoryRecord]) -> Design:
    """Return the design of its terms' records."""
    terms = (
        NumericTerm(
            each.column,
            each.centre,
            each.scale,
            each.fill,
            each.low,
            each.high,
            each.missing,
            None if each.square is None else (each.square[0], each.square[1]),
        )
        for each in numeric
    )
    return Design(tuple(terms), tuple(CategoryTerm(each.column, tuple(each.levels), tuple(each.shares)) for each in category))


def read_design(of: DesignRecord) -> Design:
    """Return the design of a record."""
    return read_terms(of.numeric, of.category)
