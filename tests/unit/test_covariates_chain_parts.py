"""The chain reads a table once, part by part, as one byte per cell; how it is cut changes nothing."""

from __future__ import annotations

import itertools
import pickle
import weakref
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from benchmarks import worlds
from infra.workspace import Run
from tasks.contract.errors import EstimationError
from tasks.contract.registry import resolve
from tasks.contract.spec import parse_spec
from tasks.covariates.chain.cells import Cells, counted, fit_coder
from tasks.covariates.chain.rows import sample_rows
from tasks.covariates.chain.table import read_parts
from tasks.covariates.margins import decode
from tasks.covariates.protocol import PartwiseSynthesizer
from tasks.covariates.task import fit
from tests.contract.test_synthesizers import category, describe, mixed

CUTS = ((1700,), (400, 400, 999, 1001, 2600))
SMALL = {"first_rows": 1000, "rounds": 4, "shape_trees": 1, "fold_rows": 300}  # one fold


def cut(table: pd.DataFrame, at: tuple[int, ...]) -> Iterator[pd.DataFrame]:
    bounds = (0, *at, len(table))
    yield from (table.iloc[start:stop].reset_index(drop=True) for start, stop in itertools.pairwise(bounds))


def coder_of(cells: pd.Series, first: int | None = None):
    table = pd.DataFrame({"w0": cells})
    fold = np.arange(len(cells[:first])) % 6
    return fit_coder(table["w0"].iloc[:first], describe(table)[0], fold, np.random.default_rng(1))


def test_the_same_rows_give_the_same_bytes_however_they_are_cut() -> None:
    table = mixed(3000)[["w0", "w1", "w2", "w4"]]
    table.loc[2000:, "w0"] = None  # states that the first rows don't show
    chain = resolve("synthesizer", "chain", SMALL)
    assert isinstance(chain, PartwiseSynthesizer)
    assert not isinstance(resolve("synthesizer", "forest"), PartwiseSynthesizer)
    whole = pickle.dumps(chain.fit(table, describe(table), np.random.default_rng(1)))
    for at in CUTS:
        assert pickle.dumps(chain.fit_parts(cut(table, at), describe(table), np.random.default_rng(1))) == whole
    other = chain.fit_parts(cut(table.iloc[::-1], CUTS[1]), describe(table), np.random.default_rng(1))
    assert pickle.dumps(other) != whole


@pytest.mark.parametrize(("mode", "copies"), [("hybrid", 1), ("full", 2)])
def test_a_run_fits_the_same_model_whatever_its_partitions(tmp_path, mode: str, copies: int) -> None:
    rows, schema = worlds.snapshot(worlds.draw("moderate", 900, np.random.default_rng(1)).frame())
    for method, params in (("chain", SMALL), ("copula", {})):
        found = []
        for at in ((), (300, 310, 700)):
            spec = parse_spec(
                {
                    "name": "t",
                    "source": {"uri": "file:///nowhere.parquet"},
                    "roles": {"treatment": "a", "outcome": "y"},
                    "covariates": {"synthesizer": method, "params": params, "fit_rows": 600},
                    "release": {"mode": mode, "copies": copies},
                }
            )
            run = Run(spec=spec, workspace=f"file://{tmp_path}/{method}{len(at)}", id="1", created="2026-01-01T00:00:00+00:00")
            bounds = (0, *at, rows.num_rows)
            parts = [
                run.space().put_table(f"part-{k}", rows.slice(start, stop - start), k)
                for k, (start, stop) in enumerate(itertools.pairwise(bounds))
            ]
            found.append([fit.fn(run, schema, parts, copy).sha256 for copy in range(copies)])
        assert found[0] == found[1], method
        assert len(set(found[0])) == copies


def test_no_more_than_two_parts_are_held() -> None:
    table = mixed(6000)
    held: list[weakref.ref[pd.DataFrame]] = []
    most = []

    def parts() -> Iterator[pd.DataFrame]:
        for start in range(0, 6000, 500):
            part = table.iloc[start : start + 500].reset_index(drop=True)
            held.append(weakref.ref(part))
            most.append(sum(ref() is not None for ref in held[3:]))
            yield part

    coded = read_parts(parts(), describe(table), 1000, np.random.default_rng(1))
    assert len(held) == 12
    assert max(most) <= 2
    assert len(coded.fold) == 6000
    assert {cells.codes.dtype for _, cells in coded.columns} == {np.dtype(np.uint8)}
    assert all(len(cells.codes) == 6000 for _, cells in coded.columns)


