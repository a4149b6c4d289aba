"""Gates on attacks: what an audit finds, before anything is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from tasks.checks.evidence import Evidence
from tasks.checks.metric import Metric, gate
from tasks.contract.spec import GatesSpec


class Figure(NamedTuple):
    """Where a gate's number is found among an attack's findings.

    Attributes
    ----------
    attack : str
        Name of the attack.
    statistic : str
        What the finding's statistic starts with; empty for all of the attack's.
    value, low, high : str
        Fields of the finding.
    """

    attack: str
    statistic: str
    value: str
    low: str
    high: str


_PLAIN, _EXCESS = ("value", "ci_low", "ci_high"), ("excess", "excess_low", "excess_high")
#: The figure behind each gate.
FIGURES: Mapping[str, Figure] = {
    "membership_tpr": Figure("membership", "tpr_at_0.01_fpr_", *_PLAIN),
    "membership_auc": Figure("membership", "auc_", *_PLAIN),
    "attribute_advantage": Figure("reconstruction", "", *_EXCESS),
    "linkability_advantage": Figure("linkability", "", *_EXCESS),
    "singling_out_advantage": Figure("singling_out", "", *_EXCESS),
}


def attacks_of(gates: GatesSpec) -> tuple[str, ...]:
    """Return the attacks that the SPEC's gates hang on, each once."""
    return tuple(dict.fromkeys(figure.attack for name, figure in FIGURES.items() if gates.limit(name) is not None))


class Params(BaseModel):
    """No parameters: the thresholds are in ``gates`` of the SPEC."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AuditCheck:
    """Judges attacks by their intervals; those of one attack hold together with 95 %."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return a gate for each figure that the SPEC bounds, none where no attack was run."""
        if evidence.audit is None:
            return []
        return [_loudest(name, gates, evidence.audit) for name in FIGURES if gates.limit(name) is not None]


def build(params: Params) -> AuditCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return AuditCheck()


def _loudest(name: str, gates: GatesSpec, findings: Sequence[Mapping[str, Any]]) -> Metric:
    """Judge the largest statistic; where one is undecided, the gate is inconclusive."""
    figure = FIGURES[name]
    matching = [each for each in findings if each["attack"] == figure.attack and str(each["statistic"]).startswith(figure.statistic)]
    complete = [each for each in matching if None not in (each[figure.value], each[figure.low], each[figure.high])]
    if not complete:
        return gate(name, None, gates, detail="too few rows for an interval")
    loudest = max(complete, key=lambda each: (each[figure.low], each[figure.value], each["statistic"]))
    high = max(float(each[figure.high]) for each in complete) if len(complete) == len(matching) else None
    beside = f"control {_number(loudest['control'])}, guessing {_number(loudest['baseline'])}"
    detail = f"{loudest['statistic']}, the loudest of {len(matching)}; {beside}"
    return gate(name, float(loudest[figure.value]), gates, low=float(loudest[figure.low]), high=high, detail=detail)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
