"""Fit once, evaluate all: every estimator on one cross-fitting."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.nuisance import Float64, Int8, Nuisances
from tasks.contract.registry import resolve
from tasks.contract.results import Estimate
from tasks.contract.rng import UInt64
from tasks.estimation.contrasts import TREATED, estimates_of
from tasks.numerics.blocked import blocks_of, floats, kept
from tasks.targeting.fluctuation import truncation_bound
from tasks.targeting.influence import Estimator
from tasks.targeting.sample import Sample, Treatment, prepare

#: Fewest rows that each arm of a subgroup must have.
MIN_SUBGROUP_ARM = 10
#: Most levels of a subgroup column.
MAX_SUBGROUP_LEVELS = 20

Levels = npt.NDArray[np.object_]


def evaluate(
    a: Int8,
    y: Float64,
    nuisances: Nuisances,
    kind: str,
    names: Sequence[str],
    truncation: Literal["auto"] | float = "auto",
    subgroups: Mapping[str, Levels] | None = None,
    weights: Float64 | None = None,
    clusters: UInt64 | None = None,
    labels: Sequence[str] | None = None,
    treatment: Treatment | None = None,
) -> list[Estimate]:
    """Evaluate estimators on one cross-fitting.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0, ..., K - 1.
    y : ndarray of float64, shape (n,)
        Outcome.
    nuisances : Nuisances
        Out-of-fold predictions, each (n,).
    kind : str
        ``"binary"``, ``"continuous"`` or ``"count"``.
    names : sequence of str
        Files of ``methods``: ``"or"``, ``"ipw"``, ``"aipw"``, ``"tmle"`` (ATE), ``"att"``, ``"atc"``, ``"ato"``. ``"gate"`` may be
        named; it is added wherever subgroups are given.
    truncation : "auto" or float
        See :func:`tasks.targeting.fluctuation.truncation_bound`.
    subgroups : mapping of str to ndarray of str, shape (n,), optional
        Level of each row by subgroup column; None where the level is missing (such rows are in no subgroup).
    weights : ndarray of float64, shape (n,), optional
        Row weights, not negative.
    clusters : ndarray of uint64, shape (n,), optional
        Hash of each row's cluster, for standard errors.
    labels : sequence of str, optional
        Labels of the arms, the control first; by default their numbers. Not used of two arms.
    treatment : Treatment, optional
        Of all rows, where the last arm is that of rows without outcome: effects among the rows of one arm are of all its rows.

    Returns
    -------
    list of Estimate
        In the order of ``names``; then one GATE per subgroup column and level, levels sorted. Of more than two arms each name gives the
        contrasts that :func:`contrasts_of` lists, those of the ATE after the mean of every arm.

    Raises
    ------
    SpecError
        If a name is not known, or "gate" is named without subgroups.
    EstimationError
        If the rows can't answer: an empty arm, values that are not finite, a subgroup with too few rows.
    """
    check_names(names, bool(subgroups))
    bound = truncation_bound(len(y), truncation, nuisances.arms)
    sample = prepare(a, y, nuisances, kind, bound, weights, clusters, treatment)
    shown = [str(arm) for arm in range(nuisances.arms)] if labels is None else list(labels)
    results: list[Estimate] = []
    for name in dict.fromkeys(names):
        if name != "gate":
            results += estimates_of(_estimator(name), sample, shown, pairs=name not in TREATED)
    for column, levels in (subgroups or {}).items():
        for level in subgroup_levels(column, levels):
            (member,) = kept(floats(levels == level) * sample.weights)
            _check_subgroup(column, sample, member)
            inside = prepare(a, y, nuisances, kind, bound, member, clusters, treatment)
            results += estimates_of(_estimator("gate", column=column, level=level), inside, shown, pairs=False)
    return results


def check_names(names: Sequence[str], has_subgroups: bool) -> None:
    """Refuse estimators that don't exist, before anything is fitted."""
    if isinstance(names, str):
        raise SpecError(f"estimators must be a list of names; got '{names}'.", f"Write ('{names}',).")
    for name in names:
        _estimator(name)  # raises where there is none, with the nearest name
        if name == "gate" and not has_subgroups:
            raise SpecError("subgroups of roles must be given where 'gate' is asked for; got none.", "Name the columns in roles.subgroups.")


def subgroup_levels(column: str, levels: Levels) -> list[str]:
    """Return the sorted levels of a subgroup column; missing is no level."""
    names = sorted({str(level) for block in blocks_of(levels) for level in block if level is not None})
    if not 1 <= len(names) <= MAX_SUBGROUP_LEVELS:
        raise SpecError(
            f"levels of subgroup '{column}' must be 1 to {MAX_SUBGROUP_LEVELS}; got {len(names)}.",
            "Cut the column into a few levels first.",
        )
    return names


@functools.cache
def _estimator(name: str, **params: str) -> Estimator:
    # frozen, and resolved thousands of times by a simulation: looking up entry points costs milliseconds
    built: Estimator = resolve("estimator", name, params)
    return built


def _check_subgroup(column: str, sample: Sample, member: Float64) -> None:
    arms = [int(np.count_nonzero((sample.a == arm) & (member > 0.0))) for arm in range(sample.nuisances.arms)]
    if min(arms) < MIN_SUBGROUP_ARM:
        raise EstimationError(
            f"rows of each arm in every level of subgroup '{column}' must be at least {MIN_SUBGROUP_ARM}; got {min(arms)}.",
            "Merge rare levels, or leave the subgroup out.",
        )