def test_a_byte_is_a_score_to_a_hundredth() -> None:
    values = np.random.default_rng(2).standard_normal(50_000)
    coder = coder_of(pd.Series(np.exp(values)), 20_000)
    cells = Cells(coder.encode(pd.Series(np.exp(values))), coder.book)
    score = np.empty(20_000)
    score[np.argsort(values[:20_000])] = ndtri((np.arange(20_000) + 0.5) / 20_000)
    inside = np.abs(score) < 4
    first = cells.at(slice(0, 20_000)).score
    assert np.sqrt(np.mean((first - score)[inside] ** 2)) < 0.008
    assert np.sqrt(np.mean((cells.spread(np.random.default_rng(3)).score[:20_000] - score)[inside] ** 2)) < 0.012
    # rows after the first, beyond their extremes too, are placed by value
    assert (np.diff(cells.at(slice(20_000, None)).score[np.argsort(values[20_000:])]) >= 0).all()
    assert abs(cells.at(slice(20_000, None)).score.std() - 1) < 0.02


def test_codes_stand_for_atoms_levels_missing_cells_and_whole_numbers() -> None:
    rng = np.random.default_rng(4)
    dose = np.where(rng.random(3000) < 0.3, 0.0, np.rint(100 + 40 * rng.standard_normal(3000)))
    dose[rng.random(3000) < 0.1] = np.nan
    for column in (
        pd.Series(dose),
        pd.Series(rng.integers(0, 5, 3000).astype(float)),
        pd.Series(category(rng.integers(-1, 300, 3000), [f"{k:03d}" for k in range(300)])),
    ):
        coder = coder_of(column)
        codes = coder.encode(column)
        back = decode(coder.margin, Cells(codes, coder.book).spread(rng))
        assert (back.isna() == column.isna()).all()
        if isinstance(column.dtype, pd.CategoricalDtype):
            assert codes.dtype == np.uint16
            assert (back.dropna().astype(str) == column.dropna().astype(str)).all()
            continue
        assert codes.dtype == np.uint8
        assert (back.dropna() == np.rint(back.dropna())).all()
        gap = np.abs(back - column).dropna()
        assert (gap[column == 0] == 0).all()
        assert gap.quantile(0.95) <= 6  # of a standard deviation of 40; the quantile function is smoothed


def test_equal_values_spread_over_the_stretches_that_are_theirs() -> None:
    rng = np.random.default_rng(5)
    values = np.where(rng.random(20_000) < 0.04, 0.5, rng.standard_normal(20_000))
    coder = coder_of(pd.Series(values), 10_000)
    score = Cells(coder.encode(pd.Series(values)), coder.book).spread(rng).score
    rank = np.sort(values[:10_000])
    low, high = (ndtri(np.searchsorted(rank, 0.5, side=side) / 10_000) for side in ("left", "right"))
    heap = score[values == 0.5]
    assert abs(heap.mean() - (low + high) / 2) < 0.01
    assert abs(heap.min() - low) < 0.03
    assert abs(heap.max() - high) < 0.03


def test_what_the_first_rows_do_not_show_is_counted() -> None:
    rng = np.random.default_rng(6)
    n = 8000
    late = np.arange(n) >= 1000
    marker = rng.standard_normal(n)
    marker[late & (rng.random(n) < 0.3)] = np.nan
    region = rng.integers(0, 3, n)
    region[late & (rng.random(n) < 0.2)] = 3
    grade = rng.integers(0, 4, n) * 2.0
    grade[late & (rng.random(n) < 0.01)] = 5.0
    table = pd.DataFrame({"w0": marker, "w1": category(region, ["a", "b", "c", "d"]), "w2": grade, "w3": rng.random(n)})
    columns = describe(table)
    coded = read_parts(cut(table, (3000, 5000)), columns, 1000, np.random.default_rng(1))
    assert coded.columns[0][0].missing == np.isnan(marker).mean()
    assert coded.columns[1][0].shares[3] == pytest.approx((region == 3).mean())
    assert set(coded.columns[2][0].values) == {0.0, 2.0, 4.0, 6.0}  # the nearest value stands for one so rare
    drawn = resolve("synthesizer", "chain", SMALL).fit(table, columns, np.random.default_rng(1)).sample(20_000, rng)
    assert abs(drawn["w0"].isna().mean() - np.isnan(marker).mean()) < 0.02
    assert abs((drawn["w1"] == "d").mean() - (region == 3).mean()) < 0.02


