"""The SPEC's sections of what people read beside the data: labels of columns, and what the release is about."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from tasks.contract.spec.section import Section


class LabelSpec(Section):
    """What the column NAME means: shown in the codebook and in the metadata of a release. A text alone is its label."""

    label: str = Field("", max_length=500, description="what the column means, in words", examples=["Age at entry"])
    unit: str = Field("", max_length=80, description="unit of a number", examples=["years"])
    values: dict[str, str] = Field(
        default_factory=dict, description="what the values mean, by value", examples=[{"f": "female", "m": "male"}]
    )

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"label": value} if isinstance(value, str) else value


#: A label as a SPEC gives it: its schema says that a text alone will do, so that a Prefect server takes one.
LabelOrText = Annotated[LabelSpec, BeforeValidator(lambda value: value, json_schema_input_type=str | LabelSpec)]


class AboutSpec(Section):
    """What a catalogue shows of the release."""

    title: str = Field("", max_length=200, description="title for people; the name where left out", examples=["Rehabilitation trial"])
    description: str = Field(
        "", max_length=5_000, description="what the table is about", examples=["Patients of a rehabilitation clinic, 2022 and 2023."]
    )
    licence: str = Field("", max_length=200, description="licence of the release: an SPDX identifier or a URL", examples=["CC-BY-4.0"])
    creators: tuple[str, ...] = Field((), description="people or bodies to cite", examples=[["Clinic of Example"]])
