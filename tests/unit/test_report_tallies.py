"""What the report counts: the same for every cut of the table, right against plain formulas, and silent about single rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tasks.contract.columns import canonical_type
from tasks.contract.disclosure import SMALLEST_CELL
from tasks.contract.roles import TableSchema
from tasks.report.arms import LEVELS, outcome_by_arm
from tasks.report.associations import associations, pair_scatter
from tasks.report.balance_plot import balance_plot, balance_rows
from tasks.report.features import blocks_of
from tasks.report.missing import missing_patterns, missing_plot
from tasks.report.tallies import Tallies, Tally, drawn
from tests.reporting import EXTREME, column, schema, table, tally

LIKE = schema()


def frame_of(rows: pa.Table) -> pd.DataFrame:
    """Return rows by the columns' names."""
    return rows.to_pandas().rename(columns={each.id: each.name for each in LIKE.columns})


def test_every_cut_of_the_table_gives_the_same_tally() -> None:
    rows, reduction = table(LIKE, 700, 3), Tallies(LIKE)
    whole = reduction.visit(reduction.start(), rows)
    parts = [rows.slice(0, 1), rows.slice(1, 400), rows.slice(401)]
    merged = reduction.start()
    for part in parts:
        merged = reduction.merge(merged, reduction.visit(reduction.start(), part))
    merged = reduction.advance(merged)
    assert merged.weighted is None
    for name in Tally._fields[1:-1]:
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-12, atol=1e-9)
    assert all((merged.marginals[key] == whole.marginals[key]).all() for key in whole.marginals)


def test_differences_of_the_arms_are_those_of_the_textbook() -> None:
    rows = table(LIKE, 900, 4)
    frame, found = frame_of(rows), {row["name"]: row for row in balance_rows(LIKE, tally(LIKE, rows).arms, tally(LIKE, rows).arms)}
    arms = [frame["age"][frame["arm <b>"] == arm] for arm in (0, 1)]
    expected = (arms[1].mean() - arms[0].mean()) / np.sqrt((arms[0].var(ddof=0) + arms[1].var(ddof=0)) / 2)
    assert found["age"]["source"] == pytest.approx(expected)
    shares = [float((frame["smokes"][frame["arm <b>"] == arm] == "true").mean()) for arm in (0, 1)]
    spread = np.sqrt(sum(share * (1 - share) for share in shares) / 2)
    assert found["smokes = true"]["release"] == pytest.approx((shares[1] - shares[0]) / spread)
    assert "smokes = false" not in found  # of two levels one says all


def test_a_level_of_one_to_four_rows_of_an_arm_is_left_out() -> None:
    rows = table(LIKE, 900, 4)
    frame = frame_of(rows)
    counts = frame.groupby("arm <b>")["country"].value_counts().unstack(fill_value=0)
    rare = [level for level in counts.columns if ((counts[level] > 0) & (counts[level] < SMALLEST_CELL)).any()]
    common = [level for level in counts.columns if (counts[level] >= SMALLEST_CELL).all()]
    assert rare
    assert common
    names = {row["name"] for row in balance_rows(LIKE, tally(LIKE, rows).arms, tally(LIKE, rows).arms)}
    assert not names & {f"country = {level}" for level in rare}
    assert f"country = {common[0]}" in names


def linked() -> TableSchema:
    """Two numbers and two categories."""
    columns = (
        column("u", "continuous", 0, low=-3.0, high=3.0),
        column("v", "continuous", 1, low=-3.0, high=3.0, missing=5),
        column("k", "categorical", 2, levels=("a", "b", "c")),
        column("l", "categorical", 3, levels=("x", "y", "z")),
    )
    return TableSchema(columns=(*columns, *LIKE.columns[-2:]), treated="<u>drug</u>", control="none", outcome_kind="continuous", rows=2000)


