"""The SPEC's section of column roles."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tasks.contract.labels import label_text
from tasks.contract.relations import GRAMMAR, Relation, parse_relation
from tasks.contract.spec.section import Section

Label = str | int | float | bool
Kind = Literal["continuous", "integer", "boolean", "categorical", "datetime"]


class RolesSpec(Section):
    """Which column is the treatment, the outcome or a covariate."""

    treatment: str = Field(min_length=1, description="column of the treatment; more than two labels need control", examples=["drug"])
    treated: Label | None = Field(
        1, description="label of the treatment column that means treated, of two labels; beside control it may be left out"
    )
    control: Label | None = Field(
        None, description="label of the reference arm; needed where the treatment has more than two labels (at most 8)", examples=[0]
    )
    outcome: str = Field(min_length=1, description="column of the outcome", examples=["score"])
    outcome_kind: Literal["auto", "binary", "continuous", "count", "survival"] = Field(
        "auto", description='kind of the outcome; "auto" detects all but "survival", which outcomes.NAME describes'
    )
    event: Label | None = Field(
        None, description="label of a two-valued outcome that counts as 1; not needed for 0/1 and yes/no pairs", examples=["died"]
    )
    covariates: Literal["*"] | tuple[str, ...] = Field(
        "*", description='columns that are covariates; "*" means all others', examples=[["age", "sex", "start", "end"]]
    )
    exclude: tuple[str, ...] = Field((), description='columns left out of "*"', examples=[["notes"]])
    id: tuple[str, ...] = Field(
        (), description="columns that name rows: never modelled, released as fresh keys of the same type and length", examples=[["patient"]]
    )
    cluster: str | None = Field(
        None, min_length=1, description="column of the unit that several rows belong to: a person, a village", examples=["village"]
    )
    weight: str | None = Field(
        None, min_length=1, description="column of survey weights; the release is self-weighting", examples=["sampling_weight"]
    )
    strata: tuple[str, ...] = Field(
        (), description="columns of randomisation strata: covariates with levels that folds and standard errors use", examples=[["site"]]
    )
    passengers: tuple[str, ...] = Field(
        (), description="columns drawn after the outcome and not targeted, such as other results", examples=[["adverse_event"]]
    )
    kinds: dict[str, Kind] = Field(
        default_factory=dict,
        description="kinds of covariates and passengers, by column, in place of the detected ones",
        examples=[{"age": "integer"}],
    )
    subgroups: tuple[str, ...] = Field(
        (), description="covariates whose levels define subgroups; the release keeps the effect in each of them", examples=[["sex"]]
    )
    missing_outcome: Literal["error", "drop", "ipcw"] = Field(
        "error", description='what to do with rows without an outcome; "ipcw" (estimate only) keeps and reweights them'
    )
    missing_treatment: Literal["error", "drop"] = Field("error", description="what to do with rows without a treatment")
    max_levels: int = Field(200, ge=2, le=5000, description="most levels a categorical covariate may have")
    relations: tuple[str, ...] = Field(
        (), description=f"relations of covariates that hold in every released row: {GRAMMAR}", examples=[["start <= end"]]
    )

    @model_validator(mode="before")
    @classmethod
    def _beside_control(cls, values: Any) -> Any:
        """Leave ``treated`` open where ``control`` alone is given: then the other labels are the treated ones."""
        if isinstance(values, dict) and values.get("control") is not None and "treated" not in values:
            return {**values, "treated": None}
        return values

    @property
    def declared_relations(self) -> tuple[Relation, ...]:
        """The relations, read."""
        return tuple(relation for text in self.relations for relation in parse_relation(text))

    @field_validator("relations")
    @classmethod
    def _readable(cls, relations: tuple[str, ...]) -> tuple[str, ...]:
        for text in relations:
            parse_relation(text)
        return relations

    @model_validator(mode="after")
    def _distinct(self) -> RolesSpec:
        if self.control is not None and self.treated is not None and label_text(self.control) == label_text(self.treated):
            raise ValueError("control must be another label than treated")
        if self.treatment == self.outcome:
            raise ValueError("treatment and outcome must be two different columns")
        if isinstance(self.covariates, tuple):
            if not self.covariates:
                raise ValueError("covariates must name at least one column")
            if len(set(self.covariates)) != len(self.covariates):
                raise ValueError("covariates must not name a column twice")
            if {self.treatment, self.outcome} & set(self.covariates):
                raise ValueError("covariates must not contain the treatment or the outcome")
        self._refuse_two_roles()
        for text in self.relations:
            self._refuse_other_columns(text)
        return self

    @property
    def event_column(self) -> str | None:
        """The column of events of a time to event; a SPEC declares it in ``outcomes``."""
        return None

    @property
    def cause_of_interest(self) -> Label | None:
        """The label of the events of interest; None where there is one cause."""
        return None

    @property
    def columns_by_role(self) -> dict[str, tuple[str, ...]]:
        """Names of the columns that are declared, by key; "covariates" only where they are listed."""
        return {
            "treatment": (self.treatment,),
            "outcome": (self.outcome,),
            "event": () if self.event_column is None else (self.event_column,),
            "covariates": self.covariates if isinstance(self.covariates, tuple) else (),
            "id": self.id,
            "cluster": () if self.cluster is None else (self.cluster,),
            "weight": () if self.weight is None else (self.weight,),
            "strata": self.strata,
            "passengers": self.passengers,
            "exclude": self.exclude,
        }

    def _refuse_two_roles(self) -> None:
        """Raise ``ValueError`` where a column is named twice."""
        later = {"event", "id", "cluster", "weight", "strata", "passengers"}
        taken: dict[str, str] = {}
        for role, names in self.columns_by_role.items():
            for name in names:
                if name in taken and (role in later or taken[name] in later):
                    twice = "a column twice" if taken[name] == role else f"a column of {taken[name]}"
                    raise ValueError(f"{role} must not name {twice}; got '{name}'")
                taken.setdefault(name, role)
        if self.weight is not None and self.weight in self.kinds:
            raise ValueError(f"kinds must name covariates or passengers; got the weight '{self.weight}'")
        for name in self.strata:
            if self.kinds.get(name, "categorical") not in ("categorical", "boolean"):
                raise ValueError(f"kinds.{name} must be 'categorical' or 'boolean' for a column of strata; got '{self.kinds[name]}'")

    def _refuse_other_columns(self, text: str) -> None:
        """Raise ``ValueError`` where a relation names a column that is no covariate."""
        for name in dict.fromkeys(name for relation in parse_relation(text) for name in relation.columns):
            if name in (self.treatment, self.outcome):
                role = "treatment" if name == self.treatment else "outcome"
                raise ValueError(f"relation '{text}' must name covariates; got the {role} '{name}'")
            others = {*self.exclude, *self.id, self.cluster, self.weight, *self.passengers}
            listed = isinstance(self.covariates, tuple) and name not in (*self.covariates, *self.strata)
            if name in others or listed:
                raise ValueError(f"relation '{text}' must name covariates; got '{name}', which is none")


class SurvivalRoles(RolesSpec):
    """The roles of a table whose outcome is a time to event."""

    column_of_events: str = Field(min_length=1, description="column that holds 1 for an event and 0 for censoring", examples=["died"])

    cause: Label | None = Field(None, description="label of the events of interest, where causes compete", examples=[1])

    @property
    def event_column(self) -> str | None:
        """The column of events."""
        return self.column_of_events

    @property
    def cause_of_interest(self) -> Label | None:
        """The label of the events of interest; None where there is one cause."""
        return self.cause
