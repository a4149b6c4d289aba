"""Outcomes that real tables have: atoms, bounds, grids, skew and tails; with covariates that confound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.contract.nuisance import Float64, Int8


class Drawn(NamedTuple):
    """Rows of a world, and the kind of its outcome."""

    covariates: pd.DataFrame
    a: Int8
    y: Float64
    kind: str


def base(rows: int, seed: int) -> tuple[np.random.Generator, Float64, Int8, pd.DataFrame]:
    """Draw covariates and a treatment that one of them drives."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows).round(2)
    a = (rng.random(rows) < 1 / (1 + np.exp(-0.9 * x))).astype(np.int8)
    site = pd.Categorical(rng.choice(["north", "south"], rows), ["north", "south"])
    return rng, x, a, pd.DataFrame({"w0": x, "w1": rng.normal(size=rows).round(2), "w2": site})


def cost(rows: int, seed: int) -> Drawn:
    """Draw outcomes: half exact zeros, else lognormal, in cents."""
    rng, x, a, w = base(rows, seed)
    some = rng.random(rows) < 1 / (1 + np.exp(0.2 - 0.5 * a - 0.6 * x))
    y = np.where(some, np.exp(5.5 + 0.3 * a + 0.4 * x + 0.9 * rng.normal(size=rows)), 0).round(2)
    return Drawn(w, a, y, "continuous")


def visits(rows: int, seed: int) -> Drawn:
    """Draw outcomes: an overdispersed count."""
    rng, x, a, w = base(rows, seed)
    mu = np.exp(0.9 + 0.25 * a + 0.35 * x)
    return Drawn(w, a, rng.negative_binomial(0.8, 0.8 / (0.8 + mu)).astype(float), "count")


def score(rows: int, seed: int) -> Drawn:
    """Draw outcomes: from 0 to 100 in steps of five, with a ceiling."""
    rng, x, a, w = base(rows, seed)
    y = (np.clip(70 + 6 * a + 10 * x + 18 * rng.normal(size=rows), 0, 100) / 5).round() * 5.0
    return Drawn(w, a, y, "count")


def days(rows: int, seed: int) -> Drawn:
    """Draw outcomes: whole days, censored at 365."""
    rng, x, a, w = base(rows, seed)
    return Drawn(w, a, np.minimum(np.ceil(rng.exponential(200 * np.exp(0.2 * a + 0.4 * x))), 365.0), "count")


def shares(rows: int, seed: int) -> Drawn:
    """Draw outcomes: shares with atoms at 0 and 1."""
    rng, x, a, w = base(rows, seed)
    return Drawn(w, a, np.clip(0.5 + 0.1 * a + 0.2 * x + 0.35 * rng.normal(size=rows), 0, 1).round(3), "continuous")


def inflated(rows: int, seed: int) -> Drawn:
    """Draw outcomes: a count with zeros beyond the Poisson law's."""
    rng, x, a, w = base(rows, seed)
    y = np.where(rng.random(rows) < 0.4, 0, rng.poisson(np.exp(1.0 + 0.2 * a + 0.3 * x)))
    return Drawn(w, a, y.astype(float), "count")


def change(rows: int, seed: int) -> Drawn:
    """Draw outcomes: a change score of either sign on a grid of halves."""
    rng, x, a, w = base(rows, seed)
    return Drawn(w, a, np.round((a + 1.5 * x + 3 * rng.normal(size=rows)) * 2) / 2, "continuous")


def gamma(rows: int, seed: int) -> Drawn:
    """Draw outcomes: positive and skewed, without atoms."""
    rng, x, a, w = base(rows, seed)
    return Drawn(w, a, rng.gamma(1.5, np.exp(0.5 + 0.2 * a + 0.3 * x)).round(6), "continuous")


def heaped(rows: int, seed: int) -> Drawn:
    """Draw outcomes: minutes of which two in five are told in quarters of an hour."""
    rng, x, a, w = base(rows, seed)
    raw = rng.gamma(4.0, 15.0 * np.exp(0.1 * a + 0.2 * x)).round()
    return Drawn(w, a, np.where(rng.random(rows) < 0.4, 15.0 * np.round(raw / 15.0), raw), "count")


def mixture(rows: int, seed: int) -> Drawn:
    """Draw outcomes: two modes, responders and others."""
    rng, x, a, w = base(rows, seed)
    responds = rng.random(rows) < 1 / (1 + np.exp(-0.6 * a - 0.5 * x))
    return Drawn(w, a, (np.where(responds, 3.0, -3.0) + 0.4 * x + rng.normal(size=rows)).round(5), "continuous")


def tails(rows: int, seed: int) -> Drawn:
    """Draw outcomes: residuals from a t law with three degrees of freedom."""
    rng, x, a, w = base(rows, seed)
    return Drawn(w, a, (a + 1.2 * x + rng.standard_t(3, rows)).round(5), "continuous")


def normal(rows: int, seed: int) -> Drawn:
    """Draw outcomes: normal residuals, nothing else."""
    rng, x, a, w = base(rows, seed)
    return Drawn(w, a, (a + 1.2 * x + rng.normal(size=rows)).round(5), "continuous")


WORLDS: Mapping[str, Callable[[int, int], Drawn]] = {
    each.__name__: each for each in (cost, gamma, score, days, shares, heaped, visits, inflated, mixture, tails, change, normal)
}


def impossible(name: str, y: Float64) -> int:
    """Count the outcomes that a world can't have."""
    whole = y != np.rint(y)
    checks = {
        "cost": (y < 0) | (np.abs(y - np.round(y, 2)) > 1e-9),
        "gamma": y < 0,
        "score": (y < 0) | (y > 100) | (y % 5 != 0),
        "days": whole | (y < 1) | (y > 365),
        "shares": (y < 0) | (y > 1) | (np.abs(y - np.round(y, 3)) > 1e-12),
        "heaped": whole | (y < 0),
        "visits": whole | (y < 0),
        "inflated": whole | (y < 0),
        "change": (2 * y) != np.rint(2 * y),
    }
    return int(np.count_nonzero(checks.get(name, np.zeros(len(y), dtype=bool))))
