"""Estimates of one table, with the overlap and balance they stand on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.nuisance import Float64, Learner, Nuisances
from tasks.contract.registry import resolve
from tasks.contract.results import Estimate
from tasks.contract.rng import UInt64
from tasks.contract.roles import ColumnRoles
from tasks.estimation.arms import ArmsOverlap, overlap_of_arms
from tasks.estimation.balance import Balance, balance
from tasks.estimation.evaluate import check_names, evaluate
from tasks.estimation.overlap import OverlapSummary, overlap
from tasks.estimation.row_values import known_propensity, known_weights
from tasks.estimation.spilled import SpilledTable
from tasks.estimation.sums import BalanceRows, BalanceSums
from tasks.estimation.table import Table, read_roles, read_table
from tasks.estimation.unobserved import cross_fit_observed
from tasks.nuisance.crossfit import Rows, cross_fit
from tasks.nuisance.plan import SOURCE, Plan, require_rows_per_fold
from tasks.numerics.blocked import in_blocks
from tasks.numerics.threads import one_thread
from tasks.targeting.estimators import ATE
from tasks.targeting.fluctuation import truncate_arms, truncation_bound
from tasks.targeting.sample import Treatment
from tasks.targeting.unobserved import with_unobserved

Report = Callable[[str], None]


class Analysis(NamedTuple):
    """What ``waymint estimate`` reports.

    Attributes
    ----------
    estimates : list of Estimate
    overlap : OverlapSummary or ArmsOverlap
        Of more than two arms arm by arm.
    balance : list of Balance
    rows : int
        Rows that the nuisances were fitted on: all, or a hash sample of them.
    """

    estimates: list[Estimate]
    overlap: OverlapSummary | ArmsOverlap
    balance: list[Balance]
    rows: int

    def as_dict(self) -> dict[str, object]:
        """Return plain values, as ``--json`` prints them."""
        return {
            "n": self.overlap.n,
            "estimates": [estimate._asdict() for estimate in self.estimates],
            "overlap": self.overlap.as_dict(),
            "balance": [row._asdict() for row in self.balance],
        }


class Predicted(NamedTuple):
    """Out-of-fold nuisances in the order of the rows' keys, arms as ``a`` numbers them; and the rows that learners were fitted on.

    ``presence`` holds g and, in the place of Q, the chance that the outcome is observed, where some are missing; else it is the
    nuisances.
    """

    nuisances: Nuisances
    rows: int
    presence: Nuisances


def estimate(
    frame: pd.DataFrame,
    roles: ColumnRoles | Mapping[str, Any],
    estimators: Sequence[str] = ATE,
    seed: int = 0,
    learner: str | Learner = "stack",
    folds: int = 5,
    repeats: int = 1,
    propensity: Float64 | float | None = None,
    weights: Float64 | None = None,
) -> list[Estimate]:
    """Estimate effects on any pandas frame; see :func:`analyse`, whose ``estimates`` these are."""
    table = _table(frame, roles, estimators, propensity, weights)
    plan = plan_of(table, SOURCE, seed, folds, repeats)
    return _evaluated(table, predict(table, plan, learner), estimators, "auto")


def analyse(
    frame: pd.DataFrame,
    roles: ColumnRoles | Mapping[str, Any],
    estimators: Sequence[str] = ATE,
    seed: int = 0,
    learner: str | Learner = "stack",
    folds: int = 5,
    repeats: int = 1,
    propensity: Float64 | float | None = None,
    truncation: Literal["auto"] | float = "auto",
    weights: Float64 | None = None,
    clusters: UInt64 | None = None,
    strata: npt.NDArray[np.int64] | None = None,
) -> Analysis:
    """Cross-fit once, evaluate every estimator, measure overlap and balance.

    The order of the rows changes nothing, to the last bit; calling the other label "treated" changes the sign and nothing else.

    Parameters
    ----------
    frame : DataFrame, n rows
        Numbers, booleans, texts, categories, dates; covariates may be missing, treatment and outcome not.
    roles : ColumnRoles or mapping
        Keys ``treatment``, ``outcome``, and optionally ``covariates`` ("*": all others), ``treated`` (default 1), ``control`` (needed
        of more than two arms), ``outcome_kind``, ``subgroups``.
    estimators : sequence of str
        Files of ``methods``; declared subgroups add their GATEs.
    seed : int
        Decides folds and the learner's randomness.
    learner : str or Learner
        A name of the learner registry, or an object of that protocol.
    folds : int
        K, in [2, 20].
    repeats : int
        Cross-fittings with other folds, whose out-of-fold predictions are averaged: as a release does it.
    propensity : float or ndarray of shape (n,), optional
        Known P(treated | W), in (0, 1), in the frame's row order; g is then not fitted. Of two arms only.
    truncation : "auto" or float
        See :func:`tasks.targeting.fluctuation.truncation_bound`.
    weights : ndarray of float64, shape (n,), optional
        Row weights in the frame's row order, finite and not negative; only their proportions count. A row of weight 0 is left out
        everywhere. Standard errors are those of :func:`tasks.targeting.influence.standard_error`.
    clusters : ndarray of uint64, shape (n,), optional
        Hash of each row's cluster: folds hold whole clusters, and standard errors are those of
        :func:`tasks.targeting.influence.cluster_error`.
    strata : ndarray of int64, shape (n,), optional
        Number of each row's randomisation stratum, from 0: folds are stratified by it. Its columns belong among the covariates: a
        treatment that was randomised within strata is confounded by them where shares differ.

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
    table = _table(frame, roles, estimators, propensity, weights, clusters, strata)
    return analyse_table(table, plan_of(table, SOURCE, seed, folds, repeats), estimators, learner, truncation)


