"""The whole SPEC: the parameter of every flow."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tasks.contract.spec.augment import AugmentSpec
from tasks.contract.spec.compare import CompareSpec
from tasks.contract.spec.covariates import CovariatesSpec
from tasks.contract.spec.engine import EngineSpec
from tasks.contract.spec.gates import GatesSpec
from tasks.contract.spec.labels import AboutSpec, LabelOrText
from tasks.contract.spec.mechanisms import MechanismsSpec
from tasks.contract.spec.outcomes import OutcomeSpec
from tasks.contract.spec.release import ReleaseSpec
from tasks.contract.spec.roles import DeclaredRoles, RolesSpec, SurvivalRoles
from tasks.contract.spec.section import Section
from tasks.contract.spec.simulate import SimulateSpec
from tasks.contract.spec.source import SourceSpec
from tasks.contract.spec.store import StoreSpec

NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$"
Purpose = Literal["release", "audit", "compare", "simulate", "augment"]
#: With few rows one assignment to folds moves the estimate by up to 0.2 standard errors; with many it barely matters.
SMALL, REPEATS = 2_000, 3


class Spec(Section):
    """A whole SPEC: the input of every command that runs a flow."""

    name: str = Field(
        pattern=NAME_PATTERN, description="name of the release in the store: lower case letters, digits, dashes", examples=["trial"]
    )
    seed: int = Field(0, ge=0, lt=2**63, description="random seed; the same SPEC, source and packages give the same bytes", examples=[1])
    source: SourceSpec
    roles: RolesSpec
    covariates: CovariatesSpec = CovariatesSpec()
    mechanisms: MechanismsSpec = MechanismsSpec()
    outcomes: dict[str, OutcomeSpec] = Field(default_factory=dict, description="declarations for an outcome, by the name of its column")
    labels: dict[str, LabelOrText] = Field(default_factory=dict, description="meaning of columns, by the name of the column")
    about: AboutSpec = AboutSpec()
    release: ReleaseSpec = ReleaseSpec()
    gates: GatesSpec = GatesSpec()
    store: StoreSpec = StoreSpec()
    engine: EngineSpec = EngineSpec()
    compare: CompareSpec = CompareSpec()
    simulate: SimulateSpec = SimulateSpec()
    augment: AugmentSpec = AugmentSpec()

    @field_validator("name", mode="after")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name == "rejected":
            raise ValueError("'rejected' is a reserved name")
        return name

    @model_validator(mode="after")
    def _clusters_need_mechanisms(self) -> Spec:
        if self.roles.cluster is not None and self.release.mode == "full":
            raise ValueError('roles.cluster needs release.mode "hybrid": in mode "full" rows of a cluster have nothing in common but W')
        return self

    @model_validator(mode="after")
    def _one_word_on_the_outcome(self) -> Spec:
        unknown = sorted(set(self.outcomes) - set(self.roles.outcome_columns))
        if unknown:
            listed = ", ".join(f"'{name}'" for name in self.roles.outcome_columns)
            key = "outcomes" if self.roles.outcomes else "outcome"
            raise ValueError(f"outcomes must be named in roles.{key}, {listed}; got '{unknown[0]}'")
        declared, kind = self.outcomes.get(self.roles.outcome, OutcomeSpec()), self.roles.outcome_kind
        if "auto" not in (declared.kind, kind) and declared.kind != kind:
            raise ValueError(f"outcomes.{self.roles.outcome}.kind must be that of roles.outcome_kind, '{kind}'; got '{declared.kind}'")
        ranged = self.mechanisms.outcome_range
        if None not in (declared.range, ranged) and declared.range != ranged:
            raise ValueError(f"outcomes.{self.roles.outcome}.range must be that of mechanisms.outcome_range, or stand alone")
        return self

    @model_validator(mode="after")
    def _events_apart(self) -> Spec:
        declared = self.outcome
        if declared.kind != "survival":
            return self
        if declared.event is None:
            raise ValueError(
                f"outcomes.{self.roles.outcome} must name event and horizon where roles.outcome_kind is 'survival'; got neither"
            )
        for role, names in self.roles.columns_by_role.items():
            if declared.event in names:
                raise ValueError(f"event of outcomes.{self.roles.outcome} must be a column without another role; got one of roles.{role}")
        if self.roles.event is not None:
            raise ValueError(f"roles.event must be left out of a time to event; outcomes.{self.roles.outcome}.event names the column")
        return self

    @model_validator(mode="after")
    def _outcomes_released(self) -> Spec:
        roles, gaps = self.roles, self.roles.missing_outcome == "ipcw"
        if self.release.complete_outcomes and not gaps:
            raise ValueError('release.complete_outcomes needs roles.missing_outcome "ipcw": without it no outcome is missing')
        if self.release.mode == "full":
            for name, wrong in (("release.complete_outcomes", self.release.complete_outcomes), ("roles.visits", roles.visits)):
                if wrong:
                    raise ValueError(f'{name} needs release.mode "hybrid": in mode "full" missing cells are the synthesizer\'s')
        if (roles.outcomes or gaps) and self._has_times():
            wish = "roles.outcomes" if roles.outcomes else 'roles.missing_outcome "ipcw"'
            raise ValueError(f"kind of outcomes must be another than 'survival' beside {wish}: such releases are not built")
        return self

    def _has_times(self) -> bool:
        return any(self.outcome_of(name).kind == "survival" for name in self.roles.outcome_columns)

    @property
    def outcome(self) -> OutcomeSpec:
        """What is declared of the outcome, here or under its older keys."""
        declared, kind = self.outcomes.get(self.roles.outcome, OutcomeSpec()), self.roles.outcome_kind
        merged = {"kind": kind if declared.kind == "auto" else declared.kind}
        return declared.model_copy(update=merged if declared.range else {**merged, "range": self.mechanisms.outcome_range})

    def outcome_of(self, name: str) -> OutcomeSpec:
        """Return what is declared of one of several outcomes."""
        return self.outcome if name == self.roles.outcome else self.outcomes.get(name, OutcomeSpec())

    @property
    def declared_roles(self) -> RolesSpec:
        """The roles, with the kinds, and of a time to event the column of events, that ``outcomes`` declares."""
        outcome = self.outcome
        if outcome.kind == "survival" and outcome.event is not None:
            given = self.roles.model_dump() | {"outcome_kind": outcome.kind}
            return SurvivalRoles(**given, column_of_events=outcome.event, cause=outcome.cause)
        kinds = {name: self.outcome_of(name).kind for name in self.roles.outcomes[1:]}
        return DeclaredRoles.model_validate(self.roles.model_dump() | {"outcome_kind": outcome.kind, "further_kinds": kinds})

    @property
    def main(self) -> str:
        """The estimator of the ATE that the release carries: the one its outcome mechanism is targeted at."""
        return "adaptive" if self.mechanisms.targeting == "adaptive" else "tmle"

    @property
    def split_seed(self) -> int:
        """Seed of the split into training rows and holdout."""
        return self.seed if self.source.holdout_seed is None else self.source.holdout_seed

    def drawn_anew(self, draw: str) -> Spec:
        """Return the SPEC of one run among many that each draw other rows: another seed, the same holdout.

        Parameters
        ----------
        draw : str
            What names the run; the same name gives the same seed.
        """
        digest = hashlib.sha256(f"{self.seed}\0{draw}".encode()).digest()
        source = self.source.model_copy(update={"holdout_seed": self.split_seed})
        return self.model_copy(update={"seed": int.from_bytes(digest[:8], "little") >> 1, "source": source})

    def repeats(self, rows: int) -> int:
        """Return how often a source of so many rows is cross-fitted."""
        repeats = self.mechanisms.repeats
        return repeats if repeats != "auto" else REPEATS if rows <= SMALL else 1

    def digest(self, purpose: Purpose = "release") -> str:
        """Return the digest of everything that decides the bytes of what a flow makes.

        The store and the engine change where and how, never what; they are left out, so a run can be
        resumed with other workers or against another store. So are the sections of other flows, and what to do with bytes that
        are published already.

        Parameters
        ----------
        purpose : str
            Name of the flow.

        Returns
        -------
        str
            32 hexadecimal digits.
        """
        others = {"compare", "simulate", "augment"} - {purpose}
        left_out: dict[str, Any] = dict.fromkeys({"store", "engine"} | others, True)
        body = self.model_dump(mode="json", exclude={**left_out, "release": {"unchanged"}})
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]
