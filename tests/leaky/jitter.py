"""Every row is a training row whose numbers are moved by 1 % of the column's interquartile range."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel

from tasks.contract.roles import Column


class Params(BaseModel):
    share: float = 0.01


class Jittered(NamedTuple):
    rows: pd.DataFrame
    widths: dict[str, float]

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        drawn = self.rows.iloc[rng.integers(len(self.rows), size=n)].reset_index(drop=True)
        moved = {name: drawn[name] + rng.normal(0, width, n) for name, width in self.widths.items()}
        return drawn.assign(**moved)


class Jitter:
    def __init__(self, share: float) -> None:
        self.share = share

    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> Jittered:
        numbers = [name for name in table if not isinstance(table[name].dtype, pd.CategoricalDtype)]
        widths = {name: self.share * float(table[name].quantile(0.75) - table[name].quantile(0.25)) for name in numbers}
        return Jittered(table.reset_index(drop=True), widths)


def build(params: Params) -> Jitter:
    return Jitter(params.share)
