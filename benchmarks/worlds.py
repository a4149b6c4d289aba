"""Worlds of known truth: what studies draw their seed tables from.

The base world is that of Xu (2026), arXiv 2604.23904; the others change one thing each. Draw from one with :func:`draw`; its true average
effect is :func:`truth`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tasks.contract.roles import TableSchema
from tasks.contract.spec import RolesSpec
from tasks.source.inspection import Inspection
from tasks.source.rows import canonical, content_hash, settle

Float64 = npt.NDArray[np.float64]
Int8 = npt.NDArray[np.int8]

TRUTH_ROWS = 2_000_000


class World(NamedTuple):
    """One draw: covariates by name, treatment, outcome, and the mechanisms that made them, each (n,)."""

    covariates: pd.DataFrame
    a: Int8
    y: Float64
    g: Float64
    q0: Float64
    q1: Float64

    def frame(self) -> pd.DataFrame:
        """Return covariates, ``a`` and ``y`` as one table."""
        return self.covariates.assign(a=self.a, y=self.y)


class Law(NamedTuple):
    """A world's mechanisms: covariates from (n, rng), g and (Q0, Q1) from covariates, Y from (mean, a, covariates, rng)."""

    covariates: Callable[[int, np.random.Generator], pd.DataFrame]
    g: Callable[[pd.DataFrame], Float64]
    q: Callable[[pd.DataFrame], tuple[Float64, Float64]]
    kind: str


def expit(x: npt.ArrayLike) -> Float64:
    """Return 1 / (1 + exp(-x))."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.asarray(x, dtype=np.float64))))


def base_covariates(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """W1, W2 coins; W3 leans on them; W4, W5 normal; W6 their mean and noise."""
    w1, w2 = rng.integers(0, 2, n), rng.integers(0, 2, n)
    w3 = (rng.random(n) < 0.3 + 0.35 * (w1 + w2) / 2).astype(np.int64)
    w4, w5 = rng.normal(size=n), rng.normal(size=n)
    return pd.DataFrame({"W1": w1, "W2": w2, "W3": w3, "W4": w4, "W5": w5, "W6": w4 / 2 + w5 / 2 + rng.normal(size=n)})


def _linear(weights: tuple[float, ...], w: pd.DataFrame) -> Float64:
    """Return an intercept plus a weighted sum of W1 ... W6."""
    return np.asarray(weights[0] + w[["W1", "W2", "W3", "W4", "W5", "W6"]].to_numpy(dtype=np.float64) @ np.array(weights[1:]))


MODERATE = (-0.4, 0.7, -0.7, 0.5, 0.4, -0.4, 0.5)
POOR = (-1.0, 1.4, -1.4, 1.0, 0.9, -0.9, 1.2)
NEAR_DETERMINISTIC = (-30.0, 16.0, -24.0, 12.0, 6.0, -10.0, 16.0)
OUTCOME = (-0.5, 0.5, 1.0, -1.0, 0.2, -0.3, 0.1)


def _coin(w: pd.DataFrame) -> Float64:
    return np.full(len(w), 0.5)


def _assigned(weights: tuple[float, ...]) -> Callable[[pd.DataFrame], Float64]:
    return lambda w: expit(_linear(weights, w))


def _tau(w: pd.DataFrame) -> Float64:
    """Return the base world's effect on the logit scale."""
    return np.asarray(
        2.0
        + 0.5 * np.sin(w["W1"])
        + 0.3 * np.log(np.abs(w["W2"]) + 1.0)
        - 0.2 * w["W3"] ** 2
        + 0.1 * np.exp(w["W4"])
        - 0.3 * np.tanh(w["W5"])
        + 0.2 * np.cos(w["W6"])
    )


def _binary(w: pd.DataFrame) -> tuple[Float64, Float64]:
    eta = _linear(OUTCOME, w)
    return expit(eta), expit(eta + _tau(w))


def _null(w: pd.DataFrame) -> tuple[Float64, Float64]:
    q = expit(_linear(OUTCOME, w))
    return q, q


def _continuous(w: pd.DataFrame) -> tuple[Float64, Float64]:
    """Means of the heteroscedastic world, in units in which the residual's sd runs from about 3 to 25."""
    base = 50.0 + 6.0 * _linear(OUTCOME, w) + 2.0 * np.asarray(w["W4"] * w["W5"])
    return base, base + 4.0 * (_tau(w) - 1.0)


def _count(w: pd.DataFrame) -> tuple[Float64, Float64]:
    eta = 0.6 + 0.5 * _linear(OUTCOME, w)
    return np.exp(eta), np.exp(eta + 0.25 * _tau(w))


