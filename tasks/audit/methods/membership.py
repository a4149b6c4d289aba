"""Membership: whether the release separates rows that its synthesizer saw from rows that it never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from sklearn.ensemble import ExtraTreesClassifier

from tasks.audit.case import Bool, Case, Float64
from tasks.audit.encoding import matrix
from tasks.audit.finding import Finding, finding, together
from tasks.audit.intervals import Interval, auc, hit_rate
from tasks.distance import closest, fit_scale

#: Added to distances, so that a ratio of two coincidences is 1 and not undefined.
FLOOR = 1e-9
#: Largest excess that still counts as none: of the AUC, and of the true positive rate at 1 % and at 0.1 % false positives.
AUC_TOLERANCE = 0.05
RATES = {0.01: 0.02, 0.001: 0.01}


class Params(BaseModel):
    """Parameters of the membership attack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subsets: int = Field(8, ge=0, le=100, description="random halves of the columns that the subset score looks at")
    trees: int = Field(100, ge=10, le=2000, description="trees of the classifier that tells release from reference")


class _Table(NamedTuple):
    """The attacked rows, and what the attacker compares them with."""

    targets: pd.DataFrame
    release: pd.DataFrame
    reference: pd.DataFrame


Score = Callable[[_Table], Float64]


def distance(table: _Table) -> Float64:
    """Score by nearness: minus the distance to the closest released row."""
    scale = fit_scale([table.reference, table.release])
    return -closest(table.targets, table.release, scale=scale)[0][:, 0]


def density_ratio(table: _Table) -> Float64:
    """Score by the density of the release over that of the source's law, both by the closest record.

    The DOMIAS form p_S(x) / p_R(x) (van Breugel et al. 2023, arXiv:2302.12580); a nearest-neighbour density falls with d^-k, so
    the ratio is ordered as log d_R - log d_S is.
    """
    scale = fit_scale([table.reference, table.release])
    to_release = closest(table.targets, table.release, scale=scale)[0][:, 0]
    to_reference = closest(table.targets, table.reference, scale=scale)[0][:, 0]
    return np.log(to_reference + FLOOR) - np.log(to_release + FLOOR)


def subset_ratio(subsets: Sequence[Sequence[str]]) -> Score:
    """Score by the largest density ratio over subsets of the columns: finds rows that were copied in part."""

    def score(table: _Table) -> Float64:
        ratios = [density_ratio(_Table(*(frame[list(chosen)] for frame in table))) for chosen in subsets]
        return np.asarray(np.max(ratios, axis=0), dtype=np.float64)

    return score


def classifier_ratio(trees: int, state: int) -> Score:
    """Score by a classifier's log odds of release against reference: the density ratio where distances mean little."""

    def score(table: _Table) -> Float64:
        x = np.vstack([matrix(table.release), matrix(table.reference)])
        label = np.repeat([1, 0], [len(table.release), len(table.reference)])
        forest = ExtraTreesClassifier(trees, min_samples_leaf=3, class_weight="balanced", random_state=state, n_jobs=1)
        odds = forest.fit(x, label).predict_proba(matrix(table.targets))[:, 1]
        return np.asarray(np.log(odds + FLOOR) - np.log1p(FLOOR - odds), dtype=np.float64)

    return score


class Membership:
    """The attack; see :class:`Params`.

    The holdout is cut into two halves that take turns: one is the attacker's reference, a sample of the source's law, and the other
    holds the non-members; half of the training rows goes with each. So no row is scored against itself, and where nothing leaks
    members and non-members are exchangeable. The control is the same attack with half of the holdout for members.
    """

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(self, case: Case, rng: np.random.Generator) -> list[Finding]:
        """Return AUC and true positive rates of each score."""
        training, holdout, release = case.frames()
        scores = self._scores(list(training.columns), rng)
        sides = rng.permutation(len(training)) % 2, rng.permutation(len(holdout)) % 2
        coin = rng.permutation(len(holdout)) % 2 == 0
        confidence = together(len(scores) * (1 + len(RATES)))
        findings: list[Finding] = []
        for name, score in scores.items():
            members, others = np.empty(len(training)), np.empty(len(holdout))
            for side in (0, 1):
                here, there = training[sides[0] == side], holdout[sides[1] == side]
                reference = holdout[sides[1] != side].reset_index(drop=True)
                scored = score(_Table(pd.concat([here, there], ignore_index=True), release, reference))
                # another reference shifts all scores: both sides are brought to one centre
                scored = scored - np.median(scored)
                members[sides[0] == side], others[sides[1] == side] = scored[: len(here)], scored[len(here) :]
            findings += _findings(name, members, others, coin, confidence)
        return findings

    def _scores(self, names: list[str], rng: np.random.Generator) -> dict[str, Score]:
        state = int(rng.integers(2**31))
        scores: dict[str, Score] = {
            "distance": distance,
            "density_ratio": density_ratio,
            "classifier_ratio": classifier_ratio(self.params.trees, state),
        }
        if len(names) > 3 and self.params.subsets:
            half = len(names) // 2
            drawn = [np.sort(rng.choice(len(names), size=half, replace=False)) for _ in range(self.params.subsets)]
            scores["subset_ratio"] = subset_ratio([[names[at] for at in chosen] for chosen in drawn])
        return scores


def _findings(name: str, members: Float64, others: Float64, coin: Bool, confidence: float) -> list[Finding]:
    def _finding(statistic: str, value: Interval | None, **more: Any) -> Finding:
        return finding(
            "membership", f"{statistic}_{name}", value, confidence=confidence, targets=len(members), controls=len(others), **more
        )

    control = auc(others[coin], others[~coin], confidence).value
    detail = "training rows against holdout rows; control: one half of the holdout against the other"
    findings = [_finding("auc", auc(members, others, confidence), baseline=0.5, control=control, tolerance=AUC_TOLERANCE, detail=detail)]
    for alarm, tolerance in RATES.items():
        seen, same = hit_rate(members, others, alarm, confidence), hit_rate(others[coin], others[~coin], alarm, confidence)
        detail = f"share of training rows that score above all but {alarm:.1%} of the holdout rows"
        if seen is None:
            detail += f"; needs {round(1 / alarm):,} holdout rows, got {len(others):,}"
        rate, excess = seen or (None, None)
        name_of_rate = f"tpr_at_{alarm:g}_fpr"
        findings.append(
            _finding(
                name_of_rate, rate, excess=excess, baseline=alarm, control=same and same.rate.value, tolerance=tolerance, detail=detail
            )
        )
    return findings


def build(params: Params) -> Membership:
    """Return the attack."""
    return Membership(params)
