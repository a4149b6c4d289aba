"""The SPEC: what a user asks for. The same model is the parameter of every flow."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from tasks.contract.augmentation import AugmentSpec
from tasks.contract.comparison import CompareSpec
from tasks.contract.errors import SpecError
from tasks.contract.section import Off, Section
from tasks.contract.simulation import SimulateSpec

NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$"
Purpose = Literal["release", "audit", "compare", "simulate", "augment"]
Label = str | int | float | bool
# With few rows one assignment to folds moves the estimate by up to 0.2 standard errors; with many it hardly does.
SMALL, REPEATS = 2_000, 3
# The synthesizer "auto" changes at this many rows: trees that are walked row by row give way to compiled ones fitted in one pass.
AUTO, MANY_ROWS = "auto", 1_000_000
Kind = Literal["continuous", "integer", "boolean", "categorical", "datetime"]


class SourceSpec(Section):
    """Where the table comes from and how it is cut."""

    uri: str = Field(min_length=1, description="builtin:NAME, a file, a folder, a glob or s3://... of Parquet or CSV")
    partition_rows: int = Field(250_000, ge=100, description="rows of one partition; bounds memory, not results")
    holdout: float = Field(0.3, ge=0.05, le=0.5, description="share of rows the covariate synthesizer never sees")


class RolesSpec(Section):
    """Which column plays which part."""

    treatment: str = Field(min_length=1)
    treated: Label = Field(1, description="the label that means 'treated'")
    outcome: str = Field(min_length=1)
    outcome_kind: Literal["auto", "binary", "continuous", "count"] = "auto"
    covariates: Literal["*"] | tuple[str, ...] = Field("*", description='a list of columns, or "*" for all others')
    exclude: tuple[str, ...] = Field((), description='columns left out of "*"')
    kinds: dict[str, Kind] = Field(default_factory=dict, description="overrides of detected covariate kinds")
    subgroups: tuple[str, ...] = Field((), description="declared GATE columns")
    missing_outcome: Literal["error", "drop"] = "error"
    missing_treatment: Literal["error", "drop"] = "error"
    max_levels: int = Field(200, ge=2, le=5000, description="most levels a categorical covariate may have")

    @model_validator(mode="after")
    def _distinct(self) -> RolesSpec:
        if self.treatment == self.outcome:
            raise ValueError("treatment and outcome must be two different columns")
        if isinstance(self.covariates, tuple):
            if not self.covariates:
                raise ValueError("covariates must name at least one column")
            if len(set(self.covariates)) != len(self.covariates):
                raise ValueError("covariates must not name a column twice")
            if {self.treatment, self.outcome} & set(self.covariates):
                raise ValueError("covariates must not contain the treatment or the outcome")
        return self


class CovariatesSpec(Section):
    """The synthesizer of W."""

    synthesizer: str = Field("auto", description='a synthesizer\'s name; "auto": forest, and chain for sources of 1,000,000 rows and more')
    params: dict[str, Any] = Field(default_factory=dict)
    fit_rows: int | None = Field(
        None,
        ge=200,
        description="most seed rows the synthesizer is fitted on (a hash sample); empty: 50,000, all where it reads them in parts",
    )

    @model_validator(mode="after")
    def _params_are_of_one(self) -> CovariatesSpec:
        if self.params and self.synthesizer == AUTO:
            raise ValueError("params need a synthesizer that is named")
        return self

    def settled(self, rows: int) -> CovariatesSpec:
        """Return the section with the synthesizer that "auto" is for a source of so many rows."""
        name = "chain" if rows >= MANY_ROWS else "forest"
        return self.model_copy(update={"synthesizer": name}) if self.synthesizer == AUTO else self


class MechanismsSpec(Section):
    """The mechanisms of A and Y."""

    treatment: Literal["randomized", "fitted", "tilted"] = "randomized"
    probability: float = Field(0.5, gt=0, lt=1, description="P(A = 1) of the randomized design")
    tilt: float = Field(1.0, ge=0, le=10, description="factor on logit g of the tilted design")
    learner: str = "stack"
    params: dict[str, Any] = Field(default_factory=dict)
    folds: int = Field(5, ge=2, le=20)
    fit_rows: int = Field(100_000, ge=200, description="most rows a learner is fitted on in one fold (a hash sample)")
    repeats: Literal["auto"] | int = Field("auto", description='cross-fittings averaged; "auto" is 3 up to 2,000 rows and 1 above')
    propensity: float | None = Field(None, gt=0, lt=1, description="known P(treated), as in a trial; fitted where it is not given")
    truncation: Literal["auto"] | float = Field("auto", description='propensities are kept in [d, 1-d]; "auto" is Gruber et al. 2022')
    targeting: Literal["adaptive", "full"] = Field("adaptive", description="whether poor overlap may weaken targeting")
    targets: tuple[Literal["ate", "att"], ...] = Field(
        ("ate",), min_length=1, description="effects that Q* carries exactly; those of roles.subgroups always are"
    )
    outcome_range: tuple[float, float] | None = Field(None, description="range drawn outcomes are clipped to")
    pool: float = Field(4.0, ge=1, le=20, description="size of the covariate pool that calibration chooses from, per released row")

    @model_validator(mode="after")
    def _ranges(self) -> MechanismsSpec:
        if self.outcome_range is not None and not self.outcome_range[0] < self.outcome_range[1]:
            raise ValueError("outcome_range must be [low, high] with low < high")
        if self.repeats != "auto" and not 1 <= self.repeats <= 50:
            raise ValueError('repeats must be "auto" or in [1, 50]')
        if "ate" not in self.targets or len(set(self.targets)) < len(self.targets):
            raise ValueError('targets must hold "ate", and no target twice')
        if self.truncation != "auto" and not 0 <= float(self.truncation) < 0.5:
            raise ValueError('truncation must be "auto" or in [0, 0.5)')
        return self


class ReleaseSpec(Section):
    """What is drawn."""

    rows: int = Field(10_000, ge=1, le=1_000_000_000)
    copies: int = Field(1, ge=1, le=100)
    mode: Literal["hybrid", "full"] = "hybrid"
    part_rows: int = Field(100_000, ge=100, description="rows of one Parquet part")
    draws: Literal["iid", "balanced"] = Field(
        "iid", description="balanced: treatments and outcomes drawn so that the release's own estimate hardly varies with the draw"
    )
    include_nuisances: bool = Field(
        False,
        description="add columns waymint_g, waymint_q0, waymint_q1, the mechanisms' truth of each row, and mechanisms.json, the law around "
        "it: 'waymint simulate' can start from such a release",
    )

    @model_validator(mode="after")
    def _known(self) -> ReleaseSpec:
        if self.draws == "balanced" and self.mode == "full":
            raise ValueError('draws "balanced" needs mode "hybrid": in mode "full" treatment and outcome are not drawn from mechanisms')
        if self.include_nuisances and self.mode == "full":
            raise ValueError('include_nuisances needs mode "hybrid": in mode "full" no mechanism is known')
        return self


# bounds stand on the number, not on the field, where False would have to meet them; strict, so that true is no 1.0
PValue = Annotated[float, Field(gt=0, lt=1, strict=True)] | Off
Share = Annotated[float, Field(ge=0, le=1, strict=True)] | Off
Positive = Annotated[float, Field(gt=0, strict=True)] | Off
Margin = Annotated[float, Field(ge=0, lt=1, strict=True)] | Off
Rows = Annotated[int, Field(ge=2, strict=True)] | Off
Count = Annotated[int, Field(ge=1, le=1000, strict=True)] | Off


class GatesSpec(Section):
    """Thresholds; ``false`` switches a gate off and the manifest says so. docs/gates.md gives the reason for each number."""

    near_copies: PValue = Field(0.01, description="smallest p-value of the excess of near copies that passes")
    exact_copies: PValue = Field(0.01, description="smallest p-value of the excess of exact copies that passes")
    closeness_z: Positive = Field(2.33, description="largest z of the share closer to seed than to holdout, beyond the margin")
    closeness_margin: float = Field(0.05, ge=0, lt=1, description="share of rows that may lean to the seed as if copied")
    closeness_excess: Share = Field(
        0.05, description="largest share of rows beyond the null that lean to the seed; inconclusive where only the interval's end is above"
    )
    closeness_groups: PValue = Field(0.01, description="smallest p-value of the largest z over groups of columns that passes")
    holdout_budget: Count = Field(10, description="releases of one source that the same holdout may fail before it is spent")
    holdout_query: Positive = Field(4.0, description="threshold T of Thresholdout, in standard deviations of the null")
    holdout_noise: float = Field(0.1, gt=0, le=10, description="noise scale sigma of Thresholdout, in the same unit")
    dcr_margin: Margin = Field(0.2, description="5th percentile DCR ratio must be at least 1 - margin")
    min_reference_rows: int = Field(100, ge=20, description="fewest seed and holdout rows a distance gate may judge on")
    distance_rows: int = Field(20_000, ge=100, description="most rows of release and references the distance gates use (hash samples)")
    source_overlap: Share = Field(0.1, description="largest share of source rows with g outside [d, 1-d]")
    release_overlap: Share = Field(0.1, description="largest share of release rows with g outside [d, 1-d]")
    overlap_bound: float | Literal["auto"] = Field("auto", description="d of the overlap gates")
    source_ess: Share = Field(0.2, description="smallest effective share of an arm of the source")
    min_arm: Rows = Field(50, description="fewest source rows in an arm")
    calibration: Share = Field(0.05, description="how far calibration may give up: 0 meets every mean of the source, 1 none")
    fidelity: Positive = Field(2.58, description="largest |ATE_release - ATE_source| in combined standard errors")
    levels: bool = Field(True, description="no value outside the source's levels and safe ranges")
    columns: bool = Field(True, description="names, order and types as in the source")
    membership_tpr: Share = Field(False, description="largest share of seed rows an attacker may recognise at 1 % false positives")
    membership_auc: Share = Field(False, description="largest area under the curve of a membership attack")
    attribute_advantage: Share = Field(False, description="largest gain of linear reconstruction on seed rows over holdout rows")
    linkability_advantage: Share = Field(False, description="largest gain of a linkability attack on seed rows over holdout rows")
    singling_out_advantage: Share = Field(False, description="largest gain of a singling-out attack on seed rows over holdout rows")
    inconclusive: Literal["warn", "fail"] = Field("warn", description="whether a gate that can't tell warns or fails")


class StoreSpec(Section):
    """Where releases land."""

    uri: str = Field("file://./releases", min_length=1)


class EngineSpec(Section):
    """How the work is run. Changes nothing in the result."""

    dask: str = Field("local", pattern=r"^(local|threads|tcp://.+|tls://.+)$")
    workers: int = Field(2, ge=1, le=512)
    memory: str = Field("auto", pattern=r"^(auto|[0-9.]+ ?[kMGT]i?B)$", description='memory limit of one local worker, e.g. "2GiB"')
    timeout: float = Field(14_400, gt=0, description="seconds after which a stage without an answer is given up and tried on a new cluster")
    workspace: str | None = Field(None, description="where intermediate files live: a folder or s3://...; never the store")


class Spec(Section):
    """A whole SPEC."""

    name: str = Field(pattern=NAME_PATTERN, description="release name in the store: lower case letters, digits, dashes")
    seed: int = Field(0, ge=0, lt=2**63)
    source: SourceSpec
    roles: RolesSpec
    covariates: CovariatesSpec = CovariatesSpec()
    mechanisms: MechanismsSpec = MechanismsSpec()
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

    @property
    def main(self) -> str:
        """The estimator of the ATE that the release carries: the one its outcome mechanism is targeted at."""
        return "adaptive" if self.mechanisms.targeting == "adaptive" else "tmle"

    def repeats(self, rows: int) -> int:
        """Return how often a source of so many rows is cross-fitted."""
        asked = self.mechanisms.repeats
        return asked if asked != "auto" else REPEATS if rows <= SMALL else 1

    def digest(self, purpose: Purpose = "release") -> str:
        """Return the digest of everything that decides the bytes of what a flow makes.

        The store and the engine change where and how, never what; they are left out, so a run can be
        resumed with other workers or against another store. So are the sections of other flows.

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
        body = self.model_dump(mode="json", exclude={"store", "engine"} | others)
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]


