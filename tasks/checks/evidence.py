"""What the gates judge on: plain arrays and numbers, gathered by others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.checks.laws import LawEvidence
from tasks.checks.support import SupportEvidence
from tasks.checks.survival import SurvivalEvidence
from tasks.contract.budget import Answer
from tasks.contract.errors import EstimationError

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DistanceEvidence:
    """Closest records of the released rows, on the covariates.

    The pool is training rows and holdout together, as its m distinct rows; see :func:`tasks.checks.pool.gather`, whose order
    does not depend on which rows are training rows: where more than ``k`` distinct rows tie, the choice is random,
    and every test stays exact.

    Attributes
    ----------
    training : ndarray of float64, shape (n,)
        Distance of each released row to its closest training row.
    holdout_to_training : ndarray of float64, shape (n_holdout,)
        Distance of each holdout row to its closest training row.
    pool_training, pool_holdout : ndarray of int64, shape (m,)
        Training and holdout rows that are the distinct pool row.
    pool_distances : ndarray of float64, shape (n, k)
        Distances of each released row to its k closest distinct pool rows, ascending.
    pool_rows : ndarray of int64, shape (n, k)
        Their positions, in [0, m).
    release_pairs : int
        Pairs of released rows (of the n) with identical covariates; see :func:`tasks.checks.pool.identical_pairs`.
    unit : str
        What the pool counts: ``"rows"``, or ``"clusters"``, of which released rows and holdout rows are one each.
    """

    training: Float64
    holdout_to_training: Float64
    pool_training: Int64
    pool_holdout: Int64
    pool_distances: Float64
    pool_rows: Int64
    release_pairs: int
    unit: str = "rows"

    def __post_init__(self) -> None:
        n, size = len(self.training), len(self.pool_training)
        if self.pool_distances.ndim != 2 or self.pool_distances.shape != self.pool_rows.shape or len(self.pool_rows) != n:
            raise EstimationError(
                f"pool_distances and pool_rows of the distance evidence must be of shape ({n}, k); "
                f"got {self.pool_distances.shape} and {self.pool_rows.shape}."
            )
        if len(self.pool_holdout) != size or bool(np.any(self.pool_training + self.pool_holdout < 1)):
            raise EstimationError(
                "pool_training and pool_holdout of the distance evidence must count at least one row each; got a row with no count."
            )
        if len(self.holdout_to_training) != self.n_holdout:
            raise EstimationError(
                f"holdout_to_training of the distance evidence must be of length {self.n_holdout}; got {len(self.holdout_to_training)}."
            )
        if n and (self.pool_rows.min() < 0 or self.pool_rows.max() >= size):
            raise EstimationError(f"pool_rows of the distance evidence must be below {size}; got one outside.")

    @property
    def n_training(self) -> int:
        """Training rows."""
        return int(self.pool_training.sum())

    @property
    def n_holdout(self) -> int:
        """Holdout rows."""
        return int(self.pool_holdout.sum())


@dataclass(frozen=True)
class GroupEvidence:
    """Closest records of released rows in several groups of columns, over one sample of pool rows.

    Attributes
    ----------
    names : tuple of str
        Names of the groups.
    columns : tuple of tuple of str
        Their columns, by name.
    counts : ndarray of float64, shape (N, G)
        See :func:`tasks.checks.joint.joint_closeness`.
    training : ndarray of bool, shape (N,)
        Which pool rows are training rows.
    state : int
        Seed of the generator that draws the relabellings.
    """

    names: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    counts: Float64
    training: npt.NDArray[np.bool_]
    state: int

    def __post_init__(self) -> None:
        shape = (len(self.training), len(self.names))
        if self.counts.shape != shape or len(self.columns) != len(self.names):
            raise EstimationError(f"counts of the group evidence must be of shape {shape}; got {self.counts.shape}.")

    @property
    def sides(self) -> tuple[int, int]:
        """Training rows and holdout rows."""
        training = int(self.training.sum())
        return training, len(self.training) - training


@dataclass(frozen=True)
class IsolationEvidence:
    """Which rows the release comes strikingly near to; see :func:`tasks.distance.isolation.is_tracked`.

    Attributes
    ----------
    tracked : ndarray of bool, shape (k,)
        Of the k most isolated rows of training rows and holdout together.
    training : ndarray of bool, shape (k,)
        Which of them are training rows; the others are holdout rows.
    others : int
        Holdout rows at large that are compared with them.
    others_tracked : int
        How many of those the release comes near to.
    """

    tracked: npt.NDArray[np.bool_]
    training: npt.NDArray[np.bool_]
    others: int
    others_tracked: int


@dataclass(frozen=True)
class HoldoutEvidence:
    """What the holdout answered by Thresholdout, and what is left of its budget.

    Attributes
    ----------
    answer : Answer
        To this release's question; of one that is spent, nothing but that.
    """

    answer: Answer


@dataclass(frozen=True)
class OverlapEvidence:
    """How much the two arms of one table overlap; as the estimation step measures it.

    Attributes
    ----------
    rows : int
        Rows judged.
    bound : float
        d: propensities in [d, 1-d] count as overlapping.
    outside : float
        Share of rows with g outside [d, 1-d], in [0, 1].
    treated, control : int
        Rows of each arm.
    ess_treated, ess_control : float
        Effective share of each arm, (sum w)^2 / (n_arm sum w^2), in [0, 1].
    largest_weight : float
        Largest weight as a share of its arm's sum of weights, in [0, 1].
    slope : float or None
        Calibration slope of g; None where it has no estimate.
    arms : tuple of (str, int, float)
        Of more than two arms the label, rows and effective share of each, the control first; ``treated``, ``control`` and their shares
        are then those of the smallest arm and of the control.
    estimand : str
        What overlap is asked for: ``"ate"``, ``"att"`` or ``"ato"``; ``outside`` and ``ess`` are what it needs.
    ess : float or None
        Effective share that another estimand than the ATE rests on.
    """

    rows: int
    bound: float
    outside: float
    treated: int
    control: int
    ess_treated: float
    ess_control: float
    largest_weight: float
    slope: float | None = None
    arms: tuple[tuple[str, int, float], ...] = ()
    estimand: str = "ate"
    ess: float | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> OverlapEvidence:
        """Read the overlap record of the estimation step (``OverlapSummary.as_dict``, ``ArmsOverlap.as_dict``)."""
        target = record.get("of_target")
        overlap = cls._of_arms(record) if "arms" in record else cls._of_two(record)
        if target is None:
            return overlap
        return replace(overlap, outside=target["outside"], estimand=target["estimand"], ess=target["ess"])

    @classmethod
    def _of_arms(cls, record: Mapping[str, Any]) -> OverlapEvidence:
        arms = tuple((arm["arm"], arm["rows"], arm["ess"]) for arm in record["arms"])
        _, rows, share = min(arms[1:], key=lambda arm: arm[1])
        first = arms[0]
        return cls(record["n"], record["bound"], record["outside"], rows, first[1], share, first[2], record["largest_weight"], None, arms)

    @classmethod
    def _of_two(cls, record: Mapping[str, Any]) -> OverlapEvidence:
        return cls(
            rows=record["n"],
            bound=record["bound"],
            outside=record["outside"],
            treated=record["arm1"],
            control=record["arm0"],
            ess_treated=record["ess1"],
            ess_control=record["ess0"],
            largest_weight=record["largest_weight"],
            slope=record["calibration"]["slope"],
        )


@dataclass(frozen=True)
class FidelityEvidence:
    """The effect in the source, in the release, and the truth of the model the release was drawn from.

    Attributes
    ----------
    ate_source, se_source : float
        Efficient estimate from the source and its standard error, in units of the outcome.
    ate_release, se_release : float
        The same estimator on the release.
    truth, truth_se : float or None
        Mean of Q*1 - Q*0 over released covariates and its Monte-Carlo error.
    name : str
        The effect: ``"ATE"``, or another target, of more than two arms with the arms compared.
    among : int
        Effects of which this one differs most.
    """

    ate_source: float
    se_source: float
    ate_release: float
    se_release: float
    truth: float | None = None
    truth_se: float | None = None
    name: str = "ATE"
    among: int = 1

    @property
    def z(self) -> float:
        """The gap over its standard error; infinite where an estimate is no usable number, so that it is judged first."""
        gap, se = self.ate_release - self.ate_source, math.hypot(self.se_source, self.se_release)
        usable = math.isfinite(gap) and math.isfinite(se) and min(self.se_source, self.se_release) > 0
        return abs(gap) / se if usable else math.inf


@dataclass(frozen=True)
class CalibrationEvidence:
    """How a pool of drawn covariates was balanced to the source.

    Attributes
    ----------
    relaxed : float
        How far the target was moved towards the pool's means: 0 is not at all, 1 is no balancing.
    ess : float
        Effective share of the pool, in (0, 1].
    capped : float
        Share of pool rows held at the largest weight.
    """

    relaxed: float
    ess: float
    capped: float


@dataclass(frozen=True)
class SchemaEvidence:
    """How a released table differs in form from its source; adds up over parts.

    Attributes
    ----------
    rows : int
        Rows inspected.
    mismatches : tuple of str
        One line for each difference in names, order or types. Names of columns and types only.
    outside : tuple of (str, int)
        Columns with cells outside the source's levels or safe range, and how many such cells.
    """

    rows: int
    mismatches: tuple[str, ...] = ()
    outside: tuple[tuple[str, int], ...] = ()

    def __add__(self, other: SchemaEvidence) -> SchemaEvidence:
        """Return the evidence of both parts together."""
        cells = dict(self.outside)
        for name, count in other.outside:
            cells[name] = cells.get(name, 0) + count
        lines = tuple(dict.fromkeys(self.mismatches + other.mismatches))
        return SchemaEvidence(self.rows + other.rows, lines, tuple(sorted(cells.items())))


@dataclass(frozen=True)
class Evidence:
    """Everything there is to judge on; a part that is None was not gathered and has no metrics.

    ``audit`` holds the findings of attacks, as an audit records them.
    """

    distance: DistanceEvidence | None = None
    groups: GroupEvidence | None = None
    isolation: IsolationEvidence | None = None
    holdout: HoldoutEvidence | None = None
    audit: tuple[Mapping[str, Any], ...] | None = None
    source: OverlapEvidence | None = None
    release: OverlapEvidence | None = None
    fidelity: FidelityEvidence | None = None
    schema: SchemaEvidence | None = None
    calibration: CalibrationEvidence | None = None
    laws: LawEvidence | None = None
    support: SupportEvidence | None = None
    survival: SurvivalEvidence | None = None

    @property
    def spent(self) -> bool:
        """Whether the holdout's budget is spent: no number that depends on it may be reported."""
        return self.holdout is not None and self.holdout.answer.spent
