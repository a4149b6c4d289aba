"""The SPEC's sections of single outcomes: kind, law and range."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tasks.contract.labels import Label
from tasks.contract.spec.section import Section


class OutcomeSpec(Section):
    """The outcome column NAME."""

    kind: Literal["auto", "binary", "continuous", "count", "survival"] = Field(
        "auto", description='kind of the outcome; the same key as roles.outcome_kind. "survival": the column is a time, and event is needed'
    )
    law: str = Field(
        "auto",
        min_length=1,
        description='law of the outcome around its mean; docs/methods.md lists them, "auto" chooses by cross-validated CRPS',
    )
    range: tuple[float, float] | None = Field(
        None, description="lowest and highest value; the same key as mechanisms.outcome_range", examples=[[-50.0, 50.0]]
    )

    event: str | None = Field(
        None, min_length=1, description="of a time to event: column that holds 1 for an event and 0 for censoring", examples=["status"]
    )
    cause: Label | None = Field(
        None,
        description="of a time to event with competing causes: label of the events of interest; 0 or censored is then censoring, every "
        "other label another cause, and all of them are kept",
        examples=["relapse"],
    )
    horizon: float | None = Field(None, gt=0.0, description="of a time to event: time that means are restricted to", examples=[1000.0])
    times: tuple[float, ...] = Field(
        (),
        max_length=10,
        description="of a time to event: times in (0, horizon] whose survival probabilities are kept; at most 10",
        examples=[[365.0, 730.0]],
    )

    @model_validator(mode="after")
    def _ordered(self) -> OutcomeSpec:
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError("range must be [low, high] with low < high")
        return self

    @model_validator(mode="after")
    def _of_a_time(self) -> OutcomeSpec:
        keys = (("event", self.event), ("cause", self.cause), ("horizon", self.horizon), ("times", self.times or None))
        given = [name for name, value in keys if value is not None]
        if self.kind != "survival":
            if given:
                raise ValueError(f'{given[0]} must be left out where kind is not "survival"; got a value')
            return self
        for name, value in (("event", self.event), ("horizon", self.horizon)):
            if value is None:
                raise ValueError(f'{name} must be given where kind is "survival"; got nothing')
        if self.law != "auto" or self.range is not None:
            raise ValueError('law and range must be left out where kind is "survival"; got a value')
        wrong = [time for time in self.times if self.horizon is not None and not 0.0 < time <= self.horizon]
        if wrong:
            raise ValueError(f"times must be in (0, horizon]; got {wrong[0]:g}")
        return self
