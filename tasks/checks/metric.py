"""A metric is a number, its bound a rule: what checks return and the judge reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, Protocol

import pandas as pd

from tasks.checks.evidence import Evidence
from tasks.contract.registry import names, resolve
from tasks.contract.spec import GatesSpec

Rule = Literal["at most", "at least", "equal to"]


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
    certified : bool
        Judged by its limits: it passes where all its interval keeps the bound, fails where none of it does, and is inconclusive between.
    """

    name: str
    value: float | None
    rule: Rule | None = None
    threshold: float | None = None
    low: float | None = None
    high: float | None = None
    refused: bool = False
    detail: str = ""
    certified: bool = False


class Check(Protocol):
    """Turns evidence into metrics."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return the metrics of this check, none where its part of the evidence is missing."""
        ...


def bound(threshold: float | Literal[False]) -> float | None:
    """Return a threshold of the SPEC as the judge reads it: None where it is switched off."""
    return None if threshold is False else float(threshold)


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
