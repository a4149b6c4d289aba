"""Where an arm is missing, in words: leaves of a shallow tree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.tree import DecisionTreeClassifier

from tasks.contract.disclosure import few, shown_count
from tasks.contract.nuisance import Int8, Nuisances
from tasks.contract.roles import Column

#: Deepest question of a region.
DEPTH = 3
#: Share of a region's rows that must lack support for it to be named.
LACKING = 0.5
_Bools = npt.NDArray[np.bool_]


class Region(NamedTuple):
    """A part of the covariates' space where an arm is missing.

    Attributes
    ----------
    arm : int
        The arm that is missing.
    words : str
        Its description: "age > 61 and cd40 <= 200".
    rows : int
        Source rows in it.
    of_arm : int
        How many of them got the arm.
    lacking : int
        How many of them have a propensity of that arm below d.
    """

    arm: int
    words: str
    rows: int
    of_arm: int
    lacking: int

    def sentence(self, labels: Sequence[str] = ("control", "treated")) -> str:
        """Return the region as a line: where, and how many of how many; with the arms' labels."""
        return f"{self.words}: {few(self.of_arm)} {labels[self.arm]} of {self.rows:,}"

    def record(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return what records show of the region: counts of 1 to 4 are all written as 4."""
        counts = {name: shown_count(getattr(self, name)) for name in ("rows", "of_arm", "lacking")}
        return {**self._asdict(), **counts, "sentence": self.sentence(labels)}


class _Question(NamedTuple):
    """A yes-or-no question that is put to rows: a column, a rounded threshold or a level."""

    column: Column
    kind: str  # "above", "is", "missing"
    bound: float
    level: str

    def answer(self, frame: pd.DataFrame) -> _Bools:
        values = frame[self.column.id]
        if self.kind == "missing":
            return np.asarray(values.isna())
        if self.kind == "is":
            return np.asarray(values.astype(object) == self.level)
        return np.asarray(values.to_numpy(dtype=np.float64) > self.bound)


def lacking_rows(nuisances: Nuisances, bound: float) -> tuple[_Bools, ...]:
    """Return which rows lack each arm: its propensity is below d; K arrays of shape (n,)."""
    if nuisances.arms == 2:
        return nuisances.g > 1.0 - bound, nuisances.g < bound
    return tuple(np.asarray(p < bound) for p in nuisances.propensities)


def regions(frame: pd.DataFrame, columns: Sequence[Column], a: Int8, lacking_arms: Sequence[_Bools], leaf: int) -> list[Region]:
    """Describe where propensities are below d, arm by arm.

    A tree of depth 3 predicts which rows lack the arm. Its questions are levels, gaps and thresholds that are rounded before they are
    used, so no exact value of a row shows; no leaf holds fewer than ``leaf`` rows. Leaves where at least half of the rows lack the arm
    are reported.

    Parameters
    ----------
    frame : DataFrame, n rows
        Canonical covariates.
    columns : sequence of Column
        Covariates that vary.
    a : ndarray of int8, shape (n,)
        Treatment.
    lacking_arms : sequence of K ndarray of bool, shape (n,)
        Of :func:`lacking_rows`.
    leaf : int
        Fewest rows of a leaf, at least 1.

    Returns
    -------
    list of Region
        The last arm first, the control last; larger ones first.
    """
    questions = _questions(frame, columns)
    kept: list[Region] = []
    for arm in range(len(lacking_arms) - 1, -1, -1):
        lacking = lacking_arms[arm]
        if not lacking.any() or not questions:
            continue
        leaves = _leaves(frame, questions, lacking, leaf) if lacking.sum() < len(a) else [("all rows", np.ones(len(a), dtype=bool))]
        here = [
            Region(arm, words, int(rows.sum()), int(np.count_nonzero(a[rows] == arm)), int(np.count_nonzero(lacking[rows])))
            for words, rows in leaves
            if np.mean(lacking[rows]) >= LACKING
        ]
        kept.extend(sorted(here, key=lambda each: (-each.rows, each.words)))
    return kept


def _questions(frame: pd.DataFrame, columns: Sequence[Column]) -> list[_Question]:
    """Return what may be asked: every level, gaps, and seven rounded quantiles of a number."""
    questions = []
    for column in columns:
        values = frame[column.id]
        if values.isna().any():
            questions.append(_Question(column, "missing", 0.0, ""))
        if column.is_category:
            levels = column.levels[1:] if len(column.levels) == 2 else column.levels
            questions.extend(_Question(column, "is", 0.0, level) for level in levels)
            continue
        numbers = values.to_numpy(dtype=np.float64)
        numbers = numbers[~np.isnan(numbers)]
        if len(numbers):
            quantiles = np.quantile(numbers, np.arange(1, 8) / 8.0)
            step = _round_step(float(quantiles[-1] - quantiles[0]))
            bounds = dict.fromkeys(round(float(bound) / step) * step for bound in quantiles)
            questions.extend(_Question(column, "above", bound, "") for bound in bounds)
    return questions


def _round_step(width: float) -> float:
    """Return 1, 2 or 5 times a power of ten, at most a tenth of a width: what thresholds are multiples of."""
    if width <= 0.0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(width / 10.0))
    return max(factor * power for factor in (1.0, 2.0, 5.0) if factor * power <= width / 10.0 * (1.0 + 1e-9))


def _leaves(frame: pd.DataFrame, questions: Sequence[_Question], lacking: _Bools, leaf: int) -> list[tuple[str, _Bools]]:
    """Grow the tree on the answers; return each leaf's words and rows."""
    answers = np.column_stack([question.answer(frame) for question in questions])
    model = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=min(leaf, len(frame)), min_impurity_decrease=1e-3, random_state=0)
    grown: Any = model.fit(answers.astype(np.float32), lacking).tree_
    leaves: list[tuple[str, _Bools]] = []

    def descend(node: int, rows: _Bools, said: list[tuple[_Question, bool]]) -> None:
        if grown.children_left[node] < 0:
            leaves.append((_words(said), rows))
            return
        question, yes = questions[int(grown.feature[node])], answers[:, int(grown.feature[node])]
        descend(int(grown.children_left[node]), rows & ~yes, [*said, (question, False)])
        descend(int(grown.children_right[node]), rows & yes, [*said, (question, True)])

    descend(0, np.ones(len(frame), dtype=bool), [])
    return leaves


