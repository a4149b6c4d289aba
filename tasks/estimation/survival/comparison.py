"""Hazards of arms compared: log-rank tests, and Cox's ratios as a description."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tasks.estimation.survival.cox import CoxFit, fit_cox
from tasks.estimation.survival.logrank import logrank_test
from tasks.estimation.survival.risk_sets import ArmRows
from tasks.numerics.normal import Z95
from tasks.targeting.influence import cluster_error, standard_error


class HazardTest(NamedTuple):
    """A log-rank test of two arms, or of all arms where ``arm`` is None.

    Attributes
    ----------
    arm, control : str or None
        Labels.
    statistic, df, p_value
        As in :class:`tasks.estimation.survival.logrank.LogRank`; None where the arms are never at risk together.
    """

    arm: str | None
    control: str | None
    statistic: float | None
    df: int
    p_value: float | None


class HazardRatio(NamedTuple):
    """Cox's ratio of an arm's hazard to another's: a description of the table, not adjusted for covariates.

    Attributes
    ----------
    arm, control : str
        Labels.
    ratio, ci_low, ci_high : float
        The interval is two-sided at 95 %.
    log_ratio, se : float
        Its logarithm, and the standard error of that: robust where rows have weights or clusters, else by the information.
    """

    arm: str
    control: str
    ratio: float
    ci_low: float
    ci_high: float
    log_ratio: float
    se: float


class Comparison(NamedTuple):
    """Tests of all arms (where there are more than two) and of each pair, and ratios of each pair; none where Cox's model has no fit."""

    tests: tuple[HazardTest, ...]
    ratios: tuple[HazardRatio, ...]

    @property
    def entries(self) -> dict[str, list[dict[str, Any]]]:
        """Plain values, as replies and manifests hold them."""
        return {"logrank": [one._asdict() for one in self.tests], "hazard_ratios": [one._asdict() for one in self.ratios]}


def compare_hazards(rows: ArmRows, labels: Sequence[str]) -> Comparison:
    """Test and describe the hazards of K arms; pairs are tested on the rows of their own two arms.

    Parameters
    ----------
    rows : ArmRows
    labels : sequence of K str
        The control first.
    """
    pairs = [(arm, control) for control in range(len(labels)) for arm in range(control + 1, len(labels))]
    tests = [] if len(labels) == 2 else [_test(rows, len(labels), None, None)]
    tests += [_test(rows.of_arms((control, arm)), 2, labels[arm], labels[control]) for arm, control in pairs]
    fit = fit_cox(rows, len(labels))
    ratios = [] if fit is None else [_ratio(rows, fit, arm, control, labels) for arm, control in pairs]
    return Comparison(tuple(tests), tuple(ratios))


def _test(rows: ArmRows, arms: int, arm: str | None, control: str | None) -> HazardTest:
    done = logrank_test(rows, arms)
    return HazardTest(arm, control, None if done is None else done.statistic, arms - 1, None if done is None else done.p_value)


def _ratio(rows: ArmRows, fit: CoxFit, arm: int, control: int, labels: Sequence[str]) -> HazardRatio:
    contrast = np.zeros(len(labels))
    contrast[arm], contrast[control] = 1.0, -1.0
    along = contrast[1:]
    log_ratio, quantile = float(along @ fit.coefficients), Z95
    if rows.clusters is not None:
        se, quantile = cluster_error(fit.values @ along, rows.unit_weights, rows.clusters)
    elif rows.weights is not None:
        se = standard_error(fit.values @ along, rows.weights)
    else:
        se = math.sqrt(float(along @ fit.covariance @ along))
    low, high = (math.exp(log_ratio + side * quantile * se) for side in (-1.0, 1.0))
    return HazardRatio(labels[arm], labels[control], math.exp(log_ratio), low, high, log_ratio, se)
