"""Every synthesizer, found by listing the folder, keeps the same promises."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from threadpoolctl import threadpool_limits

from tasks.contract.columns import conform
from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.registry import names, resolve
from tasks.contract.roles import Column, pack_field
from tests.traits import drawn, everything, faults

METHODS = names("synthesizer")
# Methods trained by epochs are small here: a promise that holds whatever was learnt is tested with these parameters, how well they
# learn with their own (LEARNING: slow).
QUICK = {
    "ctgan": {"epochs": 1, "generator": (16, 16), "critic": (16, 16), "noise": 8},
    "tvae": {"epochs": 1, "layers": (16,), "code": 8},
    "diffusion": {"epochs": 1, "every": 1, "width": 16, "layers": 1, "steps": 6},
    "llm": {"epochs": 1, "width": 16, "heads": 1, "depth": 1, "bins": 8},
}
LEARNING = [pytest.param(method, marks=pytest.mark.slow) if method in QUICK else method for method in METHODS]


def describe(table: pd.DataFrame) -> tuple[Column, ...]:
    """Columns as the source step would describe them."""
    found = []
    for name, cells in table.items():
        if isinstance(cells.dtype, pd.CategoricalDtype):
            levels = tuple(cells.cat.categories)
            kind = "boolean" if len(levels) == 2 else "categorical"
            field = pack_field(pa.field(name, pa.string()))
            found.append(
                Column(id=name, name=name, field=field, role="covariate", kind=kind, levels=levels, missing=int(cells.isna().sum()))
            )
            continue
        known = np.sort(cells.dropna().to_numpy())
        whole = bool((known == np.rint(known)).all())
        tied = whole and (known == known[0]).sum() >= 5, whole and (known == known[-1]).sum() >= 5
        low = float(known[0] if tied[0] else known[:5].mean())
        high = float(known[-1] if tied[1] else known[-5:].mean())
        field = pack_field(pa.field(name, pa.int64() if whole and len(known) == len(cells) else pa.float64()))
        kind = "integer" if whole else "continuous"
        missing = int(cells.isna().sum())
        found.append(Column(id=name, name=name, field=field, role="covariate", kind=kind, low=low, high=high, missing=missing))
    return tuple(found)


def category(codes: np.ndarray, levels: list[str]) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, categories=levels)


def mixed(n: int, seed: int = 0) -> pd.DataFrame:
    """Correlated columns of every kind, with atoms, rounding, missing cells and a rare level."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal(n)
    age = np.rint(np.clip(45 + 12 * (0.7 * latent + 0.7 * rng.standard_normal(n)), 18, 90))
    dose = np.where(latent + rng.standard_normal(n) < 0, 0.0, np.exp(0.5 * latent + 0.5 * rng.standard_normal(n)))
    marker = latent + 0.5 * rng.standard_normal(n)
    marker[rng.random(n) < 1 / (1 + np.exp(1.5 - latent))] = np.nan
    region = (rng.random(n) ** 2 * 5).astype(int) + (latent > 1)
    region[rng.random(n) < 0.1] = -1
    return pd.DataFrame(
        {
            "w0": category((rng.random(n) < 1 / (1 + np.exp(-latent))).astype(int), ["false", "true"]),
            "w1": age,
            "w2": dose,
            "w3": marker,
            "w4": category(region, ["a", "b", "c", "d", "e", "f"]),
            "w5": rng.integers(0, 4, n).astype(float),
            "w6": category((np.arange(n) % 200 == 0).astype(int), ["common", "rare"]),
        }
    )


def fit(method: str, table: pd.DataFrame, params: dict[str, object] | None = None):
    """Fit a method, with its quick parameters unless others are given."""
    chosen = QUICK.get(method, {}) if params is None else params
    return resolve("synthesizer", method, chosen).fit(table, describe(table), np.random.default_rng(1))


def sample(method: str, table: pd.DataFrame, n: int, seed: int = 0) -> pd.DataFrame:
    model = resolve("synthesizer", method, QUICK.get(method)).fit(table, describe(table), np.random.default_rng([seed, 1]))
    return model.sample(n, np.random.default_rng([seed, 2]))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return mixed(1000)


