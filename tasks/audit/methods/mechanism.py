"""Mechanism leakage: what the released treatments and outcomes give away of single rows' own."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from tasks.audit.case import Case, Float64, Int8, Int64, Rows
from tasks.audit.encoding import matrix
from tasks.audit.finding import Finding, finding, together
from tasks.audit.intervals import auc, share
from tasks.distance import closest, fit_scale

AUC_TOLERANCE = 0.05
#: Smallest excess of accuracy over chance that the attack must be able to exclude.
COIN_TOLERANCE = 0.1


class Params(BaseModel):
    """Parameters of the mechanism attack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trees: int = Field(200, ge=10, le=5000, description="trees of the attacker's forests, grown to single rows")
    neighbours: int = Field(5, ge=1, le=100, description="released rows that the nearest-record attacker asks")


class _Laws(NamedTuple):
    """P(A | W) and P(Y | A, W) as an attacker learns them from the release."""

    treatment: RandomForestClassifier | None
    outcome: RandomForestClassifier | RandomForestRegressor
    kind: str
    spread: float

    def chances(self, rows: Rows) -> Float64:
        """Return P(A = k | W) of every arm, shape (n, K)."""
        given = np.full((len(rows), rows.arms), 1.0 / rows.arms)
        if self.treatment is None:  # one arm alone was released
            return given
        given[:] = 0.0
        given[:, self.treatment.classes_] = self.treatment.predict_proba(matrix(rows.covariates))
        if rows.arms == 2:
            given[:, 0] = 1.0 - given[:, 1]
        return given

    def expected(self, rows: Rows, treatment: Int8) -> Float64:
        """Return E[Y | A, W], shape (n,)."""
        x = np.column_stack([matrix(rows.covariates), treatment])
        if isinstance(self.outcome, RandomForestClassifier):
            at = list(self.outcome.classes_).index(1) if 1 in self.outcome.classes_ else None
            return np.zeros(len(rows)) if at is None else np.asarray(self.outcome.predict_proba(x)[:, at], dtype=np.float64)
        return np.asarray(self.outcome.predict(x), dtype=np.float64)

    def likelihood(self, rows: Rows) -> Float64:
        """Return log P(A | W) + log P(Y | A, W), shape (n,); a normal law around the mean where Y is no coin."""
        floor = 1e-3
        q = self.expected(rows, rows.treatment)
        of_a = np.log(np.clip(self.chances(rows)[np.arange(len(rows)), rows.treatment], floor, 1 - floor))
        if self.kind == "binary":
            q = np.clip(q, floor, 1 - floor)
            return np.asarray(of_a + np.log(np.where(rows.outcome > 0.5, q, 1 - q)), dtype=np.float64)
        return np.asarray(of_a - 0.5 * ((rows.outcome - q) / self.spread) ** 2, dtype=np.float64)


class MechanismAttack:
    """The attack; see :class:`Params`.

    *Likelihood*: forests with single-row leaves learn P_S(A | W) and P_S(Y | A, W) on the release; training rows should not be more
    likely under them than holdout rows. In mode "hybrid" the mechanisms have used both, so a low number proves no absence of leakage there.

    *Canaries*: where rows with coin-flip A and Y were planted (:mod:`tasks.audit.canaries`), their coins are guessed from the
    release. Chance is 1/2 (1/K for the treatment of K arms) by construction, whatever the law of the table, and the control guesses
    coins that were never planted.
    """

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(self, case: Case, rng: np.random.Generator) -> list[Finding]:
        """Return the likelihood attack's AUC and, with canaries, four accuracies."""
        laws = self._learn(case.release, case.outcome_kind, rng)
        confidence = together(5 if case.canaries is not None else 1)
        members, others = laws.likelihood(case.training), laws.likelihood(case.holdout)
        coin = rng.permutation(len(others)) % 2 == 0
        hybrid = case.mode == "hybrid"
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
                detail="log P(A|W) + log P(Y|A,W) learnt on the release, training rows against holdout rows"
                + ("; the mechanisms used both, so this alone clears nothing: plant canaries" if hybrid else ""),
            )
        ]
        if case.canaries is not None:
            findings += self._coins(case, case.canaries, laws, rng, confidence)
        return findings

    def _learn(self, release: Rows, kind: str, rng: np.random.Generator) -> _Laws:
        w = matrix(release.covariates)
        wa = np.column_stack([w, release.treatment])
        states = rng.integers(2**31, size=2).tolist()
        treatment = RandomForestClassifier(self.params.trees, random_state=states[0], n_jobs=1).fit(w, release.treatment)
        if kind == "binary":
            outcome: Any = RandomForestClassifier(self.params.trees, random_state=states[1], n_jobs=1)
            return _Laws(_both(treatment), outcome.fit(wa, (release.outcome > 0.5).astype(np.int64)), kind, 1.0)
        outcome = RandomForestRegressor(self.params.trees, random_state=states[1], n_jobs=1, oob_score=True).fit(wa, release.outcome)
        spread = float(np.std(release.outcome - outcome.oob_prediction_))
        return _Laws(_both(treatment), outcome, kind, spread if spread > 0 else 1.0)

    def _coins(self, case: Case, canaries: Rows, laws: _Laws, rng: np.random.Generator, confidence: float) -> list[Finding]:
        low, high = case.coins
        up = canaries.outcome > (low + high) / 2
        scale = fit_scale([canaries.covariates, case.release.covariates])
        k = min(self.params.neighbours, len(case.release))
        near = closest(canaries.covariates, case.release.covariates, k=k, scale=scale)[1]
        of_a = {"forest": laws.chances(canaries), "nearest": _arm_shares(case.release.treatment[near], canaries.arms)}
        arm = _same_arm(case.release, canaries, k)
        of_y = {"forest": laws.expected(canaries, canaries.treatment), "nearest": case.release.outcome[arm].mean(axis=1)}
        # a fair coin for the outcome, a fair die of as many sides as there are arms for the treatment
        guesses = [("a", name, canaries.treatment.astype(np.int64), _arm_guess(score), canaries.arms) for name, score in of_a.items()]
        guesses += [("y", name, up.astype(np.int64), _above(score), 2) for name, score in of_y.items()]
        findings = []
        for column, attacker, coins, guess, sides in guesses:
            fresh = rng.integers(sides, size=len(coins))
            findings.append(
                finding(
                    "mechanism",
                    f"canary_{column}_{attacker}",
                    share(int(np.sum(guess == coins)), len(coins), confidence),
                    baseline=1.0 / sides,
                    control=float(np.mean(guess == fresh)),
                    tolerance=COIN_TOLERANCE,
                    confidence=confidence,
                    targets=len(coins),
                    controls=len(coins),
                    detail=f"coin-flip {column.upper()} of planted rows guessed from the release; control: coins that were not planted",
                )
            )
        return findings


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


def _both(model: RandomForestClassifier) -> RandomForestClassifier | None:
    return model if len(model.classes_) > 1 else None


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
