"""The SPEC: what a user asks for; one file a section. The same model is the parameter of every flow."""

from tasks.contract.spec.augment import AugmentSpec
from tasks.contract.spec.compare import CompareSpec
from tasks.contract.spec.covariates import CovariatesSpec
from tasks.contract.spec.engine import EngineSpec
from tasks.contract.spec.gates import GatesSpec
from tasks.contract.spec.labels import AboutSpec, LabelSpec
from tasks.contract.spec.mechanisms import MechanismsSpec
from tasks.contract.spec.outcomes import OutcomeSpec
from tasks.contract.spec.parse import parse_spec
from tasks.contract.spec.release import ReleaseSpec
from tasks.contract.spec.roles import Kind, Label, RolesSpec, SurvivalRoles
from tasks.contract.spec.simulate import SimulateSpec
from tasks.contract.spec.source import CsvSpec, ReadingSpec, SourceSpec
from tasks.contract.spec.store import StoreSpec
from tasks.contract.spec.whole import NAME_PATTERN, REPEATS, SMALL, Purpose, Spec

__all__ = [
    "NAME_PATTERN",
    "REPEATS",
    "SMALL",
    "AboutSpec",
    "AugmentSpec",
    "CompareSpec",
    "CovariatesSpec",
    "CsvSpec",
    "EngineSpec",
    "GatesSpec",
    "Kind",
    "Label",
    "LabelSpec",
    "MechanismsSpec",
    "OutcomeSpec",
    "Purpose",
    "ReadingSpec",
    "ReleaseSpec",
    "RolesSpec",
    "SimulateSpec",
    "SourceSpec",
    "Spec",
    "StoreSpec",
    "SurvivalRoles",
    "parse_spec",
]