@pytest.fixture(scope="module", params=METHODS)
def fitted(request: pytest.FixtureRequest, table: pd.DataFrame) -> tuple[str, object]:
    return request.param, fit(request.param, table)


@pytest.fixture(scope="module", params=LEARNING)
def learnt(request: pytest.FixtureRequest, table: pd.DataFrame) -> object:
    return fit(request.param, table, {})


def test_the_folder_holds_the_promised_methods() -> None:
    assert {"forest", "copula", "bootstrap"} <= set(METHODS)


def test_columns_types_and_categories_are_kept(fitted: tuple[str, object], table: pd.DataFrame) -> None:
    drawn = fitted[1].sample(500, np.random.default_rng(3))
    assert list(drawn.columns) == list(table.columns)
    assert drawn.index.equals(pd.RangeIndex(500))
    for name in table:
        assert drawn[name].dtype == table[name].dtype, name


def test_the_same_generator_gives_the_same_frame(fitted: tuple[str, object], table: pd.DataFrame) -> None:
    method, model = fitted
    first = model.sample(300, np.random.default_rng(3))
    again = fit(method, table).sample(300, np.random.default_rng(3))
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert not first.equals(model.sample(300, np.random.default_rng(4)))


def test_threads_of_linear_algebra_do_not_matter(fitted: tuple[str, object], table: pd.DataFrame) -> None:
    method, model = fitted
    with threadpool_limits(2):
        again = fit(method, table).sample(300, np.random.default_rng(3))
    pd.testing.assert_frame_equal(model.sample(300, np.random.default_rng(3)), again, check_exact=True)


def test_a_model_pickles(fitted: tuple[str, object]) -> None:
    copy = pickle.loads(pickle.dumps(fitted[1]))
    pd.testing.assert_frame_equal(copy.sample(100, np.random.default_rng(3)), fitted[1].sample(100, np.random.default_rng(3)))


