"""The support gate on dates and times, and on a declared range of the outcome: what it must reject, and what it may not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import tasks.checks.task as checks
from flows.stages.source import read_source
from infra.logging import PlainDisplay
from infra.stages import Stages
from tasks.checks.comparison import outside
from tasks.checks.support import Support, natural_support, support_of_instants
from tests.direct import DirectWork, run_of
from tests.releasing import spec_of, table, write

HOUR = 3_600_000_000
DAY = 24 * HOUR


def months(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw first days of months."""
    starts = pd.date_range("2015-01-01", periods=80, freq="MS").to_numpy().astype("M8[us]").astype(np.int64)
    return rng.choice(starts, n).astype(np.float64)


def mondays(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw Mondays, and a Tuesday after a holiday in one row of five hundred."""
    return (4.0 + 7 * rng.integers(2_000, 2_100, n) + (rng.random(n) < 0.002)) * DAY


def summer(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw whole hours of a year in a zone with summer time, the hour that its clocks show twice included."""
    return (1_577_836_800_000_000 + HOUR * rng.integers(0, 8_760, n)).astype(np.float64)


INSTANTS = {
    "days": (lambda n, rng: DAY * rng.integers(10_000, 11_000, n).astype(np.float64), None, 6 * HOUR),
    "hours": (lambda n, rng: HOUR * rng.integers(400_000, 410_000, n).astype(np.float64), None, HOUR / 4),
    "quarter hours": (lambda n, rng: HOUR / 4 * rng.integers(10**6, 10**6 + 9_000, n), None, 60_000_000.0),
    "month starts": (months, None, DAY),
    "mondays": (mondays, None, HOUR),
    "summer time": (summer, "Europe/Berlin", HOUR / 2),
    "clinic at 8:15": (lambda n, rng: DAY * rng.integers(10_000, 11_000, n) + 8.25 * HOUR, None, HOUR),
}


@pytest.mark.parametrize("name", INSTANTS)
def test_instants_off_the_grid_are_seen_and_fresh_ones_are_not(name: str) -> None:
    draw, zone, shift = INSTANTS[name]
    source = draw(2_000, np.random.default_rng(1))
    support = support_of_instants(np.append(source, np.nan), zone)
    assert support.instants is not None
    for seed in range(10):
        assert "grid" not in support.violations(draw(2_000, np.random.default_rng(2 + seed)))
    assert support.violations(source[:50] + shift)["grid"] == 50


def test_instants_without_a_grid_have_none() -> None:
    rng = np.random.default_rng(3)
    assert support_of_instants(rng.integers(10**15, 10**15 + 10**12, 500).astype(np.float64), None).instants is None
    assert support_of_instants(DAY * np.arange(19.0), None).instants is None  # too few rows
    assert support_of_instants(np.append(np.zeros(100), DAY * np.arange(1.0, 9.0)), None).instants is None  # nearly all are one day
    off = support_of_instants(DAY * np.arange(100.0), None)
    assert off.without({"grid": 1}).instants is None


def test_a_declared_range_stands_though_a_row_of_the_source_breaks_it() -> None:
    support = natural_support(np.append(np.random.default_rng(4).normal(size=200), 9.0), (-5.0, 5.0))
    assert support.without(support.violations(np.array([9.0]))).high == 5.0
    assert Support(high=5.0).without({"bound": 1}).high is None


def test_the_gate_reads_the_declared_range_and_the_grid_of_dates(tmp_path: Path) -> None:
    frame = table(400)
    frame["visit"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.random.default_rng(5).integers(0, 700, len(frame)), "D")
    low, high = float(frame["score"].min()) - 5.0, float(frame["score"].max()) + 5.0
    values = spec_of(write(frame, tmp_path / "t.parquet"), tmp_path / "store", outcomes={"score": {"range": [low, high]}})
    run = run_of(values, tmp_path / "work")
    source = read_source(run, Stages(PlainDisplay(), work=DirectWork()))
    schema = source.described.table
    limits = run.space().model(checks.natural_support.fn(run, schema, source.parts))
    visit = next(column.id for column in schema.modelled if column.name == "visit")
    rows = run.space().first_rows(source.parts, 400)
    assert outside(schema, limits, rows).outside == ()

    def changed(name: str, shift: float) -> pa.Table:
        cells = rows.column(name).cast(pa.float64()).to_numpy() + np.where(np.arange(rows.num_rows) < 3, shift, 0.0)
        return rows.set_column(rows.column_names.index(name), name, pa.array(cells).cast(rows.schema.field(name).type))

    assert outside(schema, limits, changed("y", 2.0 * (high - low))).outside == (("score (bound)", 3),)
    assert outside(schema, limits, changed(visit, HOUR)).outside == (("visit (grid)", 3),)
