"""Every outcome law has the mean it is given, whatever the source it was fitted to, with what is drawn rounded and bounded."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.contract.nuisance import Float64, Int8
from tasks.contract.registry import names
from tasks.mechanisms.laws.cells import build_cells
from tasks.mechanisms.laws.choice import fit_law
from tasks.mechanisms.laws.methods.scale import ScaleLaw
from tasks.mechanisms.laws.protocol import OutcomeLaw
from tasks.mechanisms.laws.support import Support, find_support
from tasks.mechanisms.laws.tails import find_tails

POINTS = 4_000


@lru_cache(maxsize=64)
def source(seed: int, rows: int, zeros: float, step: float, top: float) -> tuple[pd.DataFrame, Int8, Float64, Float64]:
    """Draw a skewed outcome with an atom at zero, a grid and a ceiling."""
    rng = np.random.default_rng(seed)
    x, a = rng.normal(size=rows), rng.integers(0, 2, rows).astype(np.int8)
    mean = np.exp(1.0 + 0.3 * a + 0.4 * x)
    y = np.where(rng.random(rows) < zeros, 0.0, rng.gamma(1.5, mean / 1.5))
    y = np.minimum(np.round(y / step) * step, top) if step else np.minimum(y, top)
    gaps = np.where(rng.random(rows) < 0.1, np.nan, x)
    level = pd.Categorical(np.where(x > 0.5, "high", "low"), ["high", "low", "unseen"])
    return pd.DataFrame({"w0": gaps, "w1": level}), a, y, mean


SOURCES = st.builds(
    source,
    st.integers(0, 5),
    st.sampled_from([40, 600]),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([0.0, 0.5, 1.0, 5.0]),
    st.sampled_from([6.0, 1e9]),
)


def fitted(law: str, rows: tuple[pd.DataFrame, Int8, Float64, Float64], declared: tuple[float, float] | None) -> tuple[OutcomeLaw, Support]:
    w, a, y, mean = rows
    support = find_support(y, declared)
    kind = "continuous" if law in ("tilt", "scale") else "count"
    return fit_law(
        a, np.rint(y) if kind == "count" else y, mean, mean, w, kind, np.random.default_rng(0), support=support, law=law
    ), support


@pytest.mark.parametrize("law", sorted(set(names("law")) - {"binary"}))
@settings(max_examples=12, deadline=None)
@given(rows=SOURCES, place=st.floats(0.0, 1.0), arm=st.integers(0, 1), ranged=st.booleans())
def test_a_law_has_the_mean_it_is_given(
    law: str, rows: tuple[pd.DataFrame, Int8, Float64, Float64], place: float, arm: int, ranged: bool
) -> None:
    declared = (0.0, 30.0) if ranged and law in ("tilt", "scale") else None
    found, support = fitted(law, rows, declared)
    low, high = found.reach or (float(rows[2].min()), float(rows[2].max()))
    # families: means of counts that a grid of uniform numbers can add up
    high = min(high, float(rows[2].max()), 60.0)
    mean = low + place * (high - low)
    some = np.arange(POINTS) % len(rows[0])
    w = rows[0].iloc[some[:1].repeat(POINTS)].reset_index(drop=True)
    arms = np.full(POINTS, arm, dtype=np.int8)
    own = found.invert(arms, np.full(POINTS, mean), w, np.random.default_rng(1))
    if not (isinstance(found, ScaleLaw) and found.bounds is not None):
        np.testing.assert_allclose(own.partial(np.ones(POINTS)), mean, rtol=1e-9, atol=1e-9)
    drawn = own.quantile((np.arange(POINTS) + 0.5) / POINTS)
    # trees (and coins of a grid) differ from number to number: their law is the mean over them
    spread = float(drawn.std())
    # a value rarer than one in the number of points may be missed
    rarest = 2.0 * float(np.ptp(rows[2]) + support.high - support.low) / POINTS
    assert abs(float(drawn.mean()) - mean) <= 5.0 * spread / np.sqrt(POINTS) + rarest
    if law in ("tilt", "scale"):
        tail = find_tails(rows[2], support)[1]
        assert drawn.min() >= (support.low if declared or law == "tilt" else 0.0) - 1e-9
        ends = [support.high] if tail is None or law == "scale" else [support.high, tail.end]
        assert drawn.max() <= max(ends) + 1e-9 or (law == "scale" and not support.bounded[1] and not support.grid)


@settings(max_examples=25, deadline=None)
@given(rows=SOURCES)
def test_cells_cover_the_rows_and_rest_on_five(rows: tuple[pd.DataFrame, Int8, Float64, Float64]) -> None:
    y = rows[2]
    support = find_support(y)
    cells, cell = build_cells(y, support)
    assert np.bincount(cell, minlength=len(cells.low)).min() >= min(5, len(y))
    assert (np.diff(cells.means) >= 0.0).all()
    ends = cells.low + cells.width + cells.step * np.maximum(cells.points - 1, 0)
    tails = find_tails(y, support)
    low, high = (support.low if tails[0] is None else tails[0].end), (support.high if tails[1] is None else tails[1].end)
    assert cells.low.min() >= low - 1e-9
    assert ends.max() <= high + 1e-9
    # a cell's mean is close to that of its rows: they are held inside the safe range first; a tail's cell has the tail's mean
    held = np.clip(y, support.low, support.high)
    gap = np.abs(np.array([held[cell == at].mean() for at in range(len(cells.low))]) - cells.means)
    inside = (cells.low >= support.low - 1e-9) & (ends <= support.high + 1e-9)
    assert (gap <= cells.step + 0.2 * np.maximum(ends - cells.low, 1e-9) + 0.6 * np.ptp(held) / 5)[inside].all()
    assert ((cells.low - 1e-9 <= cells.means) & (cells.means <= ends + 1e-9)).all()
