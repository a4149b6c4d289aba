"""Attribute inference by linear reconstruction: a secret column rebuilt from marginal counts of the release."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.audit.case import Case
from tasks.audit.finding import Finding, together
from tasks.audit.rebuilding import RebuildingParams, accuracy, rebuild
from tasks.audit.secret import choose_secret


class Params(RebuildingParams):
    """Parameters of the reconstruction attack."""

    secret: str | None = Field(None, description="id of the covariate to rebuild; empty: the most balanced binary one")


class Reconstruction:
    """The attack of Annamalai, Gadotti, Rocher 2024 (USENIX Security, arXiv:2301.10053); see :class:`Params`.

    Unknowns are the secret bits of all target rows, whose other columns the attacker knows. Every marginal of ``order``
    quasi-identifiers with the secret set gives one equation: the targets that match a cell, weighted by their bits, are as many as the
    release says. The bits minimise the sum of absolute errors over [0, 1], a linear program.

    A fifth of the targets are holdout rows: the control. They are in the same program, their bits are inferred through what holds in the
    population, and nothing that the release knows of them alone can help. The excess over them is what
    training rows give away of themselves.
    """

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(self, case: Case, rng: np.random.Generator) -> list[Finding]:
        """Return the accuracies of the program and of a forest that infers the bit from the release."""
        secret = choose_secret(case.release.covariates, self.params.secret)
        tables = (case.training.covariates, case.holdout.covariates, case.release.covariates)
        rebuilt = rebuild(tables, secret, self.params, rng)
        confidence, members = together(len(rebuilt.scores)), int(rebuilt.member.sum())
        sample = "" if members == case.training_rows else f"; {members:,} of {case.training_rows:,} training rows: the others are noise"
        detail = (
            f"whether '{case.name_of(secret.column)}' {secret.statement}, rebuilt from {rebuilt.quasi} other columns; "
            f"control: holdout rows{sample}"
        )
        return [
            accuracy("reconstruction", f"accuracy_{name}", rebuilt, score, confidence, detail) for name, score in rebuilt.scores.items()
        ]


def build(params: Params) -> Reconstruction:
    """Return the attack."""
    return Reconstruction(params)
