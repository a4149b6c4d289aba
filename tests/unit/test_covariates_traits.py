"""What every synthesizer keeps of a table: dates on their grid, panels missing together, relations, atoms apart from the rest."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.frames import to_frame
from tasks.contract.registry import resolve
from tasks.covariates.traits.layer import find_layer, fit_layered, fit_layered_parts
from tests.traits import Drawn, base, drawn, inspected, released

SYNTHESIZERS = ("forest", "chain", "copula")
START = pd.Timestamp("2019-01-01")


def days(rng: np.random.Generator, rows: int, unit: str, most: int) -> pd.Series:
    return pd.Series(START + pd.to_timedelta(rng.integers(0, most, rows), unit))


def dates() -> pd.DataFrame:
    """Columns on grids of days, hours, quarter hours and months, and one in a time zone at local midnight."""
    frame, rng = base(11)
    n = len(frame)
    frame["visit"] = days(rng, n, "D", 900)
    frame["seen"] = days(rng, n, "h", 9000)
    frame["slot"] = START + pd.to_timedelta(15 * rng.integers(0, 9000, n), "min")
    frame["month"] = pd.PeriodIndex.from_ordinals(rng.integers(580, 640, n), freq="M").to_timestamp()
    frame["billed"] = (pd.PeriodIndex.from_ordinals(rng.integers(580, 640, n), freq="M") + 1).to_timestamp() - pd.Timedelta("1D")
    frame["local"] = days(rng, n, "D", 900).dt.tz_localize("America/New_York")
    frame["born"] = days(rng, n, "D", 900).dt.date
    frame.loc[rng.random(n) < 0.1, "visit"] = pd.NaT
    return frame


@pytest.mark.parametrize("synthesizer", SYNTHESIZERS)
def test_dates_stay_on_their_grid(synthesizer: str) -> None:
    source = dates()
    found = drawn(source, synthesizer).frame
    assert (found["visit"].dropna() == found["visit"].dropna().dt.normalize()).all()
    assert 0.07 < found["visit"].isna().mean() < 0.13
    assert (found["seen"] == found["seen"].dt.floor("h")).all()
    assert (found["slot"] == found["slot"].dt.floor("15min")).all()
    assert found["slot"].dt.minute.nunique() == 4
    assert ((found["month"].dt.day == 1) & (found["month"] == found["month"].dt.normalize())).all()
    assert found["billed"].dt.is_month_end.all()
    assert str(found["local"].dt.tz) == "America/New_York"
    assert (found["local"] == found["local"].dt.normalize()).all()
    for name in ("visit", "seen", "slot", "month", "billed", "local"):
        assert abs(found[name].mean() - source[name].mean()) < pd.Timedelta("40D")
        assert source[name].min() <= found[name].min()
        assert found[name].max() <= source[name].max()


def graded(words: list[str], used: list[str], ordered: bool, rare: str | None = None) -> pd.DataFrame:
    """A categorical column, some words of which no row has."""
    frame, rng = base(10)
    cells = rng.choice(used, len(frame)).astype(object)
    if rare is not None:
        cells[:3] = rare
    cells[rng.random(len(frame)) < 0.1] = None
    frame["grade"] = pd.Categorical(cells, words, ordered=ordered)
    return frame


@pytest.mark.parametrize("synthesizer", SYNTHESIZERS)
@pytest.mark.parametrize(
    ("source", "words"),
    [
        (graded(["mild", "acute", "severe", "fatal"], ["severe", "mild", "acute"], True), ["mild", "acute", "severe", "fatal"]),
        (graded(["z", "never", "b", "a"], ["a", "b", "z"], False), ["z", "never", "b", "a"]),
        # a level that three rows have is not released: it counts as the most frequent one
        (graded(["low", "odd", "high"], ["low", "high"], True, "odd"), ["low", "high"]),
    ],
    ids=["ordered", "unordered", "rare"],
)
def test_dictionaries_keep_their_words_and_order(source: pd.DataFrame, words: list[str], synthesizer: str) -> None:
    found = drawn(source, synthesizer, rows=1500)
    wanted = pa.Table.from_pandas(source, preserve_index=False).schema.field("grade").type
    assert found.table.schema.field("grade").type == wanted
    for first in range(0, 1500, 500):
        part = found.table.slice(first, 500).to_pandas()["grade"].dtype
        assert part.ordered == wanted.ordered
        assert list(part.categories) == words
    for word, share in source["grade"].value_counts(normalize=True).items():
        assert word not in words or abs((found.frame["grade"].dropna() == word).mean() - share) < 0.06


def panel() -> pd.DataFrame:
    """Four labs missing together in 40 % of the rows; 5 % of the rows without any covariate."""
    frame, rng = base(12)
    labs = [f"lab{k}" for k in range(4)]
    for name in labs:
        frame[name] = (rng.normal(size=len(frame)) + 0.5 * frame["x"]).round(2)
    frame.loc[rng.random(len(frame)) < 1 / (1 + np.exp(0.4 - 0.8 * frame["z"])), labs] = np.nan
    frame.loc[rng.random(len(frame)) < 0.05, ["x", "z", *labs]] = np.nan
    return frame


def visits() -> pd.DataFrame:
    """Dropout: who misses a visit misses all later ones; a category and a date belong to each visit."""
    frame, rng = base(15)
    n = len(frame)
    last = rng.integers(0, 4, n)
    for k in range(3):
        frame[f"weight{k}"] = pd.Series((70 + 8 * frame["x"] + rng.normal(size=n)).round(1)).mask(last <= k)
        frame[f"mood{k}"] = pd.Series(rng.choice(["low", "mid", "high"], n)).mask(last <= k)
    return frame


def screens() -> pd.DataFrame:
    """Two instruments of three items: everybody has exactly one; a few stray rows have part of one."""
    frame, rng = base(16)
    n = len(frame)
    first = rng.random(n) < 0.3
    for k in range(3):
        frame[f"a{k}"] = pd.Series(rng.integers(0, 30, n).astype(float)).mask(first)
        frame[f"b{k}"] = pd.Series(rng.normal(size=n).round(3)).mask(~first)
    frame.loc[:1, "a0"] = np.nan
    return frame


def patterns(frame: pd.DataFrame, names: list[str]) -> pd.Series:
    return frame[names].isna().astype(int).astype(str).agg("".join, axis=1).value_counts(normalize=True)


@pytest.mark.parametrize("synthesizer", SYNTHESIZERS)
@pytest.mark.parametrize("make", [panel, visits, screens])
def test_patterns_of_missing_cells_are_those_of_the_source(make: Callable[[], pd.DataFrame], synthesizer: str) -> None:
    source = make()
    names = [name for name in source if source[name].isna().any()]
    found = drawn(source, synthesizer).frame
    wanted, actual = patterns(source, names), patterns(found, names)
    common = wanted[wanted >= 0.0025]
    assert set(actual.index) <= set(common.index)
    assert (actual.reindex(common.index).fillna(0) - common).abs().sum() / 2 < 0.05


@pytest.mark.parametrize("synthesizer", SYNTHESIZERS)
def test_missingness_stays_associated_with_the_other_columns(synthesizer: str) -> None:
    source = panel()
    found = drawn(source, synthesizer, rows=10_000).frame
    gap = [(each["z"][each["lab0"].isna()].mean() - each["z"][each["lab0"].notna()].mean()) for each in (source, found)]
    assert gap[0] > 0.5
    assert abs(gap[0] - gap[1]) < 0.2
    both = [each[["x", "lab0"]].corr().iloc[0, 1] for each in (source, found)]
    assert abs(both[0] - both[1]) < 0.1


def test_missing_cells_without_structure_are_left_to_the_synthesizer() -> None:
    frame, rng = base(17)
    for name in ("x", "z"):
        frame.loc[rng.random(len(frame)) < 0.1, name] = np.nan
    schema, table, _ = inspected(frame)
    assert not find_layer(to_frame(table, schema.modelled), schema.modelled).traits


def related() -> pd.DataFrame:
    frame, rng = base(13)
    frame["x_again"] = frame["x"]
    frame["start"] = rng.integers(0, 100, len(frame))
    frame["end"] = frame["start"] + rng.integers(0, 60, len(frame))
    return frame


def broken_related(found: pd.DataFrame) -> int:
    return int((found["x"] != found["x_again"]).sum() + (found["end"] < found["start"]).sum())


def stays() -> pd.DataFrame:
    """Referral, admission, discharge in this order, admission sometimes missing; length of stay; a temperature in two units."""
    frame, rng = base(18)
    n = len(frame)
    frame["referred"] = days(rng, n, "D", 500)
    frame["admitted"] = frame["referred"] + pd.to_timedelta(rng.integers(0, 90, n), "D")
    stay = rng.integers(0, 30, n)
    frame["discharged"] = frame["admitted"] + pd.to_timedelta(stay * 24 + rng.integers(1, 24, n), "h")
    frame["celsius"] = rng.normal(37, 0.8, n).round(1)
    frame["fahrenheit"] = (frame["celsius"] * 1.8 + 32).round(2)
    frame.loc[rng.random(n) < 0.15, "admitted"] = pd.NaT
    return frame


def broken_stays(found: pd.DataFrame) -> int:
    late = (found["admitted"] < found["referred"]).sum() + (found["discharged"] < found["admitted"]).sum()
    known = found["admitted"].dropna()
    units = (~np.isclose(found["fahrenheit"], found["celsius"] * 1.8 + 32)).sum()
    return int(late + (found["discharged"] < found["referred"]).sum() + (known != known.dt.normalize()).sum() + units)


def towns() -> pd.DataFrame:
    """Town, region, country; age and its band; parts and their total; indicators of one of three."""
    frame, rng = base(19)
    n = len(frame)
    town = rng.integers(0, 12, n)
    frame["town"] = [f"town {k}" for k in town]
    frame["region"] = [f"region {k // 3}" for k in town]
    frame["country"] = [f"country {k // 6}" for k in town]
    frame["age"] = rng.integers(18, 90, n)
    frame["band"] = pd.cut(frame["age"], [0, 30, 50, 70, 120], labels=["<30", "<50", "<70", "old"]).astype(str)
    parts = (rng.gamma(2, 30, (n, 3)) + np.abs(10 * frame[["x"]].to_numpy())).round(2)
    frame[["drugs", "ward", "staff"]] = parts
    frame["total"] = parts.sum(axis=1).round(2)
    for k in range(3):
        frame[f"is{k}"] = (town % 3 == k).astype(int) if k else 0
    frame["is0"] = 1 - frame["is1"] - frame["is2"]
    return frame


def broken_towns(found: pd.DataFrame) -> int:
    number = found["town"].str.removeprefix("town ").astype(int)
    wrong = (found["region"] != [f"region {k // 3}" for k in number]).sum()
    wrong += (found["country"] != [f"country {k // 6}" for k in number]).sum()
    band = pd.cut(found["age"], [0, 30, 50, 70, 120], labels=["<30", "<50", "<70", "old"]).astype(str)
    wrong += (found["band"] != band).sum()
    wrong += (found["total"] != found[["drugs", "ward", "staff"]].sum(axis=1).round(2)).sum()
    wrong += (found[["drugs", "ward", "staff"]] < 0).any(axis=1).sum()
    return int(wrong + (found[["is0", "is1", "is2"]].sum(axis=1) != 1).sum())


RELATED = {"related": (related, broken_related), "stays": (stays, broken_stays), "towns": (towns, broken_towns)}


@pytest.mark.parametrize("synthesizer", SYNTHESIZERS)
@pytest.mark.parametrize("name", RELATED)
def test_relations_are_found_and_hold_in_every_row(name: str, synthesizer: str) -> None:
    make, broken = RELATED[name]
    source = make()
    assert broken(source) == 0
    found = drawn(source, synthesizer, rows=5000)
    assert broken(found.frame) == 0
    assert list(found.frame) == [column for column in source if column not in ("a", "y")]
    for column in source.select_dtypes("number").columns.difference(["a", "y"]):
        spread = source[column].std()
        assert abs(found.frame[column].mean() - source[column].mean()) < 0.12 * spread, column
        assert 0.85 < found.frame[column].std() / spread < 1.15, column


def said(found: Drawn) -> list[str]:
    return found.layer.described()["relations"]


def test_what_is_found_is_said() -> None:
    assert said(drawn(related(), "copula")) == ["copy(x, x_again)", "start <= end"]
    assert set(said(drawn(towns(), "copula"))) >= {"total = drugs + ward + staff", "within(town, region)", "within(age, band)"}


def test_only_columns_that_would_cross_by_chance_are_ordered() -> None:
    frame, rng = base(20)
    frame["small"] = rng.integers(0, 100, len(frame))
    frame["large"] = rng.integers(1000, 2000, len(frame))
    frame["close"] = rng.integers(40, 140, len(frame))
    schema, table, _ = inspected(frame)
    assert not find_layer(to_frame(table, schema.modelled), schema.modelled).traits


@pytest.mark.parametrize("synthesizer", SYNTHESIZERS)
def test_declared_relations_are_kept_in_tables_too_small_to_find_them(synthesizer: str) -> None:
    frame, rng = base(21, 90)
    frame["low"] = rng.normal(size=90).round(1)
    frame["mid"] = (frame["low"] + rng.gamma(1, 1, 90)).round(1)
    frame["high"] = (frame["mid"] + rng.gamma(1, 1, 90)).round(2)
    frame["net"] = (frame["high"] - frame["low"]).round(2)
    schema, table, _ = inspected(frame)
    assert not find_layer(to_frame(table, schema.modelled), schema.modelled).traits
    declared = ("low <= mid <= high", "net = high - low")
    found = drawn(frame, synthesizer, relations=declared).frame
    assert ((found["low"] <= found["mid"]) & (found["mid"] <= found["high"])).all()
    np.testing.assert_allclose(found["net"], (found["high"] - found["low"]).round(2), atol=1e-9)


def test_rows_that_break_a_declared_relation_are_counted() -> None:
    frame = related()
    frame.loc[:12, "end"] = frame["start"] - 1
    with pytest.raises(EstimationError, match=r"relation 'start <= end' of roles must hold in every training row; got 13 of 1200 rows"):
        drawn(frame, "copula", relations=("start <= end",))
    frame["x_again"] = -(frame["x"] ** 2)
    with pytest.raises(EstimationError, match=r"relation 'copy\(x, x_again\)'"):
        drawn(frame, "copula", relations=("copy(x, x_again)",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start <= finish", r"relation 'start <= finish' of roles must name covariates; got 'finish', which is none"),
        ("end = start + town", r"columns of relation 'end = start \+ town' must be number columns; got 'town', a category"),
        ("start <= town", r"columns of relation 'start <= town' must be date or number columns; got 'town', a category"),
        ("copy(x, town)", r"columns of relation 'copy\(x, town\)' must be of one kind"),
    ],
)
def test_relations_of_columns_that_cannot_have_them_are_refused(text: str, message: str) -> None:
    frame = related().assign(town=lambda table: np.where(table["start"] > 50, "u", "v"))
    with pytest.raises(SpecError, match=message):
        inspected(frame, relations=(text,))


def sentinels() -> pd.DataFrame:
    """3 % of a body mass index is -9."""
    frame, rng = base(14)
    frame["bmi"] = (27 + 4 * frame["x"] + rng.normal(size=len(frame))).round(1)
    frame.loc[rng.random(len(frame)) < 0.03, "bmi"] = -9
    return frame


def costs() -> pd.DataFrame:
    """Half the costs are zero, the others beyond a deductible of 50, with all digits; 2 % of the ages are coded 999."""
    frame, rng = base(22)
    n = len(frame)
    frame["cost"] = np.where(rng.random(n) < 0.5, 0.0, 50 + np.exp(5 + 0.5 * frame["x"] + rng.normal(size=n)))
    frame["age"] = np.where(rng.random(n) < 0.02, 999, rng.integers(18, 90, n))
    return frame


def codes() -> pd.DataFrame:
    """Several missing codes side by side, and an atom with a gap on both sides."""
    frame, rng = base(23)
    n = len(frame)
    frame["score"] = rng.integers(20, 81, n).astype(float)
    frame.loc[rng.random(n) < 0.08, "score"] = rng.choice([-9.0, -8.0, -7.0], n)[0]
    frame.loc[rng.random(n) < 0.05, "score"] = -8.0
    frame.loc[rng.random(n) < 0.02, "score"] = -7.0
    change = rng.gamma(2, 4, n) + 5
    frame["change"] = np.where(rng.random(n) < 0.2, 0.0, np.where(rng.random(n) < 0.5, change, -change))
    return frame


GAPS = {
    sentinels: [("bmi", -9, 0)],
    costs: [("cost", 0, 0), ("age", 90, 999)],
    codes: [("score", -7, 20), ("change", -5, 0), ("change", 0, 5)],
}


@pytest.mark.parametrize("synthesizer", SYNTHESIZERS)
@pytest.mark.parametrize("make", GAPS)
def test_no_value_lies_between_an_atom_and_the_rest(make: Callable[[], pd.DataFrame], synthesizer: str) -> None:
    source = make()
    found = drawn(source, synthesizer, rows=6000).frame
    for name, low, high in GAPS[make]:
        top = source[name][source[name] > low].min() if high == 0 and low >= -9 and name != "change" else high
        assert not ((source[name] > low) & (source[name] < top)).any()
        assert not ((found[name] > low) & (found[name] < top)).any(), name
        for atom in (low, high):
            share = (source[name] == atom).mean()
            assert abs((found[name] == atom).mean() - share) < 0.03, (name, atom)
            if share > 0:
                assert (found[name] == atom).any()


def test_a_layered_model_pickles_and_draws_the_same_rows() -> None:
    schema, table, _ = inspected(towns())
    frame = to_frame(table, schema.modelled)
    model = fit_layered(resolve("synthesizer", "copula"), frame, schema.modelled, np.random.default_rng(1))[0]
    copy = pickle.loads(pickle.dumps(model))
    one, two = (each.sample(200, np.random.default_rng(3)) for each in (model, copy))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert list(one) == list(frame)
    for name in frame:
        assert one[name].dtype == frame[name].dtype


def test_one_row_can_be_drawn() -> None:
    for make in (panel, visits, stays):
        schema, table, _ = inspected(make())
        frame = to_frame(table, schema.modelled)
        model = fit_layered(resolve("synthesizer", "copula"), frame, schema.modelled, np.random.default_rng(1))[0]
        for seed in range(5):
            assert released(schema, model.sample(1, np.random.default_rng(seed)))[1].num_rows == 1


def test_later_parts_refute_what_only_the_first_rows_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.covariates.traits.layer.HEAD_ROWS", 800)
    frame = related()
    frame["visit"] = START + pd.to_timedelta(np.arange(len(frame)) % 300, "D")
    schema, table, _ = inspected(frame)
    whole = to_frame(table, schema.modelled)
    changed = whole.copy()
    name = {column.name: column.id for column in schema.modelled}
    changed.loc[1000, name["x_again"]] += 1.0
    changed.loc[1100, name["visit"]] += 1.0
    for source, kept in ((whole, {"copy(x, x_again)", "start <= end", "visit: days"}), (changed, {"start <= end"})):
        cuts = [source.iloc[first : first + 300].reset_index(drop=True) for first in range(0, len(source), 300)]
        chain = resolve("synthesizer", "chain")
        model, layer = fit_layered_parts(chain, lambda cuts=cuts: iter(cuts), schema.modelled, np.random.default_rng(1))
        assert {text for texts in layer.described().values() for text in texts} == kept
        cells = model.sample(500, np.random.default_rng(2))
        assert (cells[name["end"]] >= cells[name["start"]]).all()
