"""Relations that hold in all training rows and would not by chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.contract.roles import Column
from tasks.covariates.margins import Float64
from tasks.covariates.traits.bound import Linear, Ordered, Within
from tasks.covariates.traits.plan import Plan
from tasks.numerics.calendar import DAY

_FEWEST = 100
_HEAD = 300
_SAMPLE = 2_000
_TOLERANCE = 1e-9
_MOST_TERMS = 8
_MOST_LOWS = 3
_MOST_VALUES = 500
_EXPECTED_ROWS, _EXPECTED_SHARE = 30.0, 0.01
_CHANCE = np.log(1e-9)


def find_linear(cells: dict[str, Float64], columns: Sequence[Column], plan: Plan) -> list[Linear]:
    """Find copies, columns that are a fixed factor and offset apart, and sums.

    They are the sparse vectors of the null space of the numeric columns, centred; datetimes count in days. Columns are looked
    at together that are known in the same rows.

    Parameters
    ----------
    cells : dict of str to ndarray of float64, shape (n,)
    columns : sequence of Column
        Covariates.
    plan : Plan
        Its targets are left alone; what is found is added.

    Returns
    -------
    list of Linear
        Those added.
    """
    numeric = [column for column in columns if not column.is_category]
    present = {column.id: ~np.isnan(cells[column.id]) for column in numeric}
    masks = {mask.tobytes(): mask for mask in present.values()}
    added = []
    for mask in sorted(masks.values(), key=lambda one: -int(one.sum())):
        together = [column for column in numeric if column.id not in plan.by_target and bool(present[column.id][mask].all())]
        rows = np.flatnonzero(mask)
        if len(together) < 2 or len(rows) < max(_FEWEST, 5 * len(together)):
            continue
        scale = np.array([DAY if column.kind == "datetime" else 1.0 for column in together])
        picked = rows[np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(np.intp)]
        matrix = np.column_stack([cells[column.id][picked] for column in together]) / scale
        for vector, offset in _null_vectors(matrix):
            bound = _solved([column.id for column in together], vector, offset, scale)
            # an offset that makes no difference is what rounding left behind
            candidates = [] if bound is None else [bound._replace(offset=0.0), bound]
            held = next((each for each in candidates if each.broken(cells) == 0), None)
            if held is not None and plan.add(held):
                added.append(held)
    return added


def _null_vectors(matrix: Float64) -> list[tuple[Float64, float]]:
    """Return sparse vectors v and numbers c with ``matrix @ v == c`` in all rows; later columns are solved for first."""
    centre, spread = matrix.mean(axis=0), matrix.std(axis=0)
    if not spread.all():
        return []
    _, values, vectors = np.linalg.svd((matrix - centre) / spread, full_matrices=False)
    small = values < _TOLERANCE * np.sqrt(len(matrix)) * len(spread)
    basis, pivots = vectors[small].copy(), 0
    for column in range(basis.shape[1] - 1, -1, -1):
        if pivots == len(basis):
            break
        row = pivots + int(np.argmax(np.abs(basis[pivots:, column])))
        if abs(basis[row, column]) < 1e-6:
            continue
        basis[[pivots, row]] = basis[[row, pivots]]
        basis[pivots] /= basis[pivots, column]
        others = np.arange(len(basis)) != pivots
        basis[others] -= basis[others, column][:, None] * basis[pivots]
        pivots += 1
    basis[np.abs(basis) < 1e-7] = 0.0
    return [(row / spread, float(row / spread @ centre)) for row in basis]


def _solved(names: list[str], vector: Float64, offset: float, scale: Float64) -> Linear | None:
    """Solve a null vector for one column: the one whose sign stands alone in a sum, else the last."""
    support = np.flatnonzero(vector)
    if not 2 <= len(support) <= _MOST_TERMS + 1:
        return None
    if len(support) > 2:
        sizes = np.abs(vector[support])
        if sizes.max() > sizes.min() * (1 + 1e-6):
            return None
        vector, offset = np.sign(vector), float(np.round(offset / sizes.mean(), 9))
    positive = [int(k) for k in support if vector[k] > 0]
    negative = [int(k) for k in support if vector[k] < 0]
    alone = positive if len(positive) == 1 else negative
    solved = alone[0] if len(support) > 2 and len(alone) == 1 else int(support[-1])
    factors = -vector / vector[solved]
    terms = tuple((names[k], _plain(float(factors[k] * scale[solved] / scale[k]))) for k in support if k != solved)
    return Linear(names[solved], terms, _plain(float(offset / vector[solved] * scale[solved])))


def _plain(value: float) -> float:
    """Return a number without the last digits, where they are what solving left behind."""
    short = float(f"{value:.10g}")
    return short if abs(short - value) <= 1e-12 * abs(value) else value


def find_within(cells: dict[str, Float64], columns: Sequence[Column], plan: Plan) -> list[Within]:
    """Find columns of few values that another column decides: town and region, age and its band.

    Parameters
    ----------
    cells, columns, plan
        As of :func:`find_linear`.

    Returns
    -------
    list of Within
        Those added.
    """
    finite = [column for column in columns if column.is_category or _few(cells[column.id])]
    added = []
    for target in finite:
        sources = [column for column in columns if column.id != target.id and column.id not in plan.by_target]
        # a source of few values first: it says most briefly what decides the target
        for source in sorted(sources, key=lambda column: (not column.is_category, len(column.levels))):
            if target.id in plan.by_target:
                break
            if not (target.is_category or source.is_category):
                continue  # two numbers: a fixed factor and offset, or nothing
            bound = learn_within(cells, source, target) if _could(cells[source.id][:_HEAD], cells[target.id][:_HEAD], source) else None
            if bound is not None and not _by_chance(bound, cells, source) and plan.add(bound):
                added.append(bound)
    return added


def _could(given: Float64, wanted: Float64, source: Column) -> bool:
    """Return whether the first rows leave it open that a source decides a target: nearly all pairs of columns end here."""
    both = ~np.isnan(given) & ~np.isnan(wanted)
    given, wanted = given[both], wanted[both]
    if source.is_category:
        return len(np.unique(np.stack([given, wanted]), axis=1).T) == len(np.unique(given))
    changes = np.count_nonzero(np.diff(wanted[np.argsort(given, kind="stable")]))
    return bool(changes < max(len(np.unique(wanted)), 2))


def _few(values: Float64) -> bool:
    return len(np.unique(values[~np.isnan(values)])) <= 50


def learn_within(cells: dict[str, Float64], source: Column, target: Column) -> Within | None:
    """Return how a source decides a target, None where it does not in every row in which both are known."""
    both = ~np.isnan(cells[source.id]) & ~np.isnan(cells[target.id])
    given, wanted = cells[source.id][both], cells[target.id][both]
    if len(given) < 2:
        return None
    values, codes = np.unique(wanted, return_inverse=True)
    count = len(target.levels)
    if target.is_category:
        codes = wanted.astype(np.intp)
    elif len(values) > _MOST_VALUES:
        return None
    if source.is_category:
        usual = int(np.argmax(np.bincount(codes, minlength=max(count, 1))))
        table = np.full(len(source.levels), usual, dtype=np.intp)
        table[given.astype(np.intp)] = codes
        bound = Within(target.id, source.id, table, None, None if target.is_category else values)
    else:
        order = np.argsort(given, kind="stable")
        change = np.flatnonzero(np.diff(codes[order]))
        if len(change) > _MOST_VALUES:
            return None
        cuts = (given[order][change] + given[order][change + 1]) / 2
        bands = codes[order][np.append(change, len(order) - 1)].astype(np.intp)
        bound = Within(target.id, source.id, bands, cuts, None if target.is_category else values)
    return bound if bound.broken(cells) == 0 else None


def _by_chance(bound: Within, cells: dict[str, Float64], source: Column) -> bool:
    """Return whether so many rows could agree by chance.

    A level of n rows is of one value by chance with probability sum p^n; bands of a number may not be more than there are values.
    """
    both = ~np.isnan(cells[bound.source]) & ~np.isnan(cells[bound.target])
    given, wanted = cells[bound.source][both], cells[bound.target][both]
    values, counts = np.unique(wanted, return_counts=True)
    if len(given) < _FEWEST or len(values) < 2:
        return True
    shares = counts / counts.sum()
    if source.is_category:
        rows = np.unique(given, return_counts=True)[1]
        chance = sum(float(np.log((shares**n).sum())) for n in rows)
        return chance > _CHANCE or len(rows) < len(values)
    rare = counts[counts < 5]
    return len(bound.codes) > len(values) or bool(len(rare)) or len(np.unique(given)) < 2 * len(values)


def find_orders(cells: dict[str, Float64], columns: Sequence[Column], plan: Plan) -> list[Ordered]:
    """Find columns that are never below another.

    The two must overlap: rows paired at random would break the relation in at least 1 % and 30 of the rows. Of a chain only the
    neighbours count.

    Parameters
    ----------
    cells, columns, plan
        As of :func:`find_linear`.

    Returns
    -------
    list of Ordered
        Those added.
    """
    numeric = [column for column in columns if not column.is_category and not _derived(plan, column.id)]
    pairs = {
        (low.id, high.id): gap
        for low in numeric
        for high in numeric
        if low.id != high.id and (low.kind == "datetime") == (high.kind == "datetime") and (gap := _gap(cells[low.id], cells[high.id]))
    }
    orders = {pair: gap for pair, gap in pairs.items() if (pair[1], pair[0]) not in pairs}
    middles = {
        (low, high)
        for low, high in orders
        for between in numeric
        if (low, between.id) in orders and (between.id, high) in orders and plan.links(low, between.id, high)
    }
    added: list[Ordered] = []
    for low, high in sorted(orders.keys() - middles, key=lambda pair: orders[pair]):
        present = plan.by_target.get(high)
        if isinstance(present, Ordered) and len(present.lows) >= _MOST_LOWS:
            continue
        bound = Ordered(high, (low,), usual(cells[low]))
        if not plan.implied(bound) and plan.add(bound):
            added.append(bound)
    return added


def usual(values: Float64) -> float:
    """Return a value in the middle of a column, one that rows have."""
    return float(np.quantile(values[~np.isnan(values)], 0.5, method="closest_observation"))


def _derived(plan: Plan, name: str) -> bool:
    """Return whether a column is derived in a way that leaves no further information: a copy, or decided by another."""
    bound = plan.by_target.get(name)
    return isinstance(bound, Within) or (isinstance(bound, Linear) and len(bound.terms) == 1)


def _gap(low: Float64, high: Float64) -> float:
    """Return the mean of high less low where low is never above high and would be by chance; 0 otherwise."""
    head = slice(0, _HEAD)
    with np.errstate(invalid="ignore"):
        if (low[head] > high[head]).any() or (low > high).any():
            return 0.0
    both = ~np.isnan(low) & ~np.isnan(high)
    n = int(both.sum())
    if n < _FEWEST:
        return 0.0
    # share of pairs of two rows with low above high
    share = float((np.searchsorted(np.sort(high[both]), low[both], side="left") / n).mean())
    return float((high[both] - low[both]).mean()) if share >= max(_EXPECTED_SHARE, _EXPECTED_ROWS / n) else 0.0
