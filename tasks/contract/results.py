"""Numeric results: each with its uncertainty."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, model_validator

Outcome = Literal["pass", "fail", "inconclusive", "off"]


class Estimate(NamedTuple):
    """An effect estimate.

    Attributes
    ----------
    estimand : str
        ``"ate"``, ``"att"``, ``"atc"``, ``"ato"`` or ``"gate[column=level]"``; of more than two arms also ``"mean"``, E[Y(arm)].
    estimator : str
        ``"or"``, ``"ipw"``, ``"aipw"``, ``"tmle"``.
    estimate, se, ci_low, ci_high : float
        In units of the outcome; the interval is two-sided at 95 %.
    n : int
        Rows used.
    ess : float
        Effective sample size of the inverse-probability weights, (sum w)^2 / sum w^2, both arms together.
    clipped : float
        Share of rows whose propensity was truncated, in [0, 1].
    arm, control : str or None
        Labels of the two arms compared; None where there are only two. Of a mean (estimand ``"mean"``) the arm alone.
    joint_low, joint_high : float or None
        Of more than two arms: the interval that holds together with those of all other pairs in 95 % of samples.
    outcome : str or None
        Column of the outcome where there are several, else None.
    """

    estimand: str
    estimator: str
    estimate: float
    se: float
    ci_low: float
    ci_high: float
    n: int
    ess: float
    clipped: float
    arm: str | None = None
    control: str | None = None
    joint_low: float | None = None
    joint_high: float | None = None
    outcome: str | None = None


class Gate(BaseModel):
    """One gate of a release: a metric, its bound and whether it holds.

    ``passed`` is None where the gate was switched off, and where the data are inconclusive and ``gates.inconclusive`` allows that;
    ``status`` names the five cases. ``outcome`` is the gate's result: a refusal, for want of data, is a "fail".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float | None
    threshold: float | None
    rule: Literal["at most", "at least", "equal to"]
    passed: bool | None
    status: Literal["passed", "failed", "refused", "inconclusive", "off"]
    outcome: Outcome
    detail: str = ""
    low: float | None = None
    high: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_outcome(cls, values: Any) -> Any:
        """Take the outcome from the status where a manifest is older than the field."""
        if isinstance(values, dict) and "outcome" not in values and values.get("status") in _OUTCOMES:
            return {**values, "outcome": _OUTCOMES[values["status"]]}
        return values


_OUTCOMES: dict[str, Outcome] = {"passed": "pass", "failed": "fail", "refused": "fail", "inconclusive": "inconclusive", "off": "off"}
