"""The SPEC's section of column roles."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from tasks.contract.labels import label_text
from tasks.contract.relations import GRAMMAR, Relation, parse_relation
from tasks.contract.spec.section import Section

Label = str | int | float | bool
Kind = Literal["continuous", "integer", "boolean", "categorical", "datetime"]


def _one_of_two_keys(schema: dict[str, Any]) -> None:
    """Ask for outcome or outcomes, where a schema asks for outcome: validators that know the schema alone take either."""
    schema["required"].remove("outcome")
    schema["anyOf"] = [{"required": ["outcome"]}, {"required": ["outcomes"]}]


class RolesSpec(Section):
    """Which column is the treatment, the outcome or a covariate."""

    model_config = ConfigDict(json_schema_extra=_one_of_two_keys)

    treatment: str = Field(min_length=1, description="column of the treatment; more than two labels need control", examples=["drug"])
    treated: Label | None = Field(
        1, description="label of the treatment column that means treated, of two labels; beside control it may be left out"
    )
    control: Label | None = Field(
        None, description="label of the reference arm; needed where the treatment has more than two labels (at most 8)", examples=[0]
    )
    outcome: str = Field(min_length=1, description="column of the outcome; of several the first", examples=["score"])
    outcomes: tuple[str, ...] = Field(
        (),
        description="columns of several outcomes, in place of outcome; each is targeted, all are drawn together",
        examples=[["score", "late"]],
    )
    visits: bool = Field(
        False, description="outcomes are visits in their order: neighbours hang together, and who is missing once stays missing"
    )
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
        "error",
        description='what to do with rows without an outcome; "ipcw" keeps them, weights by the chance to be observed, '
        "and releases as many missing cells",
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

    @model_validator(mode="before")
    @classmethod
    def _first_of_several(cls, values: Any) -> Any:
        """Let the first of several outcomes stand for them where one is looked for."""
        if not isinstance(values, dict) or not isinstance(values.get("outcomes"), list | tuple) or not values["outcomes"]:
            return values
        several = tuple(values["outcomes"])
        if values.get("outcome", several[0]) != several[0]:
            raise ValueError("outcome and outcomes must not both be given")
        return {**values, "outcome": several[0], "outcomes": several if len(several) > 1 else ()}

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        """Names of all outcomes, in the order in which they are declared."""
        return self.outcomes or (self.outcome,)

    def of_outcome(self, name: str) -> RolesSpec:
        """Return the roles with one outcome, for decisions on its column: kind and event are declared of the first alone."""
        further = {} if name == self.outcome else {"outcome_kind": "auto", "event": None}
        return self.model_copy(update={"outcome": name, "outcomes": (), **further})

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
        if self.treatment in self.outcome_columns:
            raise ValueError("treatment and outcome must be two different columns")
        self._refuse_no_visits()
        if isinstance(self.covariates, tuple):
            if not self.covariates:
                raise ValueError("covariates must name at least one column")
            if len(set(self.covariates)) != len(self.covariates):
                raise ValueError("covariates must not name a column twice")
            if {self.treatment, *self.outcome_columns} & set(self.covariates):
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
            "outcomes": self.outcomes[1:],
            "event": () if self.event_column is None else (self.event_column,),
            "covariates": self.covariates if isinstance(self.covariates, tuple) else (),
            "id": self.id,
            "cluster": () if self.cluster is None else (self.cluster,),
            "weight": () if self.weight is None else (self.weight,),
            "strata": self.strata,
            "passengers": self.passengers,
            "exclude": self.exclude,
        }

    def _refuse_no_visits(self) -> None:
        """Raise ``ValueError`` where an outcome is named twice, or an order is declared of one outcome alone."""
        for name in self.outcomes:
            if self.outcomes.count(name) > 1:
                raise ValueError(f"outcomes must not name a column twice; got '{name}'")
        if self.visits and not self.outcomes:
            raise ValueError("visits needs two outcomes or more: roles.outcomes names them in the order of the visits")

    def _refuse_two_roles(self) -> None:
        """Raise ``ValueError`` where a column is named twice."""
        later = {"outcomes", "event", "id", "cluster", "weight", "strata", "passengers"}
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
            if name in (self.treatment, *self.outcome_columns):
                role = "treatment" if name == self.treatment else "outcome"
                raise ValueError(f"relation '{text}' must name covariates; got the {role} '{name}'")
            others = {*self.exclude, *self.id, self.cluster, self.weight, *self.passengers}
            listed = isinstance(self.covariates, tuple) and name not in (*self.covariates, *self.strata)
            if name in others or listed:
                raise ValueError(f"relation '{text}' must name covariates; got '{name}', which is none")


class DeclaredRoles(RolesSpec):
    """The roles with the kinds of further outcomes, which a SPEC declares in sections of their own."""

    further_kinds: dict[str, Literal["auto", "binary", "continuous", "count"]] = Field(default_factory=dict)

    def of_outcome(self, name: str) -> RolesSpec:
        """Return the roles with one outcome; see :meth:`RolesSpec.of_outcome`."""
        one = super().of_outcome(name)
        return one.model_copy(update={"outcome_kind": self.further_kinds[name]}) if name in self.further_kinds else one


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
