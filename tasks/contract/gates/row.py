"""One gate as a row of the table: everything that is said or decided by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Rule = Literal["at most", "at least", "equal to"]
#: What decides: the number; its whole interval; or a ratio and whether its upper limit reaches 1.
Decision = Literal["value", "interval", "ratio"]
Family = Literal["distance", "attack", "overlap", "law", "form"]
#: How a threshold is written in the SPEC; see :meth:`GateRow.limit`.
Threshold = Literal["p-value", "share", "positive", "margin", "rows", "count", "switch"]
Section = Literal["gates", "augment"]


@dataclass(frozen=True)
class GateRow:
    """One gate.

    Attributes
    ----------
    name : str
        Key in ``gates`` of the SPEC, in manifest, report and Data Docs.
    family : str
        ``"distance"``, ``"attack"``, ``"overlap"``, ``"law"`` or ``"form"``.
    rule : str
        ``"at most"``, ``"at least"`` or ``"equal to"``.
    threshold : str
        What the SPEC's value is: decides its validation and the limit that follows from it.
    default : float or bool
        Of the SPEC's key; False where the gate is off by default.
    title, meaning : str
        What reports call it, and one sentence that explains its number.
    description : str
        Of the SPEC's key.
    advice : str
        What to do where it fails.
    expectation : str
        Name of its Great Expectations class; empty: that of its rule.
    decision : str
        ``"value"``: the number alone decides. ``"interval"``: it passes where its whole interval keeps the rule, fails where none of
        it does, and is inconclusive between. ``"ratio"``: a ratio that breaks the rule fails only where its upper limit is below 1.
    asks_holdout : bool
        Whether its failure reveals something of the holdout, and so is charged to the holdout's budget.
    private : bool
        Whether its number stands in the manifest's section on privacy.
    asked_of_added_rows : bool
        Whether ``waymint augment`` asks it too: False for what added rows are there to mend, or can't be alone.
    section : str
        Section of the SPEC that holds the threshold.
    """

    name: str
    family: Family
    rule: Rule
    threshold: Threshold
    default: float | bool
    title: str
    meaning: str
    description: str
    advice: str
    expectation: str = ""
    decision: Decision = "value"
    asks_holdout: bool = False
    private: bool = False
    asked_of_added_rows: bool = True
    section: Section = "gates"

    def limit(self, value: float | bool) -> float | None:
        """Return the limit of the gate's number.

        Parameters
        ----------
        value : float or bool
            As the SPEC has it.

        Returns
        -------
        float or None
            None where the gate is switched off. A ``"margin"`` allows a ratio of 1 - value; a ``"switch"`` allows no fault;
            of a ``"count"`` at least 1 must be left.
        """
        if value is False:
            return None
        return {"margin": 1.0 - float(value), "switch": 0.0, "count": 1.0}.get(self.threshold, float(value))
