"""Estimates of one frame, with the overlap and balance they stand on."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.nuisance import Float64, Learner, Nuisances
from tasks.contract.registry import resolve
from tasks.contract.results import Estimate
from tasks.contract.roles import ColumnRoles
from tasks.estimation.balance import Balance, balance
from tasks.estimation.crossfit import check_folds, cross_fit
from tasks.estimation.evaluate import check_names, evaluate
from tasks.estimation.overlap import OverlapSummary, overlap
from tasks.estimation.table import Table, read_roles, read_table
from tasks.targeting.fluctuation import truncation_bound
from tasks.targeting.influence import Z95

ATE_ESTIMATORS = ("or", "ipw", "aipw", "tmle")


class Analysis(NamedTuple):
    """What ``waymint estimate`` reports.

    Attributes
    ----------
    estimates : list of Estimate
    overlap : OverlapSummary
        On the first repeat's propensities.
    balance : list of Balance
        On the first repeat's propensities.
    """

    estimates: list[Estimate]
    overlap: OverlapSummary
    balance: list[Balance]

    def as_dict(self) -> dict[str, object]:
        """Return plain values, as ``--json`` prints them."""
        return {
            "n": self.overlap.n,
            "estimates": [estimate._asdict() for estimate in self.estimates],
            "overlap": self.overlap.as_dict(),
            "balance": [row._asdict() for row in self.balance],
        }


def estimate(
    frame: pd.DataFrame,
    roles: ColumnRoles | Mapping[str, Any],
    estimators: Sequence[str] = ATE_ESTIMATORS,
    seed: int = 0,
    learner: str | Learner = "stack",
    folds: int = 5,
    repeats: int = 1,
    propensity: Float64 | float | None = None,
    weights: Float64 | None = None,
) -> list[Estimate]:
    """Estimate effects on any pandas frame; see :func:`analyse`, whose ``estimates`` these are."""
    return _fit(frame, roles, estimators, seed, learner, folds, repeats, propensity, "auto", weights).estimates


def analyse(
    frame: pd.DataFrame,
    roles: ColumnRoles | Mapping[str, Any],
    estimators: Sequence[str] = ATE_ESTIMATORS,
    seed: int = 0,
    learner: str | Learner = "stack",
    folds: int = 5,
    repeats: int = 1,
    propensity: Float64 | float | None = None,
    truncation: Literal["auto"] | float = "auto",
    weights: Float64 | None = None,
) -> Analysis:
    """Cross-fit once, evaluate every estimator, measure overlap and balance.

    The order of the rows changes nothing, to the last bit; calling the other label "treated" changes the sign and nothing else.

    Parameters
    ----------
    frame : DataFrame, n rows
        Numbers, booleans, texts, categories, dates; covariates may be missing, treatment and outcome not.
    roles : ColumnRoles or mapping
        Keys ``treatment``, ``outcome``, and optionally ``covariates`` ("*": all others), ``treated`` (default 1), ``outcome_kind``,
        ``subgroups``.
    estimators : sequence of str
        Files of ``methods``; declared subgroups add their GATEs.
    seed : int
        Decides folds and the learner's randomness.
    learner : str or Learner
        A name of the learner registry, or an object of that protocol.
    folds : int
        K, in [2, 20].
    repeats : int
        With more than one, cross-fitting is repeated with other folds and the median is taken:
        se^2 = median(se_r^2 + (estimate_r - median)^2), Chernozhukov et al. (2018), DOI 10.1111/ectj.12097, section 3.4.
    propensity : float or ndarray of shape (n,), optional
        Known P(treated | W), in (0, 1), in the frame's row order; g is then not fitted.
    truncation : "auto" or float
        See :func:`tasks.targeting.fluctuation.truncation_bound`.
    weights : ndarray of float64, shape (n,), optional
        Row weights in the frame's row order, finite and not negative; only their proportions count. A row of weight 0 is left out
        everywhere. Standard errors are those of :func:`tasks.targeting.influence.standard_error`.

    Returns
    -------
    Analysis

    Raises
    ------
    SpecError
        If the roles or another argument are not valid.
    EstimationError
        If the frame can't answer: see :func:`tasks.estimation.table.read_table`; also too few rows for the folds.
    """
    fit = _fit(frame, roles, estimators, seed, learner, folds, repeats, propensity, truncation, weights)
    table, g = fit.table, fit.nuisances.g
    return Analysis(
        estimates=fit.estimates,
        overlap=overlap(table.a, g, fit.bound, fit.weights),
        balance=balance(table.covariates, table.a, g, fit.bound, table.names, fit.weights),
    )


class _Fit(NamedTuple):
    """Estimates of one frame and what they stand on: the table, its row weights, the first repeat's nuisances, d."""

    estimates: list[Estimate]
    table: Table
    nuisances: Nuisances
    bound: float
    weights: Float64 | None