def parse_spec(values: dict[str, Any]) -> Spec:
    """Validate plain values into a SPEC, with an error that names key, value and rule.

    Parameters
    ----------
    values : dict
        As read from TOML, YAML or JSON.

    Returns
    -------
    Spec

    Raises
    ------
    SpecError
        With every fault listed; unknown keys get the nearest known one.
    """
    try:
        return Spec.model_validate(values)
    except ValidationError as error:
        faults, hints = [], []
        for fault in error.errors(include_url=False):
            where = [str(part) for part in fault["loc"] if not _is_branch(part)]
            key = ".".join(where)
            if fault["type"] == "extra_forbidden":
                faults.append(f"{key} of SPEC must be a known key; there is none of that name.")
                hints.append(_nearest(where))
            elif fault["type"] == "missing":
                faults.append(f"{key} of SPEC must be given.")
            else:
                text = fault["msg"].removeprefix("Value error, ")
                faults.append(f"{key or 'SPEC'} of SPEC must be valid: {text[:1].lower()}{text[1:]}; got {_short(fault['input'])}.")
        # pydantic reports one fault per branch of a union: say each key once
        unique = list(dict.fromkeys(faults))
        raise SpecError(" ".join(unique), " ".join(h for h in dict.fromkeys(hints) if h) or "See 'waymint schema'.") from None


def _is_branch(part: object) -> bool:
    """Tell whether a part of an error's location names a union branch and not a key."""
    text = str(part)
    return text in {"float", "int", "str", "bool", "constrained-float", "constrained-int"} or "[" in text


def _short(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _nearest(where: list[str]) -> str:
    """Suggest the known key closest to an unknown one."""
    model: type[BaseModel] = Spec
    for part in where[:-1]:
        field = model.model_fields.get(part)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return ""
        model = field.annotation
    known = list(model.model_fields)
    close = difflib.get_close_matches(where[-1], known, n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known keys there: {', '.join(known)}."