def test_copies_of_a_row_share_a_fold_unless_rows_are_few_by_nature() -> None:
    table = mixed(4000)[["w1", "w2", "w3"]]
    twice = pd.concat([table, table.iloc[::-1]], ignore_index=True)
    fold = read_parts(cut(twice, (3000,)), describe(twice), 1000, np.random.default_rng(1)).fold
    assert (fold[:4000] == fold[4000:][::-1]).all()
    assert np.bincount(fold, minlength=6).min() > 1000
    blank = pd.DataFrame({"w3": np.where(np.arange(4000) % 5 == 0, np.nan, np.random.default_rng(8).random(4000))})
    fold = read_parts(cut(blank, (3000,)), describe(blank), 1000, np.random.default_rng(1)).fold
    assert np.bincount(fold[::5], minlength=6).min() > 80
    flags = mixed(4000)[["w0", "w4"]]
    fold = read_parts(cut(flags, (3000,)), describe(flags), 1000, np.random.default_rng(1)).fold
    assert np.bincount(fold[(flags["w0"] == "true") & (flags["w4"] == "a")], minlength=6).min() > 50


def test_a_model_of_many_parts_holds_no_row() -> None:
    table = mixed(4000)
    canary = {17: 3.1415926535897, 3500: 2.7182818284590}
    for row, value in canary.items():
        table.loc[row, "w3"] = value
    stored = pickle.dumps(resolve("synthesizer", "chain", SMALL).fit_parts(cut(table, (2000,)), describe(table), np.random.default_rng(1)))
    for value in (*canary.values(), *table["w3"].dropna().to_numpy()[:40], *table["w3"].dropna().to_numpy()[-40:]):
        assert np.float64(value).tobytes() not in stored
        assert np.float32(value).tobytes() not in stored


def test_a_law_of_fewer_rows_is_the_same_law() -> None:
    table = mixed(6000)
    drawn = (
        resolve("synthesizer", "chain", SMALL | {"law_rows": 2000})
        .fit(table, describe(table), np.random.default_rng(1))
        .sample(10_000, np.random.default_rng(2))
    )
    assert abs(drawn[["w1", "w3"]].corr(method="spearman").iloc[0, 1] - table[["w1", "w3"]].corr(method="spearman").iloc[0, 1]) < 0.08
    assert abs(drawn["w3"].isna().mean() - table["w3"].isna().mean()) < 0.03


def test_rows_are_sampled_from_everywhere_and_none_twice() -> None:
    for n, wanted in ((1000, 1000), (1000, 700), (100_003, 20_000), (50, 80)):
        rows = sample_rows(n, wanted, np.random.default_rng(7))
        assert (np.diff(rows) > 0).all()
        assert rows[0] >= 0
        assert rows[-1] < n
        assert abs(len(rows) - min(n, wanted)) <= 0.15 * wanted * (n > wanted)
        assert abs(rows.mean() / n - 0.5) < 0.03


def test_no_row_at_all_is_refused() -> None:
    table = mixed(100)
    with pytest.raises(EstimationError, match="at least 20; got 0"):
        resolve("synthesizer", "chain").fit_parts(iter(()), describe(table), np.random.default_rng(1))
    with pytest.raises(EstimationError, match="at least 20; got 12"):
        resolve("synthesizer", "chain").fit_parts(cut(table.iloc[:12], (0, 5)), describe(table), np.random.default_rng(1))


def test_shares_are_those_of_all_cells() -> None:
    cells = pd.Series(category(np.array([0, 0, 1, -1] * 10), ["a", "b"]))
    coder = coder_of(cells, 8)
    margin = counted(coder.margin, Cells(coder.encode(pd.concat([cells, cells[cells == "a"]])), coder.book))
    assert margin.missing == pytest.approx(10 / 60)
    assert margin.shares.tolist() == [0.8, 0.2]
