"""Mechanism leakage: what the released treatments and outcomes give away of single rows' own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from tasks.audit.case import Case, Float64, Int8, Int64, Rows
from tasks.audit.finding import Finding, finding, together
from tasks.audit.intervals import auc, share
from tasks.audit.laws import Laws, OutcomeLaw, learn
from tasks.distance import closest, fit_scale

AUC_TOLERANCE = 0.05
#: Smallest excess of accuracy over chance that the attack must be able to exclude.
COIN_TOLERANCE = 0.1


class Params(BaseModel):
    """Parameters of the mechanism attack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trees: int = Field(200, ge=10, le=5000, description="trees of the attacker's forests, grown to single rows")
    neighbours: int = Field(5, ge=1, le=100, description="released rows that the nearest-record attacker asks")


class MechanismAttack:
    """The attack; see :class:`Params`.

    *Likelihood*: forests with single-row leaves learn P_S(A | W) and P_S(Y | A, W) of every outcome on the release, and which cells are
    missing; training rows should not be more likely under them than holdout rows. In mode "hybrid" the mechanisms have used both, so a
    low number proves no absence of leakage there.

    *Canaries*: where rows with coin-flip A and outcomes were planted (:mod:`tasks.audit.canaries`), their coins are guessed from the
    release. Chance is 1/2 (1/K for the treatment of K arms) by construction, whatever the law of the table, and the control guesses
    coins that were never planted.
    """

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(self, case: Case, rng: np.random.Generator) -> list[Finding]:
        """Return the likelihood attack's AUC and, with canaries, two accuracies for the treatment and two for each outcome."""
        laws = learn(case.release, case.outcomes, self.params.trees, rng)
        confidence = together(3 + 2 * len(laws.outcomes) if case.canaries is not None else 1)
        members, others = laws.likelihood(case.training), laws.likelihood(case.holdout)
        coin = rng.permutation(len(others)) % 2 == 0
        hybrid = case.mode == "hybrid"
        score = "log P(A|W) + log P(Y|A,W)" + (" of every outcome" if len(laws.outcomes) > 1 else "")
        warning = "; the mechanisms used both, so this alone clears nothing: plant canaries" if hybrid else ""
        findings = [
            finding(
                "mechanism",
                "auc_likelihood",
                auc(members, others, confidence),
                baseline=0.5,
                control=auc(others[coin], others[~coin], confidence).value,
                tolerance=AUC_TOLERANCE,
                confidence=confidence,
                targets=len(members),
                controls=len(others),
                can_clear=not hybrid,
                detail=f"{score} learnt on the release, training rows against holdout rows{warning}",
            )
        ]
        if case.canaries is not None:
            findings += self._coins(case, case.canaries, laws, rng, confidence)
        return findings

    def _coins(self, case: Case, canaries: Rows, laws: Laws, rng: np.random.Generator, confidence: float) -> list[Finding]:
        scale = fit_scale([canaries.covariates, case.release.covariates])
        k = min(self.params.neighbours, len(case.release))
        near = closest(canaries.covariates, case.release.covariates, k=k, scale=scale)[1]
        of_a = {"forest": laws.chances(canaries), "nearest": _arm_shares(case.release.treatment[near], canaries.arms)}
        arm = _same_arm(case.release, canaries, k)
        # a fair coin for each outcome, a fair die of as many sides as there are arms for the treatment
        truth = canaries.treatment.astype(np.int64)
        guesses = [_Guess("a", "A", name, truth, _arm_guess(score), canaries.arms) for name, score in of_a.items()]
        for law in laws.outcomes:
            guesses += _outcome_guesses(case, canaries, law, arm)
        findings = []
        for of, title, attacker, coins, guess, sides in guesses:
            fresh = rng.integers(sides, size=len(coins))
            findings.append(
                finding(
                    "mechanism",
                    f"canary_{of}_{attacker}",
                    share(int(np.sum(guess == coins)), len(coins), confidence),
                    baseline=1.0 / sides,
                    control=float(np.mean(guess == fresh)),
                    tolerance=COIN_TOLERANCE,
                    confidence=confidence,
                    targets=len(coins),
                    controls=len(coins),
                    detail=f"coin-flip {title} of planted rows guessed from the release; control: coins that were not planted",
                )
            )
        return findings


class _Guess(NamedTuple):
    """Coins of the planted rows, shape (n,), and what an attacker takes them for."""

    of: str
    title: str
    attacker: str
    coins: Int64
    guess: Int64
    sides: int


def _outcome_guesses(case: Case, canaries: Rows, law: OutcomeLaw, arm: np.ndarray) -> list[_Guess]:
    """Guess one outcome's coins by the forest, and by the closest released rows of the same arm that know it."""
    outcome = law.outcome
    cells, released = canaries.cells(outcome.id), case.release.cells(outcome.id)[arm]
    planted = np.flatnonzero(~np.isnan(cells))
    if not len(planted):
        return []
    cells, released = cells[planted], released[planted]
    up = (cells > (cells.min() + cells.max()) / 2).astype(np.int64)
    present = ~np.isnan(released)
    mean = np.where(present, released, 0.0).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    nearest = np.where(present.any(axis=1), mean, float(np.nanmean(case.release.cells(outcome.id))))
    of_y = {"forest": law.expected(canaries, canaries.treatment)[planted], "nearest": nearest}
    title = f"Y ('{outcome.name}')" if len(case.outcomes) > 1 else "Y"
    return [_Guess(outcome.id, title, name, up, _above(score), 2) for name, score in of_y.items()]


def _above(score: Float64) -> Int64:
    """Guess coins by scores: about half fell on either side, so the guesses are split at the median."""
    return np.asarray(score > np.median(score), dtype=np.int64)


def _arm_guess(scores: Float64) -> Int64:
    """Guess arms by a score for each, shape (n, K): of more than two arms the one whose score is highest beside its mean."""
    if scores.shape[1] == 2:
        return _above(scores[:, 1])
    return np.asarray(np.argmax(scores / np.maximum(scores.mean(axis=0), np.finfo(np.float64).tiny), axis=1), dtype=np.int64)


def _arm_shares(treatments: Int8, arms: int) -> Float64:
    """Return the share of each arm among neighbours, shape (n, K), of treatments of shape (n, k)."""
    return np.column_stack([np.mean(treatments == arm, axis=1) for arm in range(arms)])


def _same_arm(release: Rows, canaries: Rows, k: int) -> np.ndarray:
    """Return the k closest released rows of each canary's own arm (of any arm where it has fewer)."""
    neighbours = np.empty((len(canaries), k), dtype=np.int64)
    scale = fit_scale([canaries.covariates, release.covariates])
    for a in range(canaries.arms):
        chosen = canaries.treatment == a
        pool = np.flatnonzero(release.treatment == a)
        if len(pool) < k:
            pool = np.arange(len(release))
        if chosen.any():
            reference = release.covariates.iloc[pool].reset_index(drop=True)
            query: pd.DataFrame = canaries.covariates[chosen].reset_index(drop=True)
            neighbours[chosen] = pool[closest(query, reference, k=k, scale=scale)[1]]
    return neighbours


def build(params: Params) -> MechanismAttack:
    """Return the attack."""
    return MechanismAttack(params)