def linked_rows(seed: int, strength: float, rows: int = 2000) -> pa.Table:
    """Draw rows whose columns hang together."""
    rng, like = np.random.default_rng(seed), linked()
    u = rng.normal(size=rows)
    v = strength * u + np.sqrt(1 - strength**2) * rng.normal(size=rows)
    k = np.digitize(strength * u + np.sqrt(1 - strength**2) * rng.normal(size=rows), [-0.5, 0.5])
    other = np.where(rng.random(rows) < strength, k, rng.integers(0, 3, rows))
    cells = {"w2": np.array(["a", "b", "c"])[k], "w3": np.array(["x", "y", "z"])[other]}
    arrays = [
        pa.array(u), pa.array(v, mask=np.arange(rows) < 5),
        *(pa.array(cells[name]).dictionary_encode().cast(canonical_type(like.columns[at])) for at, name in ((2, "w2"), (3, "w3"))),
        pa.array(rng.integers(0, 2, rows), pa.int8()), pa.array(rng.normal(size=rows)),
    ]  # fmt: skip
    return pa.table(arrays, names=["w0", "w1", "w2", "w3", "a", "y"])


def test_associations_are_those_of_plain_formulas_and_the_largest_difference_comes_first() -> None:
    like, source, release = linked(), linked_rows(1, 0.8), linked_rows(2, 0.3)
    rows = associations(like, tally(like, source).products, tally(like, release).products)
    found = {(row["left"], row["right"]): row for row in rows}
    frame = source.to_pandas()
    assert found["u", "v"]["source"] == pytest.approx(frame[["w0", "w1"]].corr().iloc[0, 1], abs=0.0051)
    means = frame.groupby("w2", observed=True)["w0"].transform("mean")
    assert found["u", "k"]["source"] == pytest.approx(np.sqrt(means.var() / frame["w0"].var()), abs=0.01)
    counts = pd.crosstab(frame["w2"], frame["w3"]).to_numpy()
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / counts.sum()
    cramer = np.sqrt(((counts - expected) ** 2 / expected).sum() / counts.sum() / 2)
    assert found["k", "l"]["source"] == pytest.approx(cramer, abs=0.01)
    assert {row["measure"] for row in rows} == {"correlation", "correlation ratio", "Cramér's V"}
    gaps = [abs(row["source"] - row["release"]) for row in rows]
    assert gaps == sorted(gaps, reverse=True)
    assert "treatment" not in {name for pair in found for name in pair}
    assert str(pair_scatter(rows)).count("<circle") == len(rows)


def test_independent_columns_have_no_association_and_few_rows_none_at_all() -> None:
    like = linked()
    rows = associations(like, tally(like, linked_rows(3, 0.0)).products, tally(like, linked_rows(4, 0.0)).products)
    assert max(abs(row["source"]) for row in rows) < 0.08
    assert sum(abs(row["source"] - row["release"]) > row["chance"] for row in rows) <= 2
    few = tally(like, linked_rows(5, 0.5, rows=40)).products
    assert associations(like, few, few) == []


def test_quantiles_by_arm_are_close_and_no_single_row_shows() -> None:
    rows = table(LIKE, 3000, 6)
    mine = tally(LIKE, rows)
    control, treated = outcome_by_arm(LIKE, (mine.outcome, mine.fine), (mine.outcome, mine.fine))
    frame = frame_of(rows)
    for arm, row in enumerate((control, treated)):
        exact = np.quantile(frame["score & more"][frame["arm <b>"] == arm], LEVELS)
        shown = [float(each["source"].replace("−", "-")) for each in row["quantiles"]]
        np.testing.assert_allclose(shown, exact, atol=0.12)
        assert row["distance"] == 0.0
    assert control["arm"].endswith("(control)")


def test_a_small_arm_has_no_quantiles_and_whole_numbers_stay_whole() -> None:
    like = schema("count")
    mine = tally(like, table(like, 2000, 7))
    row = outcome_by_arm(like, (mine.outcome, mine.fine), (mine.outcome, mine.fine))[0]
    assert [each["source"] for each in row["quantiles"]] == ["0", "0", "1", "2", "3"]
    few = tally(like, table(like, 60, 7))
    shown = outcome_by_arm(like, (few.outcome, few.fine), (mine.outcome, mine.fine))[1]["quantiles"]
    assert {each["source"] for each in shown} == {"–"}
    binary = schema("binary")
    counted = tally(binary, table(binary, 500, 8))
    assert outcome_by_arm(binary, (counted.outcome, counted.fine), (counted.outcome, counted.fine))[0]["quantiles"] == []


