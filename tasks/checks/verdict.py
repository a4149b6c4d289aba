"""From gates to a verdict, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from tasks.checks.metric import Metric
from tasks.checks.refusal import SPENT
from tasks.contract.gates import gate_row
from tasks.contract.results import Gate, Outcome

_REFUSED = "There is too little data to judge: bring more rows, or raise source.holdout where the holdout is the smaller part."


def outcome(metric: Metric) -> Outcome:
    """Return what a gate says: the one place where a number meets its rule.

    Parameters
    ----------
    metric : Metric
        With a rule.

    Returns
    -------
    str
        ``"off"`` without a threshold. ``"fail"`` for a refusal, and where the number breaks its rule. ``"inconclusive"`` where the
        interval of a metric that is decided by it tells neither.
    """
    if metric.threshold is None:
        return "off"
    if metric.refused:
        return "fail"
    if metric.decision == "interval":
        return _interval(metric, metric.threshold)
    if _keeps(metric, metric.value, metric.threshold):
        return "pass"
    if metric.decision == "ratio" and metric.value is not None and (metric.high is None or metric.high >= 1):
        return "inconclusive"  # below the margin it may still be chance
    return "fail"


def _keeps(metric: Metric, value: float | None, threshold: float) -> bool:
    """Return whether a number keeps the rule; None does not."""
    if value is None:
        return False
    return {"at most": value <= threshold, "at least": value >= threshold, "equal to": value == threshold}[str(metric.rule)]


def _interval(metric: Metric, threshold: float) -> Outcome:
    """Pass where the whole interval keeps the rule, fail where none of it does."""
    best, worst = (metric.high, metric.low) if metric.rule == "at least" else (metric.low, metric.high)
    if best is not None and not _keeps(metric, best, threshold):
        return "fail"
    return "pass" if worst is not None and _keeps(metric, worst, threshold) else "inconclusive"


def passed(answer: Outcome, strict: bool) -> bool | None:
    """Return whether a gate passed: None where it is off, or is inconclusive and that is allowed.

    Parameters
    ----------
    answer : str
        Of :func:`outcome`.
    strict : bool
        Whether an inconclusive gate fails.
    """
    return {"pass": True, "fail": False, "inconclusive": False if strict else None, "off": None}[answer]


_STATUS: Mapping[Outcome, Literal["passed", "failed", "inconclusive", "off"]] = {
    "pass": "passed",
    "fail": "failed",
    "inconclusive": "inconclusive",
    "off": "off",
}


def verdict_of(metric: Metric, strict: bool = False) -> Gate:
    """Return the verdict on one metric as the manifest has it.

    Parameters
    ----------
    metric : Metric
        With a rule.
    strict : bool
        Whether an inconclusive gate fails.
    """
    answer = outcome(metric)
    assert metric.rule is not None, metric.name
    return Gate(
        name=metric.name,
        value=None if metric.refused else metric.value,
        threshold=metric.threshold,
        rule=metric.rule,
        passed=passed(answer, strict),
        status="refused" if metric.refused and answer != "off" else _STATUS[answer],
        outcome=answer,
        detail=metric.detail,
        low=metric.low,
        high=metric.high,
    )


def tells_of_holdout(gates: Iterable[Gate]) -> bool:
    """Return whether a gate that compares training rows with the holdout has failed: that alone reveals something of the holdout."""
    rows = ((gate, gate_row(gate.name)) for gate in gates)
    return any(row is not None and row.asks_holdout and gate.status == "failed" for gate, row in rows)


def private_numbers(gates: Iterable[Gate]) -> dict[str, float | None]:
    """Return the numbers that stand in the manifest's section on privacy, by the names of their gates."""
    rows = ((gate, gate_row(gate.name)) for gate in gates)
    return {gate.name: gate.value for gate, row in rows if row is not None and row.private}