def _fit(
    frame: pd.DataFrame,
    roles: ColumnRoles | Mapping[str, Any],
    estimators: Sequence[str],
    seed: int,
    learner: str | Learner,
    folds: int,
    repeats: int,
    propensity: Float64 | float | None,
    truncation: Literal["auto"] | float,
    weights: Float64 | None,
) -> _Fit:
    known = read_roles(frame, roles)
    check_names(estimators, bool(known.subgroups))
    given = known_propensity(propensity, len(frame))
    w = None if weights is None else known_weights(weights, len(frame))
    if w is not None and not w.all():
        used = w > 0.0
        if not used.any():
            raise EstimationError(f"weights of estimate must be above 0 somewhere; got 0 in all {len(w)} rows.", "Leave the weights out.")
        frame, w, given = frame.loc[used], w[used], None if given is None else given[used]
    table = read_table(frame, known, given, w)
    check_folds(table, folds, repeats)
    bound = truncation_bound(len(table.y), truncation)
    fitter: Learner = resolve("learner", learner) if isinstance(learner, str) else learner
    in_order = None if given is None else given[table.order]
    w = None if w is None else w[table.order]
    runs, first = [], None
    for repeat in range(repeats):
        nuisances = cross_fit(table, fitter, folds, seed, repeat, in_order, w)
        first = nuisances if first is None else first
        runs.append(evaluate(table.a, table.y, nuisances, table.kind, estimators, bound, table.subgroups, w))
    assert isinstance(first, Nuisances)  # repeats >= 1
    return _Fit([median_estimate(repeated) for repeated in zip(*runs)], table, first, bound, w)


def median_estimate(repeated: Sequence[Estimate]) -> Estimate:
    """Take the median over repeated cross-fittings of one estimator (formula at :func:`analyse`).

    Parameters
    ----------
    repeated : sequence of Estimate
        At least one, all of one estimand and estimator.

    Returns
    -------
    Estimate
        The only one, where there is one.
    """
    if len(repeated) == 1:
        return repeated[0]
    point = statistics.median(one.estimate for one in repeated)
    se = statistics.median(one.se**2 + (one.estimate - point) ** 2 for one in repeated) ** 0.5
    return repeated[0]._replace(
        estimate=point,
        se=se,
        ci_low=point - Z95 * se,
        ci_high=point + Z95 * se,
        ess=statistics.median(one.ess for one in repeated),
        clipped=statistics.median(one.clipped for one in repeated),
    )


def known_weights(weights: Float64, n: int) -> Float64:
    """Check row weights, shape (n,): finite and not negative."""
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != (n,):
        raise SpecError(f"weights of estimate must be of shape ({n},); got {values.shape}.")
    for rule, wrong in (("known in every row", np.isnan(values)), ("finite", np.isinf(values)), ("at least 0", values < 0.0)):
        if wrong.any():
            raise EstimationError(
                f"weights of estimate must be {rule}; got {int(np.count_nonzero(wrong))} rows that are not.",
                "Give such rows weight 0 to leave them out.",
            )
    return values


def known_propensity(propensity: Float64 | float | None, n: int) -> Float64 | None:
    """Check known propensities, one for all rows or of shape (n,): in (0, 1)."""
    if propensity is None:
        return None
    values = np.asarray(propensity, dtype=np.float64)
    if values.ndim == 0:
        values = np.full(n, float(values))
    if values.shape != (n,):
        raise SpecError(f"propensity of estimate must be a number or of shape ({n},); got {values.shape}.")
    outside = int(np.count_nonzero(~((values > 0.0) & (values < 1.0))))
    if outside:
        raise EstimationError(f"propensity of estimate must be in (0, 1); got {outside} rows that are not.", "Drop rows without support.")
    return values
