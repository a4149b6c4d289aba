"""The record of an outcome's law: read back it draws the same bytes, and no cell of the source is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.contract.errors import StoreError
from tasks.mechanisms.law_record import law_bytes, read_law
from tasks.mechanisms.laws.choice import fit_law
from tasks.mechanisms.laws.counts import CountLaw
from tasks.mechanisms.laws.methods.binary import BinaryLaw
from tasks.mechanisms.laws.methods.scale import ScaleLaw
from tasks.mechanisms.laws.protocol import OutcomeLaw

N = 1_200


def source() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return covariates with gaps, treatment, and an outcome whose spread grows with one of them."""
    rng = np.random.default_rng(4)
    height, site = rng.normal(170, 10, N), rng.choice(["north", "south", "west"], N)
    a = rng.integers(0, 2, N).astype(np.int8)
    y = np.exp((height - 170) / 20 + 0.3 * (site == "west")) * rng.normal(size=N)
    height[::9], site[::11] = np.nan, None
    seen = pd.Categorical(site, categories=["north", "south", "west"])
    return pd.DataFrame({"w0": height, "w1": seen, "w2": rng.integers(0, 3, N).astype(float)}), a, y


def continuous() -> ScaleLaw:
    frame, a, y = source()
    law = fit_law(a, y, np.zeros(N), np.zeros(N), frame, "continuous", np.random.default_rng(0))
    assert isinstance(law, ScaleLaw)
    assert law.scale is not None
    return law


def numbers(value: Any) -> Iterator[float]:
    """Return every number of a JSON value."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from numbers(each)
    elif isinstance(value, float):
        yield value


@pytest.mark.parametrize("kind", ["binary", "count", "poisson", "continuous", "one spread per arm"])
def test_a_law_read_back_draws_the_same_bytes(kind: str) -> None:
    fitted = continuous()
    laws: dict[str, OutcomeLaw] = {
        "binary": BinaryLaw(),
        "count": CountLaw((0.0, 1 / 3)),
        "poisson": CountLaw((0.0, 0.0)),
        "continuous": fitted,
        "one spread per arm": ScaleLaw(None, fitted.arms),
    }
    law, (frame, a, _) = laws[kind], source()
    record = law_bytes(law)
    back = read_law(json.loads(record), "the test")
    assert type(back) is type(law)
    assert law_bytes(back) == record
    mean = np.random.default_rng(1).uniform(0.1, 0.9, N)
    drawn = [each.draw(a, mean, frame, np.random.default_rng(2)).tobytes() for each in (law, back)]
    assert drawn[0] == drawn[1]


def test_no_cell_of_the_source_is_in_the_record() -> None:
    frame, _, y = source()
    record = json.loads(law_bytes(continuous()))
    term = next(each for each in record["scale"]["numeric"] if each["column"] == "w0")
    seen = np.sort(frame["w0"].dropna().to_numpy())
    # the fifth value from each end, rounded inwards
    assert seen[4] <= term["low"] <= seen[4] + 0.01 * np.ptp(seen)
    assert seen[-5] - 0.01 * np.ptp(seen) <= term["high"] <= seen[-5]
    assert abs(term["fill"] - np.median(seen)) < 0.5
    cells = np.concatenate((seen, y, np.abs(y)))
    assert not np.isin(list(numbers(record)), cells).any()
    assert np.isin([seen[0]], cells).all()  # the test would see one
    # five rows behind every block of residuals, fewer blocks than a fifth of the arm
    assert all(len(arm["centres"]) <= N / 2 / 5 * 1.2 for arm in record["arms"])


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ({"format": "waymint-law/2"}, "format"),
        ({"kind": "ordinal"}, "kind"),
        ({"arms": []}, "arms"),
        ({"scale": {"numeric": [], "category": [], "coefficients": [0.5], "low": -1.0, "high": 1.0}}, "scale"),
    ],
)
def test_another_format_is_refused(damage: dict[str, Any], fault: str) -> None:
    values = json.loads(law_bytes(continuous())) | damage
    with pytest.raises(StoreError, match=rf"law of trial v1 must be of format 'waymint-law/1' and complete; got faults in .*{fault}"):
        read_law(values, "trial v1")


def test_records_of_the_first_version_stay_readable() -> None:
    """As releases published them before laws were chosen: their bytes come back, too."""
    counts = '{"dispersion": [0.25, 0.0], "format": "waymint-law/1", "kind": "count"}'
    arm = '{"centres": [-1.0, 1.0], "edges": [0.5, 1.0], "spreads": [0.25, 0.5]}'
    residuals = f'{{"arms": [{arm}, {arm}], "format": "waymint-law/1", "kind": "continuous", "scale": null}}'
    for text in ('{"format": "waymint-law/1", "kind": "binary"}', counts, residuals):
        law = read_law(json.loads(text), "trial v1")
        assert law_bytes(law).decode() == text
        drawn = law.draw(np.ones(2_000, dtype=np.int8), np.full(2_000, 0.5), pd.DataFrame(index=range(2_000)), np.random.default_rng(0))
        assert drawn.mean() == pytest.approx(0.5, abs=0.1)
