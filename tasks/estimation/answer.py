"""What ``waymint estimate`` answers: one JSON object, and lines for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from scipy.special import stdtr

from tasks.contract.results import Estimate
from tasks.estimation.analysis import Analysis
from tasks.estimation.arms import ArmsOverlap
from tasks.estimation.cautions import has_interval, overlap_warnings
from tasks.estimation.overlap import OverlapSummary

#: Covariates whose balance the lines show; the JSON has all.
BALANCE_SHOWN = 8
_JOINT = "intervals of differences are for each alone; those that hold for all pairs together are in --json (joint_low, joint_high)"
#: What stands in place of an interval that is not given.
_NO_INTERVAL = dict.fromkeys(("se", "ci_low", "ci_high", "p", "joint_low", "joint_high"))
_NO_SPREAD = f"{'none':>10}{'none (separation)':>22}{'none':>11}"


class Sides(NamedTuple):
    """Which of two arms is the treated one: the treatment's column and both labels, since labels such as 1 and 2 are read either way."""

    treatment: str
    treated: str
    control: str


def answer(
    analysis: Analysis, warnings: Sequence[str], fit: dict[str, Any], clusters: int = 0, sides: Sides | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Return the reply and the lines of one analysis.

    Parameters
    ----------
    analysis : Analysis
        Estimates, overlap and balance.
    warnings : sequence of str
        What was noticed in reading; those on overlap are added.
    fit : dict
        ``learner``, ``rows`` it was fitted on, ``out_of_core``.
    clusters : int
        Clusters that standard errors sum over; 0 for independent rows.
    sides : Sides, optional
        Of a table of two arms.
    """
    warnings = (*warnings, *overlap_warnings(analysis.estimates, analysis.overlap.bound))
    fit = fit | ({"clusters": clusters} if clusters else {})
    reply = analysis.as_dict() | {"fit": fit, "warnings": list(warnings)} | ({} if sides is None else sides._asdict())
    several = any(e.arm is not None for e in analysis.estimates)
    head = f"{'estimand':<10}{'arms':<24}" if several else f"{'estimand':<10}"
    head += f"{'method':<8}{'estimate':>11}{'SE':>10}{'95 % interval':>22}{'p':>11}{'n':>9}{'ESS':>9}{'truncated':>11}"
    overlap = analysis.overlap
    worst = sorted(analysis.balance, key=lambda row: -abs(row.before))[:BALANCE_SHOWN]
    lines = [
        *(f"warning   {text}" for text in warnings),
        head,
        *(_line(e, clusters, several) for e in analysis.estimates),
        *([_JOINT] if several else []),
        "",
        *(
            []
            if sides is None
            else [f"arms      {sides.treatment} = {sides.treated} (treated) less {sides.treatment} = {sides.control} (control)"]
        ),
        f"fit       {fit['learner']}, on {'all' if fit['rows'] == overlap.n else 'a sample of'} {fit['rows']:,} rows"
        + (", out of core" if fit["out_of_core"] else "")
        + (f"; standard errors over {clusters:,} clusters" if clusters else ""),
        *_overlap_lines(overlap),
        f"balance   standardised mean differences, the {len(worst)} largest before weighting:",
        *(
            f"          {row.covariate}{'' if row.level is None else f' = {row.level}'}"
            f"{'' if row.arm is None else f', arm {row.arm}'}: {row.before:+.3f} -> {row.after:+.3f}"
            for row in worst
        ),
    ]
    estimates = [{**e._asdict(), "p": p_value(e, clusters)} | ({} if has_interval(e) else _NO_INTERVAL) for e in analysis.estimates]
    return {**reply, "estimates": estimates}, lines


def _sides_lines(sides: Sides | None) -> list[str]:
    if sides is None:
        return []
    return [f"arms      {sides.treatment} = {sides.treated} (treated) less {sides.treatment} = {sides.control} (control)"]


def _overlap_lines(overlap: OverlapSummary | ArmsOverlap) -> list[str]:
    if isinstance(overlap, OverlapSummary):
        return [
            f"overlap   {overlap.outside:.1%} of rows have a propensity outside [{overlap.bound:.3g}, {1 - overlap.bound:.3g}]; "
            f"effective share of controls {overlap.ess0:.0%}, of treated {overlap.ess1:.0%}"
        ]
    return [
        f"overlap   {overlap.outside:.1%} of rows have a propensity of some arm below {overlap.bound:.3g}",
        *(f"          arm {arm.arm}: {arm.rows:,} rows, effective share {arm.ess:.0%}, {arm.below:.1%} below" for arm in overlap.arms),
    ]


def compared(e: Estimate) -> str:
    """Return which of more than two arms an estimate is of, as a cell of a table of lines; empty of two."""
    if e.arm is None:
        return ""
    return f"{e.arm if e.control is None else f'{e.arm} - {e.control}':<24}"


def _line(e: Estimate, clusters: int, several: bool = False) -> str:
    spread = f"{e.se:>10.3g}{f'{e.ci_low:.4g} to {e.ci_high:.4g}':>22}{p_value(e, clusters):>11.3g}" if has_interval(e) else _NO_SPREAD
    named = f"{e.estimand:<10}{compared(e) if several else ''}{e.estimator:<8}"
    return f"{named}{e.estimate:>11.4g}{spread}{e.n:>9,}{e.ess:>9,.0f}{e.clipped:>11.1%}"


def p_value(result: Estimate, clusters: int = 0) -> float:
    """Return the two-sided p-value of no effect: normal, or of t where standard errors are over so many clusters."""
    if clusters and result.se > 0:
        return 2.0 * float(stdtr(clusters - 1, -abs(result.estimate / result.se)))
    return math.erfc(abs(result.estimate / result.se) / math.sqrt(2)) if result.se > 0 else math.nan
