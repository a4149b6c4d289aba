"""The SPEC's section of what is drawn."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from tasks.contract.conditions import Condition, parse_condition
from tasks.contract.spec.section import Section, never_together


class ReleaseSpec(Section):
    """Size and form of the release."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                never_together(draws="balanced", mode="full"),
                never_together(include_nuisances=True, mode="full"),
                never_together(unchanged="skip", seed_from="run"),
            ]
        }
    )

    rows: int = Field(10_000, ge=1, le=1_000_000_000, description="released rows of each copy")
    copies: int = Field(1, ge=1, le=100, description="synthetic tables; with more than one, each is fitted to a Bayesian bootstrap draw")
    mode: Literal["hybrid", "full"] = Field(
        "hybrid", description="hybrid: W from the synthesizer, A and Y from the mechanisms; full: all from the synthesizer, as a baseline"
    )
    part_rows: int = Field(100_000, ge=100, description="most rows of one Parquet part")
    draws: Literal["iid", "balanced"] = Field(
        "iid", description="iid: rows are independent; balanced: treatments and outcomes have almost no sampling variance in the effect"
    )
    include_nuisances: bool = Field(
        False,
        description="add the columns waymint_g, waymint_q0 and waymint_q1 and the file mechanisms.json; 'waymint simulate' can use them. "
        "Of a time to event waymint_q are restricted means, waymint_s1_0, ... S(t) of the declared times by arm, and there is no such file",
    )
    complete_outcomes: bool = Field(
        False, description="release an outcome in every row where roles.missing_outcome keeps rows without one; else as many are missing"
    )
    keep_models: bool = Field(
        False,
        description="keep the fitted models in the release, encrypted with your key: 'waymint more' draws from them without the source",
    )
    where: str = Field(
        "",
        max_length=1_000,
        description="condition on covariates that every row meets; models of the whole source are calibrated to the part that meets it",
        examples=["age > 60 and sex == 'f'"],
    )
    seed_from: Literal["spec", "run"] = Field(
        "spec",
        description="spec: the same SPEC gives the same bytes; run: each run draws anew with a seed of its own, which the manifest names",
    )
    unchanged: Literal["publish", "skip"] = Field(
        "publish",
        description="where source, SPEC and code are those of the latest version: publish its bytes again as a new version, or skip",
    )

    stream: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="stream of random numbers that rows are drawn with: another one gives other rows of the same models; "
        "'waymint more' counts it up",
    )

    @property
    def condition(self) -> Condition | None:
        """The condition that rows meet; None where all rows do."""
        return parse_condition(self.where) if self.where else None

    @model_validator(mode="after")
    def _check_condition(self) -> ReleaseSpec:
        if self.where:
            parse_condition(self.where)
            if self.mode == "full":
                raise ValueError('where needs mode "hybrid": in mode "full" nothing is calibrated')
        return self

    @model_validator(mode="after")
    def _check_repetition(self) -> ReleaseSpec:
        if self.unchanged == "skip" and self.seed_from == "run":
            raise ValueError('unchanged "skip" needs seed_from "spec": with "run" every run draws other rows')
        return self

    @model_validator(mode="after")
    def _check_mode(self) -> ReleaseSpec:
        if self.draws == "balanced" and self.mode == "full":
            raise ValueError('draws "balanced" needs mode "hybrid": in mode "full" treatment and outcome are not drawn from mechanisms')
        if self.include_nuisances and self.mode == "full":
            raise ValueError('include_nuisances needs mode "hybrid": in mode "full" no mechanism is known')
        return self