def _words(said: Sequence[tuple[_Question, bool]]) -> str:
    """Join the answers; of several thresholds of a column only the narrowest range is said."""
    lows: dict[str, float] = {}
    highs: dict[str, float] = {}
    parts: dict[str, str] = {}
    for question, yes in said:
        column = question.column
        if question.kind != "above":
            parts[f"{column.name} {question.kind} {question.level}"] = _level_words(question, yes)
            continue
        if yes:
            lows[column.id] = max(question.bound, lows.get(column.id, -math.inf))
        else:
            highs[column.id] = min(question.bound, highs.get(column.id, math.inf))
        parts[column.name] = _range_words(column, lows.get(column.id), highs.get(column.id))
    return " and ".join(parts.values()) or "all rows"


def _range_words(column: Column, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{column.name} > {_shown(column, low)}" if low is not None else f"{column.name} ≤ {_shown(column, high or 0.0)}"
    return f"{_shown(column, low)} < {column.name} ≤ {_shown(column, high)}"


def _level_words(question: _Question, yes: bool) -> str:
    if question.kind == "missing":
        return f"{question.column.name} {'missing' if yes else 'known'}"
    if len(question.column.levels) == 2:
        return f"{question.column.name} = {question.level if yes else question.column.levels[0]}"
    return f"{question.column.name} {'=' if yes else '≠'} {question.level}"


def _shown(column: Column, bound: float) -> str:
    if column.kind == "datetime":
        return str(np.datetime64(int(bound), "us").astype("datetime64[D]"))
    return f"{bound:.6g}"
