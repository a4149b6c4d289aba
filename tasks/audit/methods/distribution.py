"""Distribution inference: from which of two populations the source was drawn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tasks.audit.case import Case, Float64
from tasks.audit.finding import Finding, finding, together
from tasks.audit.intervals import Interval, share
from tasks.audit.secret import choose_secret, secret_bits
from tasks.contract.registry import resolve
from tasks.covariates.traits.layer import fit_layered

#: Smallest excess of accuracy over chance that the attack must be able to exclude.
TOLERANCE = 0.1


class Params(BaseModel):
    """Parameters of the distribution attack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret: str | None = Field(None, description="id of the covariate whose share is to be inferred; empty: the most balanced binary one")
    games: int = Field(24, ge=8, le=2000, description="shadow releases of each population")
    rows: int = Field(300, ge=50, le=20_000, description="rows that a shadow synthesizer is fitted on")
    drawn: int = Field(2000, ge=50, le=100_000, description="rows of a shadow release")
    apart: float = Field(3.0, gt=0, le=10, description="gap of the two shares in standard errors of one source's share")


class Distribution:
    """The threshold attack of Suri, Evans 2022 (doi:10.56553/popets-2022-0121); see :class:`Params`.

    Two populations differ in the share of a property. Shadow sources are drawn from the training rows, resampled to either share, the
    release's synthesizer is fitted on each, and the attacker sees the property's share in the shadow release. A threshold learnt on half of
    the games guesses the population of the others. n_leaked is the number of source rows that would serve a guesser as well:
    a faithful release gives away shares of the population *by design*, so this is a measure and no fault unless the share itself is secret.
    """

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(self, case: Case, rng: np.random.Generator) -> list[Finding]:
        """Return accuracy and n_leaked."""
        secret = choose_secret(case.release.covariates, self.params.secret)
        bits = secret_bits(case.training.covariates, secret)
        name, rate = case.name_of(secret.column), float(np.mean(bits))
        rows = min(self.params.rows, len(bits))
        gap = self.params.apart * math.sqrt(max(rate * (1 - rate), 1e-12) / rows)
        low, high = rate - gap / 2, rate + gap / 2
        confidence = together(1)
        half = self.params.games // 2
        common: dict[str, Any] = {"baseline": 0.5, "tolerance": TOLERANCE, "confidence": confidence, "targets": 2 * half, "controls": half}
        if low <= 0 or high >= 1:
            detail = f"the share of '{name}' is too close to 0 or 1 to be shifted"
            return [finding("distribution", "accuracy", None, control=None, detail=detail, **common)]
        worlds = [np.array([self._share(case, share_of, rows, rng) for _ in range(2 * half)]) for share_of in (low, high)]
        right = _right([world[:half] for world in worlds], [world[half:] for world in worlds])
        accuracy = share(right, 2 * half, confidence)
        # the control's two worlds are one: the same threshold on halves of the games of the lower share
        pretended = np.array_split(worlds[0], 4)
        control = _right(pretended[:2], pretended[2:]) / (len(pretended[2]) + len(pretended[3]))
        detail = (
            f"shares of '{name}' {gap:.3f} apart, sources of {rows:,} rows, {case.synthesizer} refitted for every game; "
            "control: two populations that are one"
        )
        leaked = Interval(*(n_leaked(limit, low, high) for limit in accuracy))
        excess = Interval(*(limit - 0.5 for limit in accuracy))
        by_design = f"source rows that would separate the two as well, of {rows:,}; shares leak by design; verdict as of the accuracy"
        return [
            finding("distribution", "accuracy", accuracy, control=control, detail=detail, **common),
            finding(
                "distribution",
                "n_leaked",
                leaked,
                excess=excess,
                control=n_leaked(control, low, high),
                detail=by_design,
                **{**common, "baseline": 0.0},
            ),
        ]

    def _share(self, case: Case, share_of: float, rows: int, rng: np.random.Generator) -> float:
        """Play one game: draw a source, fit, release, read the share off."""
        secret = choose_secret(case.release.covariates, self.params.secret)
        bits = secret_bits(case.training.covariates, secret)
        pools = np.flatnonzero(~bits), np.flatnonzero(bits)
        wanted = rng.random(rows) < share_of
        chosen = np.where(wanted, rng.choice(pools[1], rows), rng.choice(pools[0], rows))
        shadow = case.training.covariates.iloc[chosen].reset_index(drop=True)
        synthesizer = resolve("synthesizer", case.synthesizer, case.params)
        model = fit_layered(synthesizer, shadow, case.columns, rng, plain=case.training.covariates)[0]
        drawn = model.sample(self.params.drawn, rng)
        return float(np.mean(secret_bits(drawn, secret)))


def n_leaked(accuracy: float, low: float, high: float) -> float:
    """Return how many source rows would separate the populations as well: ln(1 - (2w - 1)^2) / ln max(low/high, (1-high)/(1-low)).

    Parameters
    ----------
    accuracy : float
        w in [0, 1]; below a half counts as a half.
    low, high : float
        The two shares, 0 < low < high < 1.

    Returns
    -------
    float
        0 at chance, infinite at w = 1.
    """
    advantage = 2 * max(accuracy, 0.5) - 1
    if advantage <= 0 or advantage >= 1:
        return 0.0 if advantage <= 0 else math.inf
    return math.log(1 - advantage**2) / math.log(max(low / high, (1 - high) / (1 - low)))


def _right(learnt: list[Float64], played: list[Float64]) -> int:
    """Learn the best threshold on some games of either world and count the right guesses on others."""
    cuts = np.sort(np.concatenate(learnt))
    middles = (cuts[1:] + cuts[:-1]) / 2
    gains = [np.sum(learnt[1] > cut) - np.sum(learnt[0] > cut) for cut in middles]
    cut = middles[int(np.argmax(np.abs(gains)))]
    upper = gains[int(np.argmax(np.abs(gains)))] >= 0
    above = [played[0] > cut, played[1] > cut]
    right = np.sum(~above[0]) + np.sum(above[1])
    total = len(above[0]) + len(above[1])
    return int(right if upper else total - right)


def build(params: Params) -> Distribution:
    """Return the attack."""
    return Distribution(params)
