"""A metric is a number, its bound a rule: what checks return and the judge reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import pandas as pd

from tasks.checks.evidence import Evidence
from tasks.contract.errors import EstimationError
from tasks.contract.gates import Decision, Rule, gate_row
from tasks.contract.registry import names, resolve
from tasks.contract.spec import GatesSpec


class Metric(NamedTuple):
    """One measured number.

    Attributes
    ----------
    name : str
        Of a gate: its key in ``gates`` of the SPEC.
    value : float or None
        None where there is too little data to say.
    rule : str or None
        None: information, no gate hangs on it.
    threshold : float or None
        Bound of the gate; None with a rule: the gate is switched off.
    low, high : float or None
        Limits of uncertainty, where there are some.
    refused : bool
        Too little data: the gate fails and gives no number.
    detail : str
        What was seen, in counts and shares.
    decision : str
        What decides; see :class:`tasks.contract.gates.GateRow`.
    """

    name: str
    value: float | None
    rule: Rule | None = None
    threshold: float | None = None
    low: float | None = None
    high: float | None = None
    refused: bool = False
    detail: str = ""
    decision: Decision = "value"


class Check(Protocol):
    """Turns evidence into metrics."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return the metrics of this check, none where its part of the evidence is missing."""
        ...


def gate(
    name: str,
    value: float | None,
    gates: GatesSpec,
    *,
    low: float | None = None,
    high: float | None = None,
    refused: bool = False,
    detail: str = "",
) -> Metric:
    """Return the metric of a gate: its rule and what decides come from the table, its threshold from the SPEC.

    Parameters
    ----------
    name : str
        Of a row of the table of gates.
    value, low, high, refused, detail
        As in :class:`Metric`.
    gates : GatesSpec
    """
    row = gate_row(name)
    if row is None:
        raise EstimationError(f"gate of a check must be a row of the table of gates; got '{name}'.", "Add it to tasks/contract/gates.")
    return Metric(name, value, row.rule, gates.limit(name), low, high, refused, detail, row.decision)


def measure_all(evidence: Evidence, gates: GatesSpec) -> list[Metric]:
    """Run every check of the folder ``methods`` and of the entry points ``waymint.check``.

    Parameters
    ----------
    evidence : Evidence
    gates : GatesSpec

    Returns
    -------
    list of Metric
        In the order of the checks' names.
    """
    metrics: list[Metric] = []
    for name in names("check"):
        check: Check = resolve("check", name)
        metrics.extend(check.measure(evidence, gates))
    return metrics


def shorten(lines: Sequence[str], shown: int = 5) -> str:
    """Return the first of many lines as one, and how many more there are."""
    more = len(lines) - shown
    return "; ".join(lines[:shown]) + (f"; and {more} more" if more > 0 else "")


def tabulate(metrics: Iterable[Metric]) -> pd.DataFrame:
    """Return metrics as the small table that is judged.

    Parameters
    ----------
    metrics : iterable of Metric
        Names must be distinct.

    Returns
    -------
    pandas.DataFrame
        One row per metric: ``metric``, ``value``, ``low``, ``high`` (float64, NaN where there is none), ``refused``.
    """
    rows: list[Mapping[str, object]] = [
        {"metric": m.name, "value": m.value, "low": m.low, "high": m.high, "refused": m.refused} for m in metrics
    ]
    table = pd.DataFrame(rows, columns=["metric", "value", "low", "high", "refused"])
    return table.astype({"value": "float64", "low": "float64", "high": "float64", "refused": "bool"})
