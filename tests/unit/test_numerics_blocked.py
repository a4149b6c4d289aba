"""A table in blocks gives what the table in memory gives, for every way of cutting it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.contract.columns import clusters_of, nuisances_of, survey_weights
from tasks.contract.nuisance import Nuisances
from tasks.contract.results import Estimate
from tasks.estimation.arms import overlap_of_arms
from tasks.estimation.evaluate import evaluate
from tasks.estimation.overlap import overlap, target_overlap, weighted_shares
from tasks.numerics.blocked import Blocked, BlockedTable, blocks_of, kept, order_statistics, sums, sums_by
from tasks.targeting.estimators import ALL
from tasks.targeting.fluctuation import fluctuate
from tasks.targeting.truncation import choose_truncation
from tasks.targeting.unobserved import observed_of

CLOSE = 1e-10


def cut(values: Any, edges: tuple[int, ...]) -> Any:
    """Cut an array at some rows; what is none stays none."""
    if values is None:
        return None
    pieces = np.split(values, edges)
    columns = None if values.ndim == 1 else values.shape[1]
    return Blocked(lambda number, _: pieces[number], len(pieces), tuple(map(len, pieces)), columns)


def rows(seed: int, n: int, arms: int = 2, poor: bool = False) -> dict[str, Any]:
    """Draw rows with nuisances, weights, clusters and a subgroup."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    raw = np.exp(np.column_stack([arm * (2.5 if poor else 0.6) * x for arm in range(arms)]))
    p = raw / raw.sum(axis=1, keepdims=True)
    a = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=arms - 1).astype(np.int8)
    a[: 3 * arms] = np.tile(np.arange(arms), 3)
    q = np.column_stack([1.0 / (1.0 + np.exp(-(0.3 * arm + 0.5 * x))) for arm in range(arms)])
    y = (rng.random(n) < q[np.arange(n), a]).astype(np.float64)
    off = np.clip(q + 0.05 * rng.normal(size=q.shape), 0.02, 0.98)
    nuisances = Nuisances(*p.T[1:].copy(), *off.T.copy())
    group = np.array(["old", "young", None], dtype=object)[rng.integers(0, 3, n)]
    return {
        "a": a,
        "y": y,
        "nuisances": nuisances,
        "weights": rng.exponential(size=n),
        "clusters": rng.integers(0, n // 3, n).astype(np.uint64),
        "group": group,
    }


def blocked(world: dict[str, Any], edges: tuple[int, ...]) -> dict[str, Any]:
    """Cut all of it."""
    return {
        name: Nuisances(*(cut(one, edges) for one in each)) if name == "nuisances" else cut(each, edges) for name, each in world.items()
    }


def edges_of(n: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(0, n), max_size=4).map(lambda each: tuple(sorted(each)))


def same(found: Any, expected: Any) -> None:
    """Compare numbers in records of any depth."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(expected, float | np.ndarray):
        np.testing.assert_allclose(found, expected, rtol=CLOSE, atol=CLOSE)
    else:
        assert found == expected


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), edges_of(400), st.booleans(), st.booleans(), st.sampled_from((2, 3)), st.booleans())
def test_estimates_do_not_depend_on_the_cut(
    seed: int, edges: tuple[int, ...], weighted: bool, clustered: bool, arms: int, poor: bool
) -> None:
    def estimates(world: dict[str, Any]) -> list[Estimate]:
        beside = (world["weights"] if weighted else None, world["clusters"] if clustered else None)
        return evaluate(world["a"], world["y"], world["nuisances"], "binary", ALL, "auto", {"age": world["group"]}, *beside)

    world = rows(seed, 400, arms, poor)
    whole, found = estimates(world), estimates(blocked(world, edges))
    # joint intervals stand on the square root of a matrix of rank K - 1, which doubles the digits that rounding takes
    same(
        [each._replace(joint_low=None, joint_high=None) for each in found],
        [each._replace(joint_low=None, joint_high=None) for each in whole],
    )
    if arms > 2:
        np.testing.assert_allclose([each.joint_low or 0.0 for each in found], [each.joint_low or 0.0 for each in whole], rtol=0, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), edges_of(300), st.booleans())
def test_overlap_does_not_depend_on_the_cut(seed: int, edges: tuple[int, ...], weighted: bool) -> None:
    for arms in (2, 3):
        world = rows(seed, 300, arms)
        both = (blocked(world, edges), world)
        records = []
        for each in both:
            weights = each["weights"] if weighted else None
            found: list[Any] = [target_overlap(each["a"], each["nuisances"], 0.02, kind, weights) for kind in ("att", "ato")]
            if arms == 2:
                found += [
                    overlap(each["a"], each["nuisances"].g, 0.02, weights),
                    weighted_shares(each["a"], each["nuisances"].g, each["weights"], (0, 1)),
                ]
            else:
                found.append(overlap_of_arms(each["a"], each["nuisances"], 0.02, ["0", "1", "2"], weights))
            records.append(found)
        same(*records)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), edges_of(300), st.booleans())
def test_targeting_does_not_depend_on_the_cut(seed: int, edges: tuple[int, ...], poor: bool) -> None:
    world = rows(seed, 300, 2, poor)
    directions = np.column_stack(((world["group"] == "old").astype(float), world["nuisances"].g))
    results = []
    for each, along in ((blocked(world, edges), cut(directions, edges)), (world, directions)):
        given_rows = (each["a"], each["y"], each["nuisances"], "binary", 0.01)
        chosen, step = choose_truncation(*given_rows, each["weights"])
        several = fluctuate(*given_rows, each["weights"], along)
        stars = several.apply(each["nuisances"], along)
        results.append([chosen, step, [np.concatenate(list(blocks_of(star))) for star in stars]])
    same(results[0][:2], results[1][:2])
    # two directions that are nearly one another's: the score is solved to ten digits, which leaves Q* fewer
    np.testing.assert_allclose(*(each[2] for each in results), rtol=0, atol=1e-7)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), edges_of(200), st.booleans())
def test_missing_outcomes_do_not_depend_on_the_cut(seed: int, edges: tuple[int, ...], weighted: bool) -> None:
    world = rows(seed, 200)
    y = np.where(np.random.default_rng(seed).random(200) < 0.2, np.nan, world["y"])
    chance = (world["nuisances"].q0, world["nuisances"].q1)
    weights = world["weights"] if weighted else None
    expected = observed_of(world["a"], y, world["nuisances"], chance, weights)
    given_rows = (cut(world["a"], edges), cut(y, edges), blocked(world, edges)["nuisances"], (cut(chance[0], edges), cut(chance[1], edges)))
    found = observed_of(*given_rows, cut(weights, edges))
    same(found.level, expected.level)
    for one, other in zip((found.a, found.y, *found.nuisances), (expected.a, expected.y, *expected.nuisances), strict=True):
        same(np.concatenate(list(blocks_of(one))), other)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=60), st.data())
def test_quantiles_are_exact(values: list[float], data: st.DataObject) -> None:
    whole, edges = np.array(values), data.draw(edges_of(len(values)))
    ranks = np.array(data.draw(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=5)))
    np.testing.assert_array_equal(order_statistics(cut(whole, edges), ranks), np.sort(whole)[ranks])
    levels = np.array(data.draw(st.lists(st.floats(0, 1), min_size=1, max_size=3)))
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_allclose(np.quantile(cut(whole, edges), levels), np.quantile(whole, levels), rtol=1e-9, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), edges_of(80))
def test_groups_are_added_up_in_any_cut(seed: int, edges: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    groups, values = rng.integers(0, 30, 80).astype(np.uint64), rng.normal(size=80)
    expected = np.bincount(np.unique(groups, return_inverse=True)[1], weights=values)
    np.testing.assert_allclose(sums_by(cut(groups, edges), cut(values, edges)), expected, rtol=0, atol=1e-12)


REDUCTIONS: dict[str, Callable[[Any], Any]] = {
    "mean": np.mean,
    "std": lambda x: np.std(x, ddof=1),
    "min": np.min,
    "max": np.max,
    "ptp": np.ptp,
    "any": lambda x: np.any(x > 1),
    "all": lambda x: np.all(np.isfinite(x)),
    "dot": lambda x: x @ (x + 1.0),
    "average": lambda x: np.average(x, weights=x**2),
    "plain average": np.average,
    "histogram": lambda x: np.histogram(x, bins=5, range=(-2.0, 2.0), weights=x**2)[0],
    "first": lambda x: x[:7],
    "masked": lambda x: (x[x > 0] * 2).sum(),
    "product": lambda x: np.column_stack((x, x**2, np.ones_like(x))).T @ (np.column_stack((x, x)) * x[:, None]),
    "columns": lambda x: np.sum(np.column_stack((x, x**2)) @ np.array([1.0, 2.0])),
    "isin": lambda x: np.count_nonzero(np.isin(x > 0, [True])),
    "length": len,
    "shape": lambda x: np.column_stack((x, x)).shape,
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_functions_of_numpy(name: str) -> None:
    values = np.random.default_rng(0).normal(size=50)
    for edges in ((), (0, 20, 20, 49), (1, 2, 3)):
        same(REDUCTIONS[name](cut(values, edges)), REDUCTIONS[name](values))


def test_what_needs_all_rows_is_refused() -> None:
    values = cut(np.arange(5.0), (2,))
    for wrong in (np.asarray, np.sort, np.cumsum, lambda x: x[2:], lambda x: x[np.array([1])]):
        with pytest.raises(TypeError):
            wrong(values)


def test_a_block_is_read_once_a_pass_and_kept_vectors_are_not_computed_again() -> None:
    reads: list[int] = []

    def read(number: int, _: object) -> np.ndarray:
        reads.append(number)
        return np.full(3, float(number))

    values = Blocked(read, 4, (3, 3, 3, 3))
    assert sums(values * values + values, values) == [60.0, 18.0]
    assert reads == [0, 1, 2, 3]
    (square,) = kept(values**2)
    reads.clear()
    assert math.isclose(float(np.sum(square)), 42.0)
    assert len(square) == 12
    assert reads == []


def test_a_table_in_partitions_reads_as_one_in_memory() -> None:
    world = rows(3, 90)
    columns = {
        "key": np.arange(90, dtype=np.uint64),
        "a": world["a"],
        "y": world["y"],
        **world["nuisances"]._asdict(),
        "v": world["weights"],
        "c": world["clusters"],
    }
    whole, asked = pa.table(columns), []

    def read(number: int, names: list[str]) -> pa.Table:
        asked.append(names)
        return whole.select(names).slice(30 * number, 30)

    table = BlockedTable(read, (30, 30, 30), whole.column_names)
    for of in (clusters_of, survey_weights, lambda each: nuisances_of(each).q1):
        same(np.concatenate(list(blocks_of(of(table)))), of(whole))
    assert {name for names in asked for name in names} == {"c", "v", "g", "q0", "q1"}
    assert table.num_rows == 90
