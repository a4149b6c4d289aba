"""Small worlds for the tests of augmentations: one where an arm is missing, and a trial of the same law."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.augmentation.criterion import Inputs
from tasks.augmentation.ensemble import Ensemble
from tasks.contract.nuisance import Float64, Int8, Nuisances

TRUE_EFFECT = 0.4  # of the linear world


class Small(NamedTuple):
    """One draw of the linear world: x, treatment, outcome, and the mechanisms that made them, each (n,)."""

    x: Float64
    a: Int8
    y: Float64
    g: Float64
    q0: Float64
    q1: Float64

    @property
    def chances(self) -> tuple[Float64, Float64]:
        """P(A = 0 | W) and P(A = 1 | W)."""
        return 1.0 - self.g, self.g


def small(n: int, rng: np.random.Generator, randomised: bool = False, shift: float = 0.0) -> Small:
    """Draw from a world where hardly anybody with x < 0 is treated; binary outcomes, effects between 0.3 and 0.5."""
    x = rng.uniform(-1.0, 1.0, n) + shift
    g = np.full(n, 0.5) if randomised else np.where(x < 0.0, 0.002, 0.5)
    a = (rng.random(n) < g).astype(np.int8)
    q0, q1 = 0.3 + 0.1 * np.clip(x, -1.0, 1.0), 0.7 + 0.2 * np.clip(x, -1.0, 1.0)
    y = (rng.random(n) < np.where(a == 1, q1, q0)).astype(np.float64)
    return Small(x, a, y, g, q0, q1)


def known(world: Small, rng: np.random.Generator, external: bool, error: float = 0.03, own_error: float = 0.2, bias: float = 0.0) -> Inputs:
    """Return what is known of a draw where models err by a common random amount per arm; ``bias`` is the other table's in Q1."""
    n, draws = len(world.y), 40
    own_misses = own_error * rng.normal(size=(draws, 2))
    misses = error * rng.normal(size=(draws, 2))

    def ensemble(found: npt.NDArray[np.float64], off: float) -> Ensemble:
        centred = found - found.mean(axis=0)
        return Ensemble(np.clip(world.q0 + centred[:, :1], 0.01, 0.99), np.clip(world.q1 + off + centred[:, 1:], 0.01, 0.99))

    own = ensemble(own_misses, 0.0)
    given = ensemble(misses, bias) if external else own
    return Inputs(world.a, world.y, Nuisances(world.g, world.q0, world.q1), own, given, "binary", 5.0 / (np.sqrt(n) * np.log(n)), external)


def table(rows: int, seed: int, randomised: bool = False) -> pd.DataFrame:
    """Draw a table as a source has it: hardly anybody older than 60 gets the drug, unless it is assigned by a coin."""
    rng = np.random.default_rng(seed)
    age, sex = rng.normal(55, 10, rows).round(3), rng.integers(0, 2, rows)
    chance = np.full(rows, 0.5) if randomised else 1 / (1 + np.exp(0.8 * (age - 52)))
    treated = rng.random(rows) < chance
    score = 0.1 * age + treated * (1 + 0.05 * (age - 55)) + 0.5 * sex + rng.normal(0, 1, rows)
    return pd.DataFrame({"age": age, "sex": np.where(sex, "f", "m"), "drug": treated.astype(int), "score": score.round(4)})
