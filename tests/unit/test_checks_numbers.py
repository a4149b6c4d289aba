"""Numbers that gates judge, against their definitions written out: quantile ratios, distances of laws, natural supports."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from tasks.checks.comparison import design_weights, law_evidence, numbers, outside, supports
from tasks.checks.laws import Gap, level_gap, ordered_gap, weighted_gap
from tasks.checks.null import coincidence_p, exceedance_p, quantile_ratio, side_z, training_side_p
from tasks.checks.support import Support, SupportEvidence, natural_support
from tasks.contract.roles import Column, TableSchema, pack_field


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng([77, seed])


# -- ratios and p-values -----------------------------------------------------------------------------------------------
def limits(values: np.ndarray, q: float, level: float) -> tuple[float, float, float]:
    """Quantile and exact one-sided limits: the order statistics that a binomial count of values below the quantile allows."""
    ordered, n = np.sort(values), len(values)
    below = stats.binom(n, q)
    low = max((rank for rank in range(1, n + 1) if below.cdf(rank - 1) <= 1 - level), default=0)
    high = min((rank for rank in range(1, n + 1) if below.cdf(rank - 1) >= level), default=n + 1)
    return ordered[math.ceil(n * q) - 1], ordered[low - 1] if low else 0.0, ordered[high - 1] if high <= n else math.inf


@pytest.mark.parametrize(("n", "m", "q"), [(200, 150, 0.05), (60, 300, 0.5), (40, 40, 0.05), (400, 30, 0.1), (30, 400, 0.95)])
def test_a_quantile_ratio_recovers_its_limits_from_those_of_both_quantiles(n: int, m: int, q: float) -> None:
    sample, reference = rng(1).exponential(size=n), 1.3 * rng(2).exponential(size=m)
    found = quantile_ratio(sample, reference, q, 0.95)
    (top, top_low, top_high), (base, base_low, base_high) = limits(sample, q, 0.95), limits(reference, q, 0.95)
    up = math.hypot(math.log(top_high / top), math.log(base / base_low)) if base_low > 0 and top_high < math.inf else math.inf
    down = math.hypot(math.log(top / top_low), math.log(base_high / base)) if top_low > 0 and base_high < math.inf else math.inf
    assert found == pytest.approx((top / base, top / base * math.exp(-down), top / base * math.exp(up)))


def test_quantiles_of_zero_say_little() -> None:
    some, none = rng(3).exponential(size=100), np.zeros(100)
    assert quantile_ratio(some, none, 0.5) == (1.0, 0.0, math.inf)
    top_high = limits(np.r_[none, some], 0.25, 0.99)[2]
    ratio = quantile_ratio(np.r_[none, some], some, 0.25, 0.99)
    assert ratio[:2] == (0.0, 0.0)
    assert ratio.high == pytest.approx(top_high / limits(some, 0.25, 0.99)[1])
    assert quantile_ratio(none, some[:5], 0.25).high == math.inf


def test_p_values_written_out() -> None:
    marked, training, holdout = np.array([True, True, False, True]), np.array([2, 1, 3, 0]), np.array([0, 1, 1, 2])
    assert training_side_p(marked, training, holdout) == pytest.approx(stats.hypergeom.sf(2, 10, 6, 6))
    assert side_z(marked, training, holdout) == pytest.approx((3 - 3.6) / math.sqrt(6 * 0.6 * 0.4 * 4 / 9))
    for all_or_none in (np.ones(4, dtype=bool), np.zeros(4, dtype=bool)):
        assert side_z(all_or_none, training, holdout) == 0.0
    one = side_z(np.array([True, False]), np.array([1, 1]), np.array([0, 1]))  # a variance below one is a variance
    assert one == pytest.approx((1 - 2 / 3) / math.sqrt(2 / 9))
    assert exceedance_p(3, 50, 2, 20) == pytest.approx(stats.betabinom.sf(2, 50, 2, 19))
    assert exceedance_p(1, 50, 2, 20) == pytest.approx(1 - stats.betabinom.pmf(0, 50, 2, 19))
    inner = 99 / 2
    assert coincidence_p(4, 1, 2, 100, 70, 30) == pytest.approx(stats.binom.sf(3, 7, 70 / (100 + inner)))
    assert coincidence_p(4, 0, 0, 100, 70, 30) == pytest.approx(stats.binom.sf(3, 4, 70 / (100 + inner)))
    for hits in range(1, 12):
        agree = stats.binom.sf(hits - 1, hits + 2, 30 / (30 + inner)) > 0.1
        assert (coincidence_p(4, hits, 2, 100, 70, 30) is not None) == agree


# -- laws --------------------------------------------------------------------------------------------------------------
def test_distances_of_laws_are_the_largest_gaps_of_distribution_functions() -> None:
    x, y, weight = rng(4).integers(0, 9, 40).astype(float), rng(5).integers(2, 12, 25).astype(float), rng(6).exponential(size=40)
    places = np.unique(np.r_[x, y])
    plain = max(abs(np.mean(x <= at) - np.mean(y <= at)) for at in places)
    assert ordered_gap(x, y, rng()).distance == pytest.approx(plain)
    weighted = max(abs(np.average(x <= at, weights=weight) - np.mean(y <= at)) for at in places)
    assert weighted_gap(x, weight, y, rng()).distance == pytest.approx(weighted)
    one, two = np.repeat([0, 1, 2, 3, 4], [30, 20, 4, 3, 0]), np.repeat([0, 1, 2, 3, 5], [10, 20, 0, 2, 4])
    shares = [np.array([30, 20, 3, 4]) / 57, np.array([10, 20, 2, 4]) / 36]  # levels of fewer than 5 rows are one
    assert level_gap(one, two, rng()).distance == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2)


@pytest.mark.parametrize("sizes", [(300, 200), (2_000, 900)])
def test_nulls_are_those_of_exchanged_rows(sizes: tuple[int, int]) -> None:
    x, y = rng(7).normal(size=sizes[0]), rng(8).normal(size=sizes[1])
    both, exchanged = np.r_[x, y], []
    for seed in range(400):
        order = rng(100 + seed).permutation(both)
        exchanged.append(stats.ks_2samp(order[: sizes[0]], order[sizes[0] :], method="asymp").statistic)
    expected = np.quantile(exchanged, [0.25, 0.5, 0.99])
    for found in (ordered_gap(x, y, rng(9)), weighted_gap(x, np.full(sizes[0], 3.0), y, rng(9))):
        np.testing.assert_allclose(found[1:], expected, rtol=0.12)
    levels = rng(10).choice(4, sizes[0] + sizes[1], p=[0.5, 0.3, 0.15, 0.05])
    totals = []
    for seed in range(400):
        order = rng(seed).permutation(levels)
        counts = [np.bincount(part, minlength=4) / len(part) for part in (order[: sizes[0]], order[sizes[0] :])]
        totals.append(np.abs(counts[0] - counts[1]).sum() / 2)
    found = level_gap(levels[: sizes[0]], levels[sizes[0] :], rng(11))
    np.testing.assert_allclose(found[1:], np.quantile(totals, [0.25, 0.5, 0.99]), rtol=0.2)


def test_excess_and_interval_are_beyond_points_of_the_null() -> None:
    assert Gap(0.5, 0.1, 0.2, 0.3).excess == pytest.approx(0.2)
    assert Gap(0.5, 0.1, 0.2, 0.3).interval == pytest.approx((0.2, 0.3, 0.4))
    assert Gap(0.15, 0.1, 0.2, 0.3).interval == pytest.approx((0.0, 0.0, 0.05))
    assert Gap(0.15, 0.1, 0.2, 0.3).excess == 0.0


def test_design_weights_written_out() -> None:
    a, g = np.array([1, 0, 1, 0], dtype=np.int8), np.array([0.02, 0.02, 0.7, 0.99])
    kept = np.array([0.1, 0.1, 0.7, 0.9])
    own = np.where(a == 1, kept, 1 - kept)
    np.testing.assert_allclose(design_weights(a, (1 - g, g), 0.1, "randomized", 2.0), 1 / own)
    tilted = (kept / (1 - kept)) ** 2 / (1 + (kept / (1 - kept)) ** 2)
    np.testing.assert_allclose(design_weights(a, (1 - g, g), 0.1, "tilted", 2.0), np.where(a == 1, tilted, 1 - tilted) / own)
    assert design_weights(a, (np.array([1.0, 0.0, 0.5, 0.5]), np.array([0.0, 1.0, 0.5, 0.5])), 0.0, "randomized", 1.0) == pytest.approx(
        [1e12, 1e12, 2, 2], rel=1e-3
    )
    for design in ("fitted", "joint"):
        assert design_weights(a, (1 - g, g), 0.1, design, 2.0).tolist() == [1.0] * 4


def column(name: str, key: str, role: str, kind: str, kind_of_cell: pa.DataType, levels=()) -> Column:
    return Column(id=key, name=name, role=role, kind=kind, levels=levels, field=pack_field(pa.field(name, kind_of_cell)))


SCHEMA = TableSchema(
    columns=(
        column("lab", "w0", "covariate", "continuous", pa.float64()),
        column("site", "w1", "covariate", "categorical", pa.string(), ("u", "v")),
        column("drug", "a", "treatment", "integer", pa.int64()),
        column("cost", "y", "outcome", "continuous", pa.float64()),
    ),
    treated="1",
    control="0",
    outcome_kind="continuous",
    rows=60,
)


def rows(a: np.ndarray, y: np.ndarray, lab: np.ndarray, site: list[str | None]) -> pa.Table:
    columns = {"w0": pa.array(lab, pa.float64(), from_pandas=True), "w1": pa.array(site, pa.string())}
    return pa.table(columns | {"a": pa.array(a.astype(np.int8)), "y": pa.array(y)})


def test_laws_are_compared_arm_by_arm_and_column_by_column() -> None:
    a, b = np.repeat([1, 0], [20, 40]), np.repeat([1, 0], [25, 20])
    y, z, lab, other = rng(12).normal(size=60), rng(13).normal(1, 1, 45), rng(14).normal(size=60), rng(15).normal(1, 2, 45)
    lab[:6], other[:9] = np.nan, np.nan
    here, there = ["u"] * 30 + ["v"] * 27 + [None] * 3, ["u"] * 10 + ["v"] * 35
    weight = rng(16).exponential(size=60)
    source, release = rows(a, y, lab, here), rows(b, z, other, there)
    found = law_evidence(SCHEMA, source, weight, release, rng())
    assert [name for name, _ in found.outcome] == ["treated", "control"]
    for (_, gap), label in zip(found.outcome, (1, 0)):
        assert gap.distance == pytest.approx(weighted_gap(y[a == label], weight[a == label], z[b == label], rng()).distance)
    margins = dict(found.margins)
    assert margins["lab"].distance == pytest.approx(ordered_gap(lab[6:], other[9:], rng()).distance)
    assert margins["site"].distance == pytest.approx(abs(30 / 57 - 10 / 45))
    # patterns: both there, lab gone, site gone
    assert found.missing is not None
    shares = np.array([51, 6, 3]) / 60 - np.array([36, 9, 0]) / 45  # site gone in 3 rows: fewer than 5, the one rare cell
    assert found.missing.distance == pytest.approx(np.abs(shares).sum() / 2)
    assert found.arms == 2
    fewer = release.slice(6)
    assert [name for name, _ in law_evidence(SCHEMA, source, weight, fewer, rng()).outcome] == ["control"]
    assert [name for name, _ in law_evidence(SCHEMA, source.slice(1), weight[1:], release, rng()).outcome] == ["control"]
    assert [name for name, _ in law_evidence(SCHEMA, source, weight * (a == 1), release, rng()).outcome] == ["treated"]
    whole = rows(a, y, np.nan_to_num(lab), ["u"] * 60)
    assert law_evidence(SCHEMA, whole, weight, whole, rng()).missing is None
    empty = rows(b, z, np.full(45, np.nan), there)
    assert [name for name, _ in law_evidence(SCHEMA, source, weight, empty, rng()).margins] == ["site"]


# -- supports ----------------------------------------------------------------------------------------------------------
NORMAL = rng(20).normal(6, 1, 400)


@pytest.mark.parametrize(
    ("values", "step", "origin"),
    [
        (np.arange(40) % 7 + 3.0, 1.0, 0.0),
        (5.0 * (np.arange(40) % 7) + 2.0, 5.0, 2.0),
        (0.5 * (np.arange(40) % 7), 0.5, 0.0),
        (0.25 * (np.arange(40) % 7) + 0.05, 0.25, 0.05),
        (0.000005 * (np.arange(40) % 7), 0.000005, 0.0),
        (0.0000005 * (np.arange(40) % 7), None, 0.0),
        (0.1 * (np.arange(40) % 7), None, 0.0),  # a last digit is no grid
        (np.arange(40) % 2 * 4.0, None, 0.0),  # two values
        (2.0 * np.r_[np.arange(30), 1_000], 2.0, 0.0),
        (2.0 * np.r_[np.arange(30), 1_001], 1.0, 0.0),  # more points than a grid has
        (0.5 * np.r_[np.arange(30), 1_001], None, 0.0),
        (NORMAL, None, 0.0),
    ],
)
def test_grids(values: np.ndarray, step: float | None, origin: float) -> None:
    found = natural_support(values)
    assert (found.step, found.origin) == (pytest.approx(step), pytest.approx(origin)) if step else (None, 0.0)
    assert natural_support(values, grid=False).step is None
    if step:
        spoilt = found.origin + found.step * np.array([0, 1, -3, 1e5, 0.5, 1.001])
        assert found.violations(spoilt).get("grid") == 2


def test_a_grid_needs_values_off_the_most_common_one_and_any_trait_needs_twenty_rows() -> None:
    assert natural_support(np.r_[np.zeros(30), np.arange(1, 11)]).step == 1.0
    assert natural_support(np.r_[np.zeros(30), np.arange(1, 10)]).step is None
    assert natural_support(np.r_[np.arange(20), np.nan]).step == 1.0
    assert natural_support(np.r_[np.arange(19), np.nan]) == Support()
    assert natural_support(np.arange(19.0), (0.0, 50.0)) == Support(0.0, 50.0, declared=True)


@pytest.mark.parametrize("sign", [1, -1])
def test_signs_are_natural_where_a_normal_law_would_cross_zero(sign: int) -> None:
    for mean in (1.0, 1.5, 2.0, 2.5):
        values = mean + rng(21).uniform(-1, 1, 200) * min(1.0, mean) + 0.5 * rng(22).exponential(size=200)
        expected = 200 * stats.norm.cdf(0, values.mean(), values.std())
        assert natural_support(sign * values).sign == (sign if expected >= 5 else 0)
    near = 0.9 + np.abs(rng(23).normal(size=200))
    tail = 200 * stats.norm.cdf(0, near.mean(), near.std())
    assert natural_support(sign * near).sign == (sign if tail >= 5 else 0)
    far = np.r_[np.zeros(5), 50 + rng(24).normal(size=400)]
    assert natural_support(sign * far).sign == sign
    assert natural_support(sign * far[1:]).sign == 0
    assert natural_support(sign * np.r_[far, -1.0]).sign == 0
    assert natural_support(np.zeros(30)).sign == 0


def test_one_in_twenty_crossings_decides_a_sign() -> None:
    """Values whose normal law puts 2.5, 4.9, 5.1 and 9 of 100 rows beyond zero."""
    base = stats.expon.ppf((np.arange(100) + 0.5) / 100)
    base = (base - base.mean()) / base.std()  # none below -1.1
    for beyond, sign in ((2.5, 0), (4.9, 0), (5.1, 1), (9.0, 1)):
        assert natural_support(base - stats.norm.ppf(beyond / 100)).sign == sign


def test_bounds_are_values_that_many_rows_share() -> None:
    inner = np.linspace(1, 9, 100)
    found = natural_support(np.r_[np.zeros(5), inner, np.full(5, 10.0)], grid=False)
    assert (found.low, found.high) == (0.0, 10.0)
    few = natural_support(np.r_[np.zeros(4), inner, np.full(4, 10.0)], grid=False)
    assert (few.low, few.high) == (None, None)
    large = natural_support(np.r_[np.zeros(9), np.linspace(1, 9, 1_000), np.full(11, 10.0)], grid=False)
    assert (large.low, large.high) == (None, 10.0)
    neighbour = natural_support(np.r_[np.zeros(6), np.full(3, 0.5), inner, np.full(3, 9.5), np.full(7, 10.0)], grid=False)
    assert (neighbour.low, neighbour.high) == (None, 10.0)
    assert natural_support(np.resize([0.0, 1.0], 40)).low is None
    declared = natural_support(inner, (0.0, 20.0))
    assert (declared.low, declared.high) == (0.0, 20.0)


def test_violations_are_counted_by_trait() -> None:
    support = Support(low=0.0, high=10.0, sign=1, step=0.5, origin=0.0, gaps=((0.0, 2.0), (6.0, 7.0)))
    values = np.array([np.nan, 0.0, 10.0, -1e-10, 10.0 + 1e-9, -1.0, 11.0, 12.0, 1.0, 2.0, 6.0, 6.5, 7.0, 3.3])
    assert support.violations(values) == {"bound": 3, "sign": 2, "grid": 1, "gap": 2}
    assert Support(sign=-1).violations(np.array([0.0, 1.0, -1.0])) == {"sign": 1}
    assert Support().violations(values) == {}
    for trait, field in (("bound", "low"), ("sign", "sign"), ("grid", "step"), ("gap", "gaps")):
        kept = support.without({trait: 1})
        assert getattr(kept, field) in (None, 0, ())
        assert trait not in kept.violations(values)
        assert set(kept.violations(values)) == {"bound", "sign", "grid", "gap"} - {trait}
    assert support.without({}) == support


def test_gaps_beside_an_atom() -> None:
    beyond = 10 + np.linspace(0, 5, 60)
    above, below = natural_support(np.r_[np.zeros(20), beyond], grid=False), natural_support(-np.r_[np.zeros(20), beyond], grid=False)
    assert above.gaps == ((0.0, pytest.approx(10 / 3)),)
    assert below.gaps == ((pytest.approx(-10 / 3), 0.0),)
    assert natural_support(np.r_[np.zeros(4), beyond], grid=False).gaps == ()  # no atom
    assert natural_support(np.r_[np.zeros(20), beyond[:19]], grid=False).gaps == ()  # few rows beyond
    assert natural_support(np.r_[np.zeros(20), beyond[:20]], grid=False).gaps != ()
    nearest = beyond[9] - beyond[0]  # the tenth of 60 rows
    for width, natural in ((1.55 * nearest, True), (1.45 * nearest, False)):
        assert bool(natural_support(np.r_[np.full(20, 10 - width), beyond], grid=False).gaps) == natural
    many = np.r_[np.repeat(beyond, 10)]
    assert natural_support(np.r_[np.zeros(21), many], grid=False).gaps != ()  # more than twice as many rows as the usual value
    assert natural_support(np.r_[np.zeros(20), many], grid=False).gaps == ()
    steps = np.r_[beyond[:29], beyond[29:] + 3]  # one gap of 3 in the nearer half
    for width, natural in ((6.3, True), (6.1, False)):
        assert bool(natural_support(np.r_[np.full(20, 10 - width), steps], grid=False).gaps) == natural


def test_supports_of_a_table_and_cells_outside_them() -> None:
    lab, y = np.r_[np.nan, np.arange(59.0)], np.arange(60.0)
    source = rows(np.resize([0, 1], 60), y, lab, ["u"] * 60)
    found = supports(SCHEMA, source, {SCHEMA.outcome.name: (0.0, 59.0)})
    assert set(found) == {"w0", "y"}
    assert (found["y"].low, found["y"].high, found["w0"].low) == (0.0, 59.0, None)
    assert found["w0"].step == found["y"].step == 1.0
    release = rows(np.array([0, 1, 1]), np.array([1.0, 60.0, 2.5]), np.array([np.nan, 0.5, -3.0]), ["u"] * 3)
    evidence = outside(SCHEMA, found, release)
    signs = (("lab (sign)", 1),) if found["w0"].sign else ()
    assert evidence == SupportEvidence(3, tuple(sorted((("cost (bound)", 1), ("cost (grid)", 1), ("lab (grid)", 1), *signs))))
    more = evidence + SupportEvidence(2, (("cost (bound)", 4), ("a", 1)))
    assert more.rows == 5
    assert dict(more.outside) == dict(evidence.outside) | {"cost (bound)": 5, "a": 1}
    np.testing.assert_array_equal(numbers(source, "w0"), lab)
    binary = SCHEMA.model_copy(update={"outcome_kind": "binary"})
    assert set(supports(binary, source, {})) == {"w0"}
