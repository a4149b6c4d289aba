"""Isolation: whether the release comes near the rows that stand alone, and nearer to those that its synthesizer saw."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tasks.audit.case import Case
from tasks.audit.finding import Finding, finding, together
from tasks.audit.intervals import difference, share
from tasks.checks.pool import gather
from tasks.distance import fit_scale
from tasks.distance.isolation import NEAR, NEAREST, approaches, is_tracked, most_isolated

#: Smallest excess of the rate, training over holdout rows, that the attack must be able to exclude.
TOLERANCE = 0.05


class Params(BaseModel):
    """Parameters of the attack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(0.05, gt=0, le=0.5, description="share of training and holdout rows that count as isolated; at least 50 rows")


class Isolation:
    """Look for released rows beside the most isolated rows; see :class:`Params`.

    The rows that a release harms most are those that nobody is like. The attacker knows such a row and looks whether a released row
    lies beside it: at a tenth of the distance of the eighth closest released row, or nearer. Control: equally isolated holdout
    rows; baseline: the other holdout rows.
    """

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(self, case: Case, rng: np.random.Generator) -> list[Finding]:  # noqa: ARG002 - every attack takes a generator
        """Return the share of isolated training rows that a released row lies beside, against either group of holdout rows."""
        training, holdout, release = case.frames()
        scale, pool = fit_scale([training, holdout], metric="l2"), gather(training, holdout)
        alone = most_isolated(pool.rows, pool.training + pool.holdout, scale, self.params.share).rows
        seen = pool.training[alone] > 0
        others = np.setdiff1d(np.flatnonzero((pool.holdout == 1) & (pool.training == 0)), alone)
        rows = np.concatenate([alone, others])
        near = is_tracked(approaches(pool.rows.iloc[rows].reset_index(drop=True), release, scale))
        isolated, at_large = near[: len(alone)], near[len(alone) :]
        hits, n = int(isolated[seen].sum()), int(seen.sum())
        controls = {"rate": isolated[~seen], "rate_over_other_rows": at_large}
        confidence = together(len(controls))
        baseline = float(at_large.mean()) if len(at_large) else None
        detail = f"isolated rows beside which a released row lies: at {NEAR:g} of the distance of the {NEAREST}th, or nearer; control: "
        names = {"rate": "isolated holdout rows", "rate_over_other_rows": "other holdout rows"}
        return [
            finding(
                "isolation",
                name,
                share(hits, n, confidence) if n else None,
                excess=difference(hits, n, int(control.sum()), len(control), confidence) if n and len(control) else None,
                baseline=baseline,
                control=float(control.mean()) if len(control) else None,
                tolerance=TOLERANCE,
                confidence=confidence,
                targets=n,
                controls=len(control),
                detail=detail + names[name],
            )
            for name, control in controls.items()
        ]


def build(params: Params) -> Isolation:
    """Return the attack."""
    return Isolation(params)
