"""What an analysis must say beside its numbers, and when it gives no interval."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.contract.results import Estimate

#: Share of truncated propensities from which on a warning stands, and above which there is no interval.
WARNED, WITHHELD = 0.1, 0.5
_FEW_CLUSTERS = 30


def overlap_warnings(estimates: Sequence[Estimate], bound: float) -> tuple[str, ...]:
    """Warn where many propensities were truncated.

    Parameters
    ----------
    estimates : sequence of Estimate
    bound : float
        d: propensities were kept in [d, 1 - d].
    """
    share = max((one.clipped for one in estimates), default=0.0)
    if share <= WARNED:
        return ()
    limits = f"[{bound:.3g}, {1 - bound:.3g}]"
    if share > WITHHELD:
        return (
            f"separation: {share:.0%} of the rows have a propensity outside {limits}; treatment is nearly a function of the covariates, "
            "the effect rests on extrapolation, and no standard error or interval is given.",
        )
    return (f"poor overlap: {share:.0%} of the rows have a propensity outside {limits} and were truncated; intervals may be too narrow.",)


def has_interval(estimate: Estimate) -> bool:
    """Whether an estimate is given with an interval: not where more than half of the propensities were truncated."""
    return estimate.clipped <= WITHHELD


def missing_warnings(missing: int, rows: int) -> tuple[str, ...]:
    """Name the assumption that estimates make of missing outcomes."""
    if not missing:
        return ()
    return (
        f"outcomes are missing in {missing / rows:.0%} of the rows and taken as missing at random: "
        "given treatment and covariates, whether an outcome is observed says nothing about it.",
    )


def cluster_warnings(clusters: int) -> tuple[str, ...]:
    """Warn of few clusters."""
    if clusters >= _FEW_CLUSTERS:
        return ()
    return (f"clusters are few: {clusters}; intervals by t with {clusters - 1} degrees of freedom may still be too narrow.",)
