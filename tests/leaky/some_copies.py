"""One row in twenty is a training row, verbatim; the others are drawn by the copula."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel

from tasks.contract.registry import resolve
from tasks.contract.roles import Column


class Params(BaseModel):
    share: float = 0.05


class PartlyCopied(NamedTuple):
    law: Any
    rows: pd.DataFrame
    share: float

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        drawn = self.law.sample(n, rng)
        copied = np.flatnonzero(rng.random(n) < self.share)
        own = self.rows.iloc[rng.integers(len(self.rows), size=len(copied))]
        keep = drawn.drop(index=copied)
        return pd.concat([keep, own]).sample(frac=1, random_state=int(rng.integers(2**31))).reset_index(drop=True)[list(drawn)]


class SomeCopies:
    def __init__(self, share: float) -> None:
        self.share = share

    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> PartlyCopied:
        law = resolve("synthesizer", "copula").fit(table, columns, rng)
        return PartlyCopied(law, table.reset_index(drop=True), self.share)


def build(params: Params) -> SomeCopies:
    return SomeCopies(params.share)