def test_fitting_leaves_the_table_alone(fitted: tuple[str, object], table: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(table, mixed(1000))


def test_margins_and_missing_rates_match(learnt: object, table: pd.DataFrame) -> None:
    n = 20_000
    drawn = learnt.sample(n, np.random.default_rng(3))
    for name in table:
        rate, drawn_rate = table[name].isna().mean(), drawn[name].isna().mean()
        # sampling error of the release, and of a smoothed law around a table of 1,000
        assert abs(drawn_rate - rate) <= 4 * np.sqrt(rate * (1 - rate) * (1 / n + 0.25 / len(table))) + 1e-12, name
        if isinstance(table[name].dtype, pd.CategoricalDtype):
            shares, found = (x[name].value_counts(normalize=True, sort=False) for x in (table, drawn))
            assert (abs(found - shares) <= 4 * np.sqrt(shares * (1 - shares) * (1 / n + 0.25 / len(table)))).all(), name
        else:
            spread = table[name].std()
            assert abs(drawn[name].mean() - table[name].mean()) <= 4 * spread * np.sqrt(1 / n + 0.25 / len(table)), name
            assert 0.85 <= drawn[name].std() / spread <= 1.15, name


def test_atoms_and_integers_are_kept(learnt: object, table: pd.DataFrame) -> None:
    drawn = learnt.sample(10_000, np.random.default_rng(3))
    assert abs((drawn["w2"] == 0).mean() - (table["w2"] == 0).mean()) < 0.04
    assert set(drawn["w5"].unique()) == {0.0, 1.0, 2.0, 3.0}
    for column in describe(table):
        if column.kind == "integer":
            values = np.asarray(conform(column, pa.array(drawn[column.id].to_numpy())).to_pandas(), dtype=float)
            assert (values == np.rint(values)).all()
            assert values.min() >= np.rint(column.low)
            assert values.max() <= np.rint(column.high)


def test_association_is_kept(learnt: object, table: pd.DataFrame) -> None:
    drawn = learnt.sample(20_000, np.random.default_rng(3))
    for one, two in (("w1", "w3"), ("w2", "w3")):
        wanted = table[[one, two]].corr(method="spearman").iloc[0, 1]
        assert wanted > 0.4  # the table does have the association
        assert abs(drawn[[one, two]].corr(method="spearman").iloc[0, 1] - wanted) < 0.1
    # networks tend to overdo what they learn on 800 rows
    near = 4 if hasattr(learnt, "curve") else 2
    gap = [x["w1"][x["w0"] == "true"].mean() - x["w1"][x["w0"] == "false"].mean() for x in (table, drawn)]
    assert gap[0] > 4
    assert abs(gap[0] - gap[1]) < near
    # whether a cell is missing goes with the other columns
    gap = [x["w1"][x["w3"].isna()].mean() - x["w1"][x["w3"].notna()].mean() for x in (table, drawn)]
    assert gap[0] > 3
    assert abs(gap[0] - gap[1]) < near


@pytest.mark.parametrize("method", METHODS)
def test_traits_of_a_table_are_kept(method: str) -> None:
    """Dates on their grid, a panel missing together, relations, an atom apart, a dictionary: no row lacks one."""
    source = everything()
    found = drawn(source, method, rows=2000, params=QUICK.get(method))
    assert not any(faults(source, found.frame).values()), faults(source, found.frame)
    assert set(found.layer.traits) == {"relations", "grids", "atoms", "missingness"}
    wanted, share = source["lab0"].isna().mean(), found.frame["lab0"].isna().mean()
    assert 0 < share < 1
    if method not in QUICK:
        assert abs(share - wanted) < 0.05


def test_one_row_can_be_drawn(fitted: tuple[str, object]) -> None:
    assert fitted[1].sample(1, np.random.default_rng(3)).shape == (1, 7)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("chosen", [["w0"], ["w1"], ["w2"], ["w3"], ["w4"], ["w5"], ["w0", "w4", "w6"], ["w3", "w2"]])
def test_narrow_tables_work(method: str, chosen: list[str], table: pd.DataFrame) -> None:
    drawn = sample(method, table[chosen], 400)
    assert list(drawn.columns) == chosen
    assert (drawn.notna().mean() > 0.5).all()


@pytest.mark.parametrize("method", LEARNING)
def test_treatment_and_outcome_are_just_columns(method: str) -> None:
    rng = np.random.default_rng(5)
    treated = rng.integers(0, 2, 600)
    outcome = 2.0 * treated + rng.standard_normal(600)
    frame = pd.DataFrame({"w0": rng.standard_normal(600), "a": category(treated, ["0", "1"]), "y": outcome})
    columns = tuple(
        column.model_copy(update={"role": {"a": "treatment", "y": "outcome"}.get(column.id, "covariate"), "low": None, "high": None})
        for column in describe(frame)
    )
    drawn = resolve("synthesizer", method).fit(frame, columns, np.random.default_rng(1)).sample(10_000, np.random.default_rng(2))
    effect = drawn["y"][drawn["a"] == "1"].mean() - drawn["y"][drawn["a"] == "0"].mean()
    assert abs(effect - 2) < 0.35
    binary = frame.assign(y=(outcome > 1).astype(float))
    drawn = resolve("synthesizer", method).fit(binary, columns, np.random.default_rng(1)).sample(500, np.random.default_rng(2))
    assert set(drawn["y"].unique()) == {0.0, 1.0}


@pytest.mark.parametrize("method", METHODS)
def test_small_tables_work_and_smaller_are_refused(method: str) -> None:
    assert sample(method, mixed(20), 50).shape == (50, 7)
    with pytest.raises(EstimationError, match="at least 20; got 19"):
        sample(method, mixed(19), 50)


@pytest.mark.parametrize("method", METHODS)
def test_almost_wholly_missing_columns_work(method: str) -> None:
    frame = mixed(200)
    frame["w3"] = np.where(np.arange(200) < 3, frame["w1"] / 7, np.nan)
    frame["w4"] = frame["w4"].where(np.arange(200) < 2)
    drawn = sample(method, frame, 2000)
    assert drawn["w3"].isna().mean() > 0.9
    assert drawn["w4"].isna().mean() > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_unknown_parameters_are_refused(method: str) -> None:
    with pytest.raises(SpecError, match="no_such"):
        resolve("synthesizer", method, {"no_such": 1})