def _wide_covariates(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """20 covariates: ten numeric and five binary on three latent factors, five of pure noise."""
    factors = rng.normal(size=(n, 3))
    loads = np.random.default_rng(20).uniform(-1.0, 1.0, size=(3, 15))
    driven = factors @ loads + rng.normal(size=(n, 15))
    frame = {f"W{at + 1}": driven[:, at] for at in range(10)}
    frame |= {f"W{at + 1}": (driven[:, at] > 0.3).astype(np.int64) for at in range(10, 15)}
    return pd.DataFrame(frame | {f"W{at + 16}": rng.normal(size=n) for at in range(5)})


def _wide_g(w: pd.DataFrame) -> Float64:
    return expit(0.5 * w["W1"] - 0.4 * w["W2"] + 0.4 * w["W11"] - 0.3 * w["W3"] * w["W12"])


def _wide(w: pd.DataFrame) -> tuple[Float64, Float64]:
    base = np.asarray(10.0 + 1.5 * w["W1"] + w["W4"] - 0.8 * w["W5"] + np.abs(w["W6"]) + w["W13"])
    return base, base + 1.0 + 0.8 * np.asarray(w["W2"]) - 0.5 * np.asarray(w["W14"])


CLINICS = ("north", "south", "east", "west")


def _mixed_covariates(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Text categories and missing cells: what is missing, and why, depends on what was seen."""
    frame = base_covariates(n, rng)
    frame["clinic"] = np.array(CLINICS)[np.minimum(rng.geometric(0.45, n) - 1, 3)]
    frame["smoker"] = np.where(rng.random(n) < expit(0.4 * frame["W4"] - 0.5), "yes", "no")
    gone = rng.random((n, 2))
    frame["W5"] = frame["W5"].where(gone[:, 0] > 0.1)
    frame["smoker"] = frame["smoker"].where(gone[:, 1] > 0.05 + 0.1 * frame["W1"], None)
    return frame


def _mixed_index(w: pd.DataFrame) -> Float64:
    """Return what both mechanisms see of the text and of the gaps: a missing W5 counts as its mean and half a unit."""
    clinic = w["clinic"].map({"north": 0.0, "south": 0.5, "east": -0.5, "west": 0.8}).to_numpy(dtype=np.float64)
    return np.asarray(clinic + 0.5 * (w["smoker"] == "yes") + 0.3 * w["W5"].isna())


def _mixed_g(w: pd.DataFrame) -> Float64:
    return expit(_linear(MODERATE, w.assign(W5=w["W5"].fillna(0.0))) + 0.5 * _mixed_index(w))


def _mixed(w: pd.DataFrame) -> tuple[Float64, Float64]:
    filled = w.assign(W5=w["W5"].fillna(0.0))
    eta = _linear(OUTCOME, filled) + _mixed_index(w)
    return expit(eta), expit(eta + 0.5 * _tau(filled))


LAWS: dict[str, Law] = {
    "trial": Law(base_covariates, _coin, _binary, "binary"),
    "moderate": Law(base_covariates, _assigned(MODERATE), _binary, "binary"),
    "poor": Law(base_covariates, _assigned(POOR), _binary, "binary"),
    "null": Law(base_covariates, _assigned(MODERATE), _null, "binary"),
    "continuous": Law(base_covariates, _assigned(MODERATE), _continuous, "continuous"),
    "count": Law(base_covariates, _assigned(MODERATE), _count, "count"),
    "wide": Law(_wide_covariates, _wide_g, _wide, "continuous"),
    "mixed": Law(_mixed_covariates, _mixed_g, _mixed, "binary"),
}
#: Too little overlap for any release (positivity study): not in the leaderboard.
DETERMINISTIC = Law(base_covariates, _assigned(NEAR_DETERMINISTIC), _binary, "binary")


def draw(name: str, n: int, rng: np.random.Generator, randomised: bool = False) -> World:
    """Draw a table of n rows.

    Parameters
    ----------
    name : str
        A key of :data:`LAWS`, or ``"deterministic"``.
    n : int
        Rows.
    rng : numpy.random.Generator
        Decides everything.
    randomised : bool
        Assign the treatment by a fair coin instead of the world's own mechanism.

    Returns
    -------
    World
    """
    law = DETERMINISTIC if name == "deterministic" else LAWS[name]
    w = law.covariates(n, rng)
    g = _coin(w) if randomised else law.g(w)
    a = (rng.random(n) < g).astype(np.int8)
    q0, q1 = law.q(w)
    return World(w, a, _outcome(law.kind, np.where(a == 1, q1, q0), a, w, rng), g, q0, q1)


def _outcome(kind: str, mean: Float64, a: Int8, w: pd.DataFrame, rng: np.random.Generator) -> Float64:
    if kind == "binary":
        return (rng.random(len(mean)) < mean).astype(np.float64)
    if kind == "count":
        # overdispersed in the treated arm only
        return rng.poisson(mean * np.where(a == 1, rng.gamma(2.0, 0.5, len(mean)), 1.0)).astype(np.float64)
    spread = np.exp(0.3 * w["W4"].to_numpy(dtype=np.float64)) * (2.0 if "W20" in w else 8.0) * (1.0 + 0.5 * a)
    return mean + spread * (rng.gamma(4.0, 1.0, len(mean)) - 4.0) / 2.0


@functools.cache
def truth(name: str) -> float:
    """Return the world's average effect: the mean of Q1 - Q0 over 2,000,000 draws of covariates."""
    law, total, step = DETERMINISTIC if name == "deterministic" else LAWS[name], 0.0, 100_000
    rng = np.random.default_rng(20260423)
    for _ in range(TRUTH_ROWS // step):
        q0, q1 = law.q(law.covariates(step, rng))
        total += float(np.sum(q1 - q0))
    return total / TRUTH_ROWS


def snapshot(frame: pd.DataFrame, treatment: str = "a", outcome: str = "y", kind: str = "auto") -> tuple[pa.Table, TableSchema]:
    """Bring a table into the form and hash order in which a run sees its source.

    Parameters
    ----------
    frame : DataFrame
        Covariates, treatment and outcome.
    treatment, outcome : str
        Their columns; all others are covariates.
    kind : str
        Kind of the outcome.

    Returns
    -------
    tuple of Table and TableSchema
        Columns ``w0 ...``, ``a``, ``y``, ``key``.
    """
    roles = RolesSpec.model_validate({"treatment": treatment, "outcome": outcome, "outcome_kind": kind})
    table = pa.Table.from_pandas(frame, preserve_index=False)
    inspection = Inspection(roles)
    schema = inspection.finish(inspection.visit(inspection.start(), table), roles, folds=5, source_format="parquet").table
    rows = canonical(table, schema, "parquet")
    return settle(rows.append_column("hash", pa.array(content_hash(rows)))), schema