class Verdict(NamedTuple):
    """What the gates say together.

    Attributes
    ----------
    passed : bool
        True where no gate failed, and there is one.
    failed : tuple of str
        Names of gates that failed or refused, or were inconclusive where that is to fail.
    off : tuple of str
        Names of gates that are switched off.
    inconclusive : tuple of str
        Names of inconclusive gates that are let through.
    """

    passed: bool
    failed: tuple[str, ...]
    off: tuple[str, ...]
    inconclusive: tuple[str, ...] = ()


def decide(gates: Iterable[Gate]) -> Verdict:
    """Return the verdict; a release without any gate that could hold is not passed, unless all were switched off.

    Parameters
    ----------
    gates : iterable of Gate

    Returns
    -------
    Verdict
    """
    every = tuple(gates)
    failed = tuple(gate.name for gate in every if gate.passed is False)
    off = tuple(gate.name for gate in every if gate.status == "off")
    unsure = tuple(gate.name for gate in every if gate.status == "inconclusive" and gate.passed is None)
    return Verdict(bool(every) and not failed, failed, off, unsure)


def cautions(gates: Iterable[Gate]) -> tuple[str, ...]:
    """Return what a reader of a published release should know of inconclusive gates.

    Parameters
    ----------
    gates : iterable of Gate

    Returns
    -------
    tuple of str
        One sentence for each gate that was inconclusive and let through.
    """
    return tuple(
        f"Gate {gate.name} is inconclusive: {_sentence(gate)} More rows would tell; gates.inconclusive = 'fail' rejects what can't be told."
        for gate in gates
        if gate.status == "inconclusive" and gate.passed is None
    )


def explain(gates: Iterable[Gate]) -> list[str]:
    """Say for each gate that failed or refused: name, value, bound, by how much, and what to do.

    Parameters
    ----------
    gates : iterable of Gate

    Returns
    -------
    list of str
        Aligned plain lines: the gate, then what was seen, then the way out. Empty where none failed.
    """
    bad = [gate for gate in gates if gate.passed is False]
    width = max((len(gate.name) for gate in bad), default=0)
    lines: list[str] = []
    for gate in bad:
        lines.append(f"{gate.name:<{width}}  {_sentence(gate)}")
        indent = " " * (width + 2)
        if gate.detail:
            lines.append(f"{indent}{gate.detail}.")
        lines.append(f"{indent}{advice(gate)}")
    return lines


def advice(gate: Gate) -> str:
    """Return the advice for a gate that failed, refused or was inconclusive.

    Parameters
    ----------
    gate : Gate

    Returns
    -------
    str
        One or two sentences: the same on the terminal and in the report.
    """
    return f"{_way(gate)} gates.{gate.name} = false switches it off; the manifest will say so."


def _way(gate: Gate) -> str:
    if gate.status == "inconclusive":
        return "The data can't tell: bring more rows, or release more, or set gates.inconclusive = 'warn'."
    if gate.status == "refused" and gate.name != "fidelity":
        return "There is a way out at holdout_budget." if gate.detail == SPENT else _REFUSED
    row = gate_row(gate.name)
    return row.advice if row is not None else "See the check's own documentation."


def _sentence(gate: Gate) -> str:
    if gate.status == "inconclusive":
        seen = "no number" if gate.value is None else _number(gate.value)
        ends = "limits unknown" if gate.low is None and gate.high is None else f"limits {_end(gate.low)} to {_end(gate.high)}"
        return f"must be {gate.rule} {_number(gate.threshold)}; got {seen}, {ends}."
    if gate.value is None or gate.threshold is None:
        return f"must be {gate.rule} {_number(gate.threshold)}; got a refusal."
    gap = abs(gate.value - gate.threshold)
    side = "above" if gate.value > gate.threshold else "below"
    return f"must be {gate.rule} {_number(gate.threshold)}; got {_number(gate.value)}, {_number(gap)} {side}."


def _end(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.4g}"