def analyse_table(
    table: Table | SpilledTable,
    plan: Plan,
    estimators: Sequence[str],
    learner: str | Learner = "stack",
    truncation: Literal["auto"] | float = "auto",
    report: Report | None = None,
) -> Analysis:
    """Do what :func:`analyse` does with a table that has been read: in memory, or on disk with a batch of covariates in memory at a time.

    Parameters
    ----------
    table : Table or SpilledTable
        With its row weights and known propensities.
    plan : Plan
        Of :func:`plan_of`.
    estimators, learner, truncation
        As in :func:`analyse`.
    report : callable, optional
        Gets a line of text as the work goes on.

    Returns
    -------
    Analysis
    """
    check_names(estimators, isinstance(table, Table) and bool(table.subgroups))
    bound = truncation_bound(len(table.y), truncation, len(table.ranks))
    with one_thread():
        predicted = predict(table, plan, learner, report)
        if report is not None:
            report("evaluating")
        return Analysis(
            estimates=_evaluated(table, predicted, estimators, truncation),
            overlap=_overlap(table, predicted.presence, bound),
            balance=_balance(table, truncate_arms(predicted.presence, bound)),
            rows=predicted.rows,
        )


def plan_of(table: Table | SpilledTable, name: str, seed: int, folds: int, repeats: int, fit_rows: int | None = None) -> Plan:
    """Return the plan by which a table is cross-fitted.

    Parameters
    ----------
    table : Table or SpilledTable
    name : str
        :data:`tasks.nuisance.plan.SOURCE`, or the name of a release's copy.
    seed, folds, repeats
        As in :func:`analyse`.
    fit_rows : int, optional
        Most rows that a learner is fitted on in one fold (a hash sample); a :class:`tasks.contract.nuisance.PartitionedLearner` goes on
        from there to all of them. None for no limit.

    Returns
    -------
    Plan

    Raises
    ------
    SpecError
        If a number is out of its range.
    EstimationError
        If an arm has too few rows for the folds.
    """
    if not 2 <= folds <= 20:
        raise SpecError(f"folds of estimate must be in [2, 20]; got {folds}.")
    if repeats < 1:
        raise SpecError(f"repeats of estimate must be at least 1; got {repeats}.")
    if fit_rows is not None and fit_rows < 1:
        raise SpecError(f"fit_rows of estimate must be at least 1; got {fit_rows}.")
    require_rows_per_fold(table.label, folds)
    return Plan(name, seed, folds, repeats, fit_rows)


