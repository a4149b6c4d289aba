"""Inference of outcomes: what the release tells of a row's outcomes, event time or gaps to who knows all else of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tasks.audit.case import MIN_ROWS, Case, Outcome
from tasks.audit.finding import Finding, finding, together
from tasks.audit.rebuilding import TOLERANCE, RebuildingParams, accuracy, rebuild
from tasks.audit.secret import Secret, outcome_secrets

#: Attackers on every secret.
ATTACKERS = ("program", "forest")


class Params(RebuildingParams):
    """Parameters of the attack on outcomes."""


class Outcomes:
    """The program and the forest of attack ``reconstruction`` on every outcome; see :class:`Params`.

    The attacker knows a row's covariates, treatment and other outcomes. Secrets are each outcome's side (a number above its
    median, a time beyond the declared one), whether an event came, and which cells are missing. Control: holdout rows. In mode
    "hybrid" the mechanisms have used both, so equal accuracies prove no absence of leakage there: canaries do.
    """

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(self, case: Case, rng: np.random.Generator) -> list[Finding]:
        """Return the accuracies of both attackers on every secret."""
        secrets = [(outcome, secret) for outcome in case.outcomes for secret in outcome_secrets(outcome, case.release.cells(outcome.id))]
        confidence = together(len(ATTACKERS) * len(secrets))
        return [each for outcome, secret in secrets for each in self._attack(case, outcome, secret, confidence, rng)]

    def _attack(self, case: Case, outcome: Outcome, secret: Secret, confidence: float, rng: np.random.Generator) -> list[Finding]:
        training, holdout, release = (_knowing(rows.joint(), secret) for rows in (case.training, case.holdout, case.release))
        name = secret.column if secret.above is not None else f"{secret.column}_missing"
        detail = f"whether '{outcome.name}' {secret.statement}"
        if min(len(training), len(holdout), len(release)) < MIN_ROWS:
            none: dict[str, Any] = {"baseline": None, "control": None, "tolerance": TOLERANCE, "confidence": confidence}
            counts: dict[str, Any] = {"targets": len(training), "controls": len(holdout), "detail": f"{detail}; too few rows know it"}
            return [finding("outcomes", f"accuracy_{attacker}_{name}", None, **none, **counts) for attacker in ATTACKERS]
        rebuilt = rebuild((training, holdout, release), secret, self.params, rng)
        hybrid = case.mode == "hybrid"
        detail += f", inferred from {rebuilt.quasi} other columns; control: holdout rows"
        detail += "; the mechanisms used both, so this alone clears nothing: plant canaries" if hybrid else ""
        return [
            accuracy("outcomes", f"accuracy_{attacker}_{name}", rebuilt, rebuilt.scores[attacker], confidence, detail, can_clear=not hybrid)
            for attacker in ATTACKERS
        ]


def _knowing(frame: pd.DataFrame, secret: Secret) -> pd.DataFrame:
    """Return the rows that know the secret's cell; all of them where its absence is the secret."""
    return frame if secret.above is None else frame[frame[secret.column].notna()].reset_index(drop=True)


def build(params: Params) -> Outcomes:
    """Return the attack."""
    return Outcomes(params)
