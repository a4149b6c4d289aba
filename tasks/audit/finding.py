"""What an attack found: a number, its interval, what it is compared with, and a verdict that follows from these alone."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.audit.intervals import Interval

Verdict = Literal["leak found", "none found at this size", "inconclusive"]

#: The intervals of one attack hold together with this probability.
CONFIDENCE = 0.95


class Finding(BaseModel):
    """One statistic of one attack.

    Attributes
    ----------
    attack, statistic : str
        File name of the attack; what was measured.
    value, ci_low, ci_high : float or None
        The statistic among rows that could leak; None where the data can't say.
    baseline : float or None
        What guessing without the release would reach.
    control : float or None
        What the same attack reaches on rows that can't leak.
    verdict : str
        Of ``excess`` alone: "leak found" where all its interval is above 0, "none found at this size" where all of it is below
        ``tolerance``, else "inconclusive".
    excess, excess_low, excess_high : float or None
        What is due to the rows' having been used: value minus control, or minus baseline where the statistic itself compares
        the two groups.
    tolerance : float
        The smallest excess that counts as a leak and must be excluded.
    confidence : float
        Of each interval; those of one attack hold together with 95 % (Bonferroni).
    targets, controls : int
        Rows (or games) attacked, and those of the control.
    detail : str
        How it was measured. Counts and names only, never a cell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attack: str
    statistic: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    baseline: float | None
    control: float | None
    verdict: Verdict
    excess: float | None
    excess_low: float | None
    excess_high: float | None
    tolerance: float
    confidence: float
    targets: int
    controls: int
    detail: str = ""


def judge(excess: Interval, tolerance: float) -> Verdict:
    """Return the verdict that an excess and its interval allow; there is no pass without an interval.

    Parameters
    ----------
    excess : Interval
        0 where nothing leaks.
    tolerance : float
        Positive.
    """
    if not all(math.isfinite(limit) for limit in excess):
        return "inconclusive"
    if excess.low > 0:
        return "leak found"
    return "none found at this size" if excess.high < tolerance else "inconclusive"


def finding(
    attack: str,
    statistic: str,
    value: Interval | None,
    *,
    baseline: float | None,
    control: float | None,
    tolerance: float,
    confidence: float,
    targets: int,
    controls: int,
    excess: Interval | None = None,
    can_clear: bool = True,
    detail: str = "",
) -> Finding:
    """Return a finding; ``excess`` defaults to value minus baseline.

    Parameters
    ----------
    attack, statistic, baseline, control, tolerance, confidence, targets, controls, detail
        As in :class:`Finding`.
    value : Interval or None
        None where there is too little data: the verdict is "inconclusive" and no number is given.
    excess : Interval, optional
        Where value and control are compared.
    can_clear : bool
        False where a low number is no evidence of safety: "none found at this size" becomes "inconclusive".
    """
    if value is not None and excess is None and baseline is not None:
        excess = Interval(*(limit - baseline for limit in value))
    verdict = judge(excess, tolerance) if excess is not None else "inconclusive"
    if verdict == "none found at this size" and not can_clear:
        verdict = "inconclusive"
    number, gap = value or (None, None, None), excess or (None, None, None)
    return Finding(
        attack=attack,
        statistic=statistic,
        value=_finite(number[0]),
        ci_low=_finite(number[1]),
        ci_high=_finite(number[2]),
        baseline=baseline,
        control=_finite(control),
        verdict=verdict,
        excess=_finite(gap[0]),
        excess_low=_finite(gap[1]),
        excess_high=_finite(gap[2]),
        tolerance=tolerance,
        confidence=confidence,
        targets=targets,
        controls=controls,
        detail=detail,
    )


def together(statistics: int) -> float:
    """Return the confidence of each of several intervals that hold together with 95 %."""
    return 1 - (1 - CONFIDENCE) / max(1, statistics)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
