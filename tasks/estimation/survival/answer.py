"""What ``waymint estimate`` answers of a time to event: one JSON object, and lines for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.contract.disclosure import SMALLEST_CELL
from tasks.estimation.cautions import WARNED
from tasks.estimation.survival.analysis import SurvivalAnalysis
from tasks.estimation.survival.estimates import ArmCurve, SurvivalEstimate

#: Mean of an influence function, in standard errors, above which targeting is said not to have solved its equations.
UNSOLVED = 0.1
_OF_SURVIVAL = "survival: share without the event at the time; rmst: mean time without it up to the horizon"
_OF_CAUSES = "incidence: share with an event of the cause by the time; time_lost: mean time lost to it up to the horizon"


def survival_answer(analysis: SurvivalAnalysis, warnings: Sequence[str], fit: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the reply and the lines of one analysis.

    Parameters
    ----------
    analysis : SurvivalAnalysis
    warnings : sequence of str
        What was noticed in reading; those on overlap and targeting are added.
    fit : dict
        ``learner`` and ``periods``.
    """
    warnings = [*warnings, *cautions(analysis)]
    estimates = analysis.estimates
    reply = {
        "n": analysis.rows,
        "horizon": analysis.horizon,
        "estimates": [one._asdict() for one in estimates],
        "curves": [point for curve in analysis.curves for point in curve_points(curve, "incidence" if analysis.causes else "survival")],
        **analysis.comparison.entries,
        "fit": fit | {"rows": analysis.rows, "truncation": analysis.bound, "unsolved": analysis.unsolved},
        "warnings": warnings,
    }
    columns = f"{'estimand':<21}{'arms':<14}{'time':>8}  {'method':<7}"
    head = f"{columns}{'estimate':>10}{'SE':>10}{'95 % interval':>22}{'all at once':>22}{'ESS':>8}"
    lines = [
        *(f"warning   {text}" for text in warnings),
        head,
        *(_line(one) for one in estimates),
        "",
        *comparison_lines(analysis),
        "",
        f"fit       {fit['learner']}, on all {analysis.rows:,} rows, hazards in {fit['periods']} periods up to {analysis.horizon:g}",
        f"reading   {_OF_CAUSES if analysis.causes else _OF_SURVIVAL}; differences are",
        "          arm minus control; 'all at once': intervals that hold together for the arms, and for all differences",
    ]
    return reply, lines


def comparison_lines(analysis: SurvivalAnalysis) -> list[str]:
    """Return log-rank tests, and hazard ratios with what they are not."""
    hazard = "hazards of the cause" if analysis.causes else "hazards"
    lines = [
        f"log-rank  {hazard} of {'all arms' if one.arm is None else f'{one.arm} and {one.control}'}: "
        + ("never at risk together" if one.p_value is None else f"chi2 {one.statistic:.4g} on {one.df} df, p {one.p_value:.3g}")
        for one in analysis.comparison.tests
    ]
    lines += [
        f"Cox       {hazard}, {one.arm} / {one.control}: ratio {one.ratio:.4g} ({one.ci_low:.4g} to {one.ci_high:.4g}), "
        f"log {one.log_ratio:.4g}, SE {one.se:.3g}"
        for one in analysis.comparison.ratios
    ]
    return [
        *lines,
        "          neither is adjusted for covariates; a ratio describes the table, and is no effect where hazards are not proportional",
    ]


def cautions(analysis: SurvivalAnalysis) -> list[str]:
    """Warn of truncated propensities and of scores that targeting did not solve."""
    warnings = []
    share = max((one.clipped for one in analysis.estimates), default=0.0)
    if share > WARNED:
        warnings.append(
            f"poor overlap: {share:.0%} of the rows have a propensity below {analysis.bound:.3g} in an arm; intervals may be too narrow."
        )
    if analysis.unsolved > UNSOLVED:
        warnings.append(f"targeting left {analysis.unsolved:.2g} standard errors of an equation unsolved; compare tmle with aipw.")
    return warnings


def curve_points(curve: ArmCurve, name: str = "survival") -> list[dict[str, Any]]:
    """Return a curve as plain values; fewer than five rows at risk are told as None."""
    points = zip(curve.times, curve.curve, curve.se, curve.low, curve.high, curve.at_risk, strict=True)
    return [
        {
            "arm": curve.arm,
            "estimator": curve.estimator,
            "time": float(time),
            name: float(value),
            "se": float(se),
            "band_low": float(low),
            "band_high": float(high),
            "at_risk": int(rows) if rows >= SMALLEST_CELL else None,
        }
        for time, value, se, low, high, rows in points
    ]


def _line(one: SurvivalEstimate) -> str:
    arms = one.arm if one.control is None else f"{one.arm} - {one.control}"
    limits, bands = f"{one.ci_low:.4g} to {one.ci_high:.4g}", f"{one.joint_low:.4g} to {one.joint_high:.4g}"
    columns = f"{one.estimand:<21}{arms:<14}{one.time:>8g}  {one.estimator:<7}"
    return f"{columns}{one.estimate:>10.4g}{one.se:>10.3g}{limits:>22}{bands:>22}{one.ess:>8,.0f}"
