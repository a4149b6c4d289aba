"""Linkability: whether the release joins two halves of a record that two parties hold apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from tasks.audit.case import Bool, Case
from tasks.audit.finding import Finding, finding, together
from tasks.audit.intervals import difference, share
from tasks.distance import closest, fit_scale

#: Smallest excess of the link rate, training over holdout rows, that the attack must be able to exclude.
TOLERANCE = 0.05


class Params(BaseModel):
    """Parameters of the linkability attack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    splits: int = Field(4, ge=1, le=100, description="random ways of cutting the columns in two; targets take turns")
    neighbours: int = Field(1, ge=1, le=100, description="closest released rows of either half that may be the link")
    targets: int = Field(2000, ge=50, le=100_000, description="most rows attacked")


class Linkability:
    """The attack in the sense of anonymeter (Giomi et al. 2023, doi:10.56553/popets-2023-0055); see :class:`Params`.

    The columns are cut in two at random. A target is linked if the released row closest to its first half is also the closest to its
    second half: then the release reveals that the halves belong together. Control: holdout rows; baseline: two random released rows.
    """

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(self, case: Case, rng: np.random.Generator) -> list[Finding]:
        """Return the share of linked rows; nothing to say of a table with a single column."""
        training, holdout, release = case.frames()
        confidence = together(1)
        names = list(training.columns)
        common: dict[str, Any] = {"tolerance": TOLERANCE, "confidence": confidence}
        if len(names) < 2:
            detail = "a single column has no two halves"
            return [
                finding(
                    "linkability", "rate", None, baseline=None, control=None, targets=len(training), controls=0, detail=detail, **common
                )
            ]
        groups = [frame.iloc[: self.params.targets].reset_index(drop=True) for frame in (training, holdout)]
        cuts = []
        for _ in range(self.params.splits):
            order = rng.permutation(len(names))
            cuts.append([[names[at] for at in np.sort(half)] for half in np.array_split(order, 2)])
        k = min(self.params.neighbours, len(release))
        linked = [_linked(frame, release, cuts, k) for frame in groups]
        hits, other_hits = (int(links.sum()) for links in linked)
        n, other_n = (len(links) for links in linked)
        return [
            finding(
                "linkability",
                "rate",
                share(hits, n, confidence),
                excess=difference(hits, n, other_hits, other_n, confidence),
                baseline=min(1.0, k * k / len(release)),
                control=other_hits / other_n,
                targets=n,
                controls=other_n,
                detail=f"training rows both halves of whose columns point to one released row, {self.params.splits} ways of cutting; "
                "control: holdout rows",
                **common,
            )
        ]


def _linked(frame: pd.DataFrame, release: pd.DataFrame, cuts: list[list[list[str]]], k: int) -> Bool:
    linked = np.zeros(len(frame), dtype=np.bool_)
    turn = np.arange(len(frame)) % len(cuts)
    for number, halves in enumerate(cuts):
        mine = turn == number
        if not mine.any():
            continue
        near = []
        for half in halves:
            scale = fit_scale([release[half]])
            near.append(closest(frame.loc[mine, half], release[half], k=k, scale=scale)[1])
        linked[mine] = (near[0][:, :, None] == near[1][:, None, :]).any(axis=(1, 2))
    return linked


def build(params: Params) -> Linkability:
    """Return the attack."""
    return Linkability(params)