def test_rare_patterns_of_missing_values_are_counted_with_the_others() -> None:
    like = schema()
    many, rare = np.zeros(8, dtype=np.int64), np.zeros(8, dtype=np.int64)
    many[[0, 1, 2, 3]], rare[[0, 1, 2, 3]] = (900, 60, 30, 3), (950, 40, 12, 7)
    found = missing_patterns(like, many, rare)
    assert found is not None
    assert found["columns"][0].startswith("<script>")
    assert [row["missing"] for row in found["patterns"][:2]] == [[False, False, False], [True, False, False]]
    last = found["patterns"][-1]
    assert last["missing"] is None
    assert last["number"] == 2  # a pattern of three rows takes one of thirty with it
    assert last["source"] == pytest.approx(33 / 993)
    assert "2 other patterns" in str(missing_plot(found))
    nothing = like.model_copy(update={"columns": tuple(each.model_copy(update={"missing": 0}) for each in like.columns)})
    assert missing_patterns(nothing, many, rare) is None


def test_no_drawing_tells_an_extreme_or_a_count_of_one_to_four() -> None:
    like = schema()
    made = drawn(like, tally(like, table(like, 1000, 5)), tally(like, table(like, 2000, 6)))
    assert "98.765" not in str(made)
    assert pytest.approx(98.7654321) == EXTREME
    arms = np.bincount(table(like, 1000, 5).column("a").to_numpy())
    for rows, row in (*((1000, each) for each in made["marginals"]), *zip(arms, made["arms"])):
        assert all(share == 0.0 or share * rows >= SMALLEST_CELL - 1e-6 for share in row["source"])
    assert str(balance_plot(made["balance"])).count("<path") <= 25
    assert next(block.column.id for block in blocks_of(like)) == "y"


def test_a_weighted_source_is_drawn_by_weight_and_hidden_by_rows() -> None:
    """Shares, differences of arms and patterns are those of the weighted population; what is shown does not change with weights."""
    rows, rng = table(LIKE, 900, 4), np.random.default_rng(0)
    weights = np.exp(rng.normal(size=900))
    weighted, reduction = rows.append_column("v", pa.array(weights)), Tallies(LIKE)
    whole = reduction.visit(reduction.start(), weighted)
    halves = reduction.merge(*(reduction.visit(reduction.start(), weighted.slice(at, 450)) for at in (0, 450)))
    release = tally(LIKE, table(LIKE, 900, 5))
    shown, again, plain = (drawn(LIKE, each, release) for each in (whole, halves, tally(LIKE, rows)))
    frame = frame_of(rows)
    smokes = next(row for row in shown["marginals"] if row["name"] == "smokes")
    share = np.average((frame["smokes"] == "true"), weights=weights * frame["smokes"].notna())
    if "missing" in smokes["labels"]:
        share *= np.sum(weights * frame["smokes"].notna()) / weights.sum()
    assert smokes["source"][smokes["labels"].index("true")] == pytest.approx(share)
    ages = []
    for arm in (0, 1):
        here = ((frame["arm <b>"] == arm) & frame["age"].notna()).to_numpy()
        mean = np.average(frame["age"][here], weights=weights[here])
        ages.append((mean, np.average((frame["age"][here] - mean) ** 2, weights=weights[here])))
    smd = (ages[1][0] - ages[0][0]) / np.sqrt((ages[0][1] + ages[1][1]) / 2)
    assert next(row for row in shown["balance"] if row["name"] == "age")["source"] == pytest.approx(smd)
    for mine, its, bare in zip(shown["marginals"], again["marginals"], plain["marginals"], strict=True):
        assert (mine["labels"], mine["widths"], mine["release"]) == (bare["labels"], bare["widths"], bare["release"])
        np.testing.assert_allclose(mine["source"], its["source"])
        assert sum(mine["source"]) == pytest.approx(1.0)
    for mine, bare in zip(shown["arms"], plain["arms"], strict=True):
        assert (mine["labels"], mine["widths"]) == (bare["labels"], bare["widths"])
        assert mine["source"] != bare["source"]
    assert {row["name"] for row in shown["balance"]} == {row["name"] for row in plain["balance"]}
    assert {(row["left"], row["right"]) for row in shown["associations"]} == {(row["left"], row["right"]) for row in plain["associations"]}
    assert shown["missing"]["patterns"] != plain["missing"]["patterns"]
    assert sum(row["source"] for row in shown["missing"]["patterns"]) == pytest.approx(1.0)