def predict(table: Table | SpilledTable, plan: Plan, learner: str | Learner, report: Report | None = None) -> Predicted:
    """Cross-fit a table: g and Q of each row by models that have not seen its fold.

    Nuisances are fitted on the table's label, so that calling another label the control renames the arms and changes nothing else.
    """
    fitter: Learner = resolve("learner", learner) if isinstance(learner, str) else learner
    given, arms, as_sorted = table.propensity, len(table.ranks), tuple(range(len(table.ranks)))
    if given is not None and arms > 2:
        raise SpecError(f"propensity of estimate must be left out of {arms} arms; it is P(treated) of two.", "Leave it to be fitted.")
    of_label = None if given is None else given if table.ranks == as_sorted else 1.0 - given
    clusters = table.clusters if isinstance(table, Table) else None
    strata = table.strata if isinstance(table, Table) else None
    rows = Rows(table.keys, table.label, table.y, table.kind, table.weights, of_label, clusters, strata, arms)
    observed = table.observed if isinstance(table, Table) else None
    report = report or (lambda _: None)
    if observed is not None:
        fitted, presence = cross_fit_observed(plan, fitter, rows, observed, table, report)
        by_arm = fitted.nuisances.rearranged((*table.ranks, arms))
        return Predicted(by_arm, fitted.rows, presence.rearranged(table.ranks))
    fitted = cross_fit(plan, fitter, rows, table, report)
    nuisances = fitted.nuisances if table.ranks == as_sorted else fitted.nuisances.rearranged(table.ranks)
    if given is not None:
        nuisances = nuisances.with_propensities(given)
    ordered = Nuisances(*(table.by_key(values) for values in nuisances))
    return Predicted(ordered, fitted.rows, ordered)


def _table(
    frame: pd.DataFrame,
    roles: ColumnRoles | Mapping[str, Any],
    estimators: Sequence[str],
    propensity: Float64 | float | None,
    weights: Float64 | None,
    clusters: UInt64 | None = None,
    strata: npt.NDArray[np.int64] | None = None,
) -> Table:
    """Check what was given and read the frame; rows of weight 0 are left out."""
    columns = read_roles(frame, roles)
    check_names(estimators, bool(columns.subgroups))
    given = known_propensity(propensity, len(frame))
    w = None if weights is None else known_weights(weights, len(frame))
    if w is not None and not w.all():
        used = w > 0.0
        if not used.any():
            raise EstimationError(f"weights of estimate must be above 0 somewhere; got 0 in all {len(w)} rows.", "Leave the weights out.")
        frame, w, given = frame.loc[used], w[used], None if given is None else given[used]
        clusters, strata = None if clusters is None else clusters[used], None if strata is None else strata[used]
    table = read_table(frame, columns, given, w)
    return replace(
        table,
        clusters=None if clusters is None else clusters[table.order],
        strata=None if strata is None else strata[table.order],
    )


def _evaluated(
    table: Table | SpilledTable, predicted: Predicted, estimators: Sequence[str], truncation: Literal["auto"] | float
) -> list[Estimate]:
    weights = None if table.weights is None else table.by_key(table.weights)
    subgroups = table.subgroups if isinstance(table, Table) else None
    clusters = table.clusters if isinstance(table, Table) else None
    nuisances = predicted.nuisances
    a, y, treatment = table.by_key(table.a), table.by_key(table.y), None
    if isinstance(table, SpilledTable):
        a, y, weights = in_blocks(a), in_blocks(y), None if weights is None else in_blocks(weights)
        nuisances = Nuisances(*(in_blocks(values) for values in nuisances))
    elif table.observed is not None:
        treatment = Treatment(a, predicted.presence.propensities)
        a = with_unobserved(a, table.observed, len(table.ranks))
    given = (table.kind, estimators, truncation, subgroups, weights, clusters, table.labels or None, treatment)
    return evaluate(a, y, nuisances, *given)


def _overlap(table: Table | SpilledTable, nuisances: Nuisances, bound: float) -> OverlapSummary | ArmsOverlap:
    a, weights = table.by_key(table.a), None if table.weights is None else table.by_key(table.weights)
    if isinstance(table, SpilledTable):
        a, weights = in_blocks(a), None if weights is None else in_blocks(weights)
        nuisances = Nuisances(*(in_blocks(values) for values in nuisances))
    if nuisances.arms > 2:
        return overlap_of_arms(a, nuisances, bound, table.labels, weights)
    return overlap(a, nuisances.g, bound, weights)


def _balance(table: Table | SpilledTable, p: tuple[Float64, ...]) -> list[Balance]:
    """Measure balance, batch by batch where the table is on disk; truncated propensities are in the order of keys."""
    if isinstance(table, Table):
        return balance(table.covariates, table.a, p, table.names, table.weights, table.labels)
    in_rows = np.empty((len(p), len(p[0])))
    in_rows[:, table.order] = p
    sums = BalanceSums(table.ranges, table.levels)
    state = sums.start()
    for rows, frame in table.batches():
        w = None if table.weights is None else table.weights[rows]
        state = sums.merge(state, sums.visit(sums.start(), BalanceRows(frame, table.a[rows], tuple(in_rows[:, rows]), w)))
    return sums.finish(state, table.names, table.labels)
