"""Passengers follow the law that they have given covariates, treatment and outcome."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tasks.contract.roles import Column, Kind, Role, pack_field
from tasks.covariates.passengers import PassengerLaw, fit_passenger_laws

ROWS = 2_000


def column(key: str, role: Role, kind: Kind, **more: object) -> Column:
    kinds = {"continuous": pa.float64(), "boolean": pa.string(), "categorical": pa.string()}
    return Column(id=key, name=key, role=role, kind=kind, field=pack_field(pa.field(key, kinds[kind])), **more)


GIVEN = (
    column("w0", "covariate", "continuous", low=-3.0, high=3.0),
    column("a", "treatment", "boolean", levels=("0", "1")),
    column("y", "outcome", "continuous", low=-6.0, high=6.0),
)
PASSENGERS = (
    column("p0", "passenger", "continuous", low=-15.0, high=15.0, decimals=1),
    column("p1", "passenger", "categorical", levels=("no", "yes"), missing=200),
)


def table(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw a laboratory value that follows the outcome, and an event that is rarer among the treated."""
    w, a = rng.normal(size=rows).clip(-3, 3), rng.integers(0, 2, rows)
    y = w + a + rng.normal(size=rows)
    event = rng.random(rows) < np.where(a == 1, 0.2, 0.6)
    codes = np.where(rng.random(rows) < 0.1, -1, event.astype(int))
    return pd.DataFrame(
        {
            "w0": w,
            "a": pd.Categorical.from_codes(a.tolist(), categories=pd.Index(["0", "1"])),
            "y": y,
            "p0": (2 * y + rng.normal(size=rows)).round(1),
            "p1": pd.Categorical.from_codes(codes.tolist(), categories=pd.Index(["no", "yes"])),
        }
    )


@pytest.fixture(scope="module")
def law() -> PassengerLaw:
    return fit_passenger_laws(table(ROWS, np.random.default_rng(1)), GIVEN, PASSENGERS, np.random.default_rng(2))


def test_drawn_passengers_hang_on_outcome_and_treatment_as_the_sources_do(law: PassengerLaw) -> None:
    given = table(4_000, np.random.default_rng(3))[["w0", "a", "y"]]
    drawn = law.sample(given, np.random.default_rng(4))
    slope, _ = np.polyfit(given["y"], drawn["p0"], 1)
    assert slope == pytest.approx(2.0, abs=0.15)
    assert float(np.std(drawn["p0"] - 2 * given["y"])) == pytest.approx(1.0, abs=0.2)
    share = (drawn["p1"] == "yes")[drawn["p1"].notna()].groupby(given["a"].astype(str)).mean()
    assert share["0"] == pytest.approx(0.6, abs=0.06)
    assert share["1"] == pytest.approx(0.2, abs=0.06)
    assert drawn["p1"].isna().mean() == pytest.approx(0.1, abs=0.03)
    assert (drawn["p0"] * 10).round(6).apply(float.is_integer).all()


def test_draws_are_functions_of_their_generator_and_survive_pickling(law: PassengerLaw) -> None:
    given = table(300, np.random.default_rng(5))[["w0", "a", "y"]]
    first, again, other = (each.sample(given, np.random.default_rng(6)) for each in (law, pickle.loads(pickle.dumps(law)), law))
    assert first.equals(again)
    assert first.equals(other)
