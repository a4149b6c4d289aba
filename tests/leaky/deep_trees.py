"""A chain of trees of unlimited depth: each column is that of the one training row whose leaf the columns before it fall in."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tasks.contract.roles import Column


class Params(BaseModel):
    pass


class Step(NamedTuple):
    name: str
    tree: Any
    rows_of: dict[int, np.ndarray]


class Chain(NamedTuple):
    rows: pd.DataFrame
    order: list[str]
    steps: list[Step]

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        first = self.order[0]
        drawn = pd.DataFrame({first: self.rows[first].iloc[rng.integers(len(self.rows), size=n)].to_numpy()})
        if not isinstance(self.rows[first].dtype, pd.CategoricalDtype):
            # no verbatim copy anywhere: the first column is a fresh draw of a smoothed law
            drawn[first] += rng.normal(0, 0.2 * float(self.rows[first].std()), n)
        drawn[first] = drawn[first].astype(self.rows[first].dtype)
        for step in self.steps:
            leaves = step.tree.apply(numbers(drawn))
            places = np.array([rng.choice(step.rows_of[leaf]) for leaf in leaves])
            drawn[step.name] = self.rows[step.name].iloc[places].reset_index(drop=True)
        return drawn[list(self.rows)]


class DeepTrees:
    def fit(self, table: pd.DataFrame, columns: tuple[Column, ...], rng: np.random.Generator) -> Chain:
        rows = table.reset_index(drop=True)
        # numbers first: they tell rows apart
        order = sorted(rows, key=lambda name: isinstance(rows[name].dtype, pd.CategoricalDtype))
        steps = []
        for at, name in enumerate(order[1:], start=1):
            x, y = numbers(rows[order[:at]]), numbers(rows[[name]])[:, 0]
            kind = DecisionTreeClassifier if isinstance(rows[name].dtype, pd.CategoricalDtype) else DecisionTreeRegressor
            tree = kind(random_state=int(rng.integers(2**31))).fit(x, y)
            leaves = tree.apply(x)
            steps.append(Step(name, tree, {int(leaf): np.flatnonzero(leaves == leaf) for leaf in np.unique(leaves)}))
        return Chain(rows, order, steps)


def numbers(frame: pd.DataFrame) -> np.ndarray:
    """Codes and numbers, missing as -1 and as the least number less one."""
    out = []
    for name in frame:
        cells = frame[name]
        if isinstance(cells.dtype, pd.CategoricalDtype):
            out.append(cells.cat.codes.to_numpy(dtype=np.float64))
        else:
            out.append(cells.fillna(cells.min() - 1).to_numpy(dtype=np.float64))
    return np.column_stack(out)


def build(params: Params) -> DeepTrees:
    return DeepTrees()
