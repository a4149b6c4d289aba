"""Gates on laws and support: what they reject, what they let through, and what they are measured on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tasks.checks.comparison import design_weights, law_evidence, outside, supports
from tasks.checks.evidence import Evidence
from tasks.checks.laws import Gap, LawEvidence, level_gap, ordered_gap, weighted_gap
from tasks.checks.methods.laws import LawCheck
from tasks.checks.methods.support import SupportCheck
from tasks.checks.support import Support, SupportEvidence, natural_support
from tasks.checks.verdict import outcome
from tasks.contract.roles import Column, TableSchema, pack_field
from tasks.contract.spec import GatesSpec


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng([31, *seed])


def test_distances_are_those_of_their_definitions() -> None:
    x, y = np.array([0.0, 0.0, 1.0, 2.0]), np.array([1.0, 2.0])
    assert ordered_gap(x, y, rng()).distance == pytest.approx(0.5)
    assert weighted_gap(x, np.array([0.0, 0.0, 1.0, 1.0]), y, rng()).distance == pytest.approx(0.0)
    assert weighted_gap(x, np.array([3.0, 3.0, 1.0, 1.0]), y, rng()).distance == pytest.approx(0.75)
    many = np.repeat([0, 1, 2], [50, 30, 20]), np.repeat([0, 1, 2], [20, 30, 50])
    assert level_gap(*many, rng()).distance == pytest.approx(0.3)


@pytest.mark.parametrize("gap", [ordered_gap, lambda x, y, r: weighted_gap(x, np.ones(len(x)), y, r)], ids=["exchanged", "multipliers"])
def test_the_null_of_two_samples_of_one_law_is_kolmogorovs(gap) -> None:
    x, y = rng(1).normal(size=3_000), rng(2).normal(size=2_000)
    found = gap(x, y, rng(3))
    scale = np.sqrt(1 / 3_000 + 1 / 2_000)
    assert found.middle / scale == pytest.approx(0.828, abs=0.06)
    assert found.high / scale == pytest.approx(1.628, abs=0.2)


def test_rare_levels_are_one_cell_so_that_no_table_of_names_is_rejected() -> None:
    x, y = rng(4).integers(0, 5_000, 1_000), rng(5).integers(0, 5_000, 1_000)
    assert level_gap(x, y, rng(6)).excess == 0.0


@pytest.mark.parametrize(("design", "right"), [("randomized", 0.5), ("tilted", None), ("fitted", None)])
def test_an_arm_of_the_source_is_weighted_to_the_covariates_it_has_in_the_release(design, right) -> None:
    draws = rng(7)
    x = draws.normal(size=200_000)
    g = 1 / (1 + np.exp(-0.8 * x))
    a = (draws.random(len(x)) < g).astype(np.int8)
    weight = design_weights(a, (1 - g, g), 1e-6, design, 2.0)
    released = {"randomized": np.full(len(x), 0.3), "tilted": 1 / (1 + np.exp(-1.6 * x)), "fitted": g}[design]
    for label in (0, 1):
        law = released if label else 1 - released
        assert np.average(x[a == label], weights=weight[a == label]) == pytest.approx(np.average(x, weights=law), abs=0.02)


COLUMNS = (
    Column(id="w0", name="lab", role="covariate", kind="continuous", field=pack_field(pa.field("lab", pa.float64()))),
    Column(
        id="w1", name="site", role="covariate", kind="categorical", levels=("a", "b", "c"), field=pack_field(pa.field("site", pa.string()))
    ),
    Column(id="a", name="drug", role="treatment", kind="integer", field=pack_field(pa.field("drug", pa.int64()))),
    Column(id="y", name="cost", role="outcome", kind="continuous", field=pack_field(pa.field("cost", pa.float64()))),
)
SCHEMA = TableSchema(columns=COLUMNS, treated="1", control="0", outcome_kind="continuous", rows=2_000)


def table(rows: int, seed: int, **changes) -> pd.DataFrame:
    draws = rng(8, seed)
    gone = draws.random(rows) < 0.3
    frame = {
        "w0": np.where(gone, np.nan, draws.gamma(2, 2, rows).round(2)),
        "w1": np.where(gone & (draws.random(rows) < 0.8), None, draws.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1])),
        "a": draws.integers(0, 2, rows).astype(np.int8),
        "y": np.where(draws.random(rows) < 0.5, 0.0, np.exp(draws.normal(5, 1, rows)).round(2)),
    }
    return pd.DataFrame(frame | {name: make(pd.DataFrame(frame), draws) for name, make in changes.items()})


def judged(release: pd.DataFrame) -> dict[str, str]:
    source, drawn = (
        pa.Table.from_pandas(frame, preserve_index=False).cast(
            pa.schema([("w0", pa.float64()), ("w1", pa.string()), ("a", pa.int8()), ("y", pa.float64())])
        )
        for frame in (table(2_000, 0), release)
    )
    laws = law_evidence(SCHEMA, source, np.ones(2_000), drawn, rng(9))
    seen = Evidence(laws=laws, support=outside(SCHEMA, supports(SCHEMA, source, {}), drawn))
    metrics = [*LawCheck().measure(seen, GatesSpec()), *SupportCheck().measure(seen, GatesSpec())]
    return {metric.name: outcome(metric) for metric in metrics if metric.rule is not None}


def test_fresh_rows_of_the_law_pass_all_four() -> None:
    assert judged(table(5_000, 1)) == dict.fromkeys(("outcome_law", "margins", "missingness", "support"), "pass")


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"y": lambda frame, draws: frame["y"].mean() + frame["y"].std() * draws.normal(size=len(frame))}, {"outcome_law", "support"}),
        ({"y": lambda frame, draws: np.where(frame["a"] == 1, frame["y"], 0.0)}, {"outcome_law"}),
        ({"w0": lambda frame, draws: frame["w0"] * 1.5}, {"margins"}),
        ({"w1": lambda frame, draws: frame["w1"].mask(frame["w1"] == "b", "a")}, {"margins"}),
        (
            {"w0": lambda frame, draws: -frame["w0"].where(draws.random(len(frame)) < 1e-3) + 0 * frame["w0"]},
            {"margins", "support", "missingness"},
        ),
        ({"w0": lambda frame, draws: draws.permutation(frame["w0"])}, {"missingness"}),
    ],
    ids=["additive outcome", "one arm", "scaled", "lost level", "negative", "missing alone"],
)
def test_each_gate_rejects_what_it_must(changes, failed) -> None:
    answers = judged(table(5_000, 2, **changes))
    assert {name for name, answer in answers.items() if answer == "fail"} == failed


def test_an_arm_of_few_rows_leaves_the_law_of_the_outcome_open() -> None:
    frame = table(5_000, 3)
    rare = pd.concat([frame[frame["a"] == 0], frame[frame["a"] == 1].head(10)])
    assert judged(rare)["outcome_law"] == "inconclusive"


def test_between_pass_and_fail_the_data_can_not_tell() -> None:
    def answer(*gaps: Gap) -> str:
        found = Evidence(laws=LawEvidence(tuple((str(at), gap) for at, gap in enumerate(gaps)), len(gaps), (), None))
        return outcome(LawCheck().measure(found, GatesSpec())[0])

    assert answer(Gap(0.06, 0.02, 0.03, 0.05), Gap(0.05, 0.01, 0.02, 0.03)) == "pass"
    assert answer(Gap(0.06, 0.02, 0.03, 0.05), Gap(0.08, 0.02, 0.03, 0.05)) == "inconclusive"
    assert answer(Gap(0.06, 0.02, 0.03, 0.05), Gap(0.11, 0.02, 0.03, 0.05)) == "fail"


SOURCES = {
    "cost": lambda n, r: np.where(r.random(n) < 0.5, 0.0, np.exp(r.normal(5, 1, n)).round(2)),
    "score": lambda n, r: np.clip(5 * np.round((60 + 20 * r.normal(size=n)) / 5), 0, 100),
    "days": lambda n, r: np.minimum(365, r.exponential(300, n)).round(),
    "sentinel": lambda n, r: np.where(r.random(n) < 0.05, -9.0, r.normal(45, 8, n).round(1)),
    "share": lambda n, r: r.beta(2, 3, n),
    "normal": lambda n, r: r.normal(6.4, 1.9, n).round(5),
    "prices": lambda n, r: r.choice(r.normal(20, 3, 60).round(4), n),
}
IMPOSSIBLE = {
    "cost": {"sign": -3.2},
    "score": {"grid": 52.0},
    "days": {"bound": 366.0, "sign": -1.0, "grid": 3.5},
    "sentinel": {"gap": -4.0},
    "share": {"sign": -0.01},
    "normal": {},
    "prices": {},
}


@pytest.mark.parametrize("name", SOURCES)
def test_impossible_numbers_are_seen_and_fresh_ones_are_not(name) -> None:
    source = SOURCES[name](2_000, rng(10))
    support = natural_support(source)
    fresh = SOURCES[name](20_000, rng(10)) if name == "prices" else SOURCES[name](20_000, rng(11))
    assert support.violations(source) == {}
    assert support.violations(np.append(fresh, np.nan)) == {}
    for trait, value in IMPOSSIBLE[name].items():
        assert trait in support.violations(np.array([value]))


def test_values_between_prices_are_no_gap() -> None:
    source = SOURCES["prices"](2_000, rng(12))
    assert natural_support(source).gaps == ()


def test_a_trait_that_some_row_of_the_source_breaks_is_dropped() -> None:
    support = Support(low=0.0, high=1.0, sign=1, step=0.5, gaps=((0.0, 0.2),))
    assert support.without(support.violations(np.array([0.1, -0.1, 1.2]))) == Support()
    assert support.without({}) == support


def test_declared_bounds_are_kept_whatever_the_rows_say() -> None:
    support = natural_support(rng(13).normal(size=500), (-3.0, 3.0))
    assert support.violations(np.array([-3.5, 0.0, 3.5])) == {"bound": 2}


def test_evidence_of_parts_adds_up() -> None:
    parts = [SupportEvidence(10, (("cost (sign)", 2),)), SupportEvidence(5, (("cost (sign)", 1), ("age (grid)", 4)))]
    assert sum(parts[1:], start=parts[0]) == SupportEvidence(15, (("age (grid)", 4), ("cost (sign)", 3)))
