"""What to do with the figures: which estimator, at which size, with what coverage; how many rows for a wanted power."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tasks.numerics.normal import Z95, quantile
from tasks.simulation.contrasts import contrast_of, group_key

#: Coverage of a 95 % interval below which an estimator is not recommended, Monte-Carlo error aside.
LEAST_COVERAGE = 0.925
#: Share of replicates an estimator may fail in.
MOST_FAILURES = 0.05


class RowsNeeded(NamedTuple):
    """Rows for a wanted power, with the 95 % interval of the figure's Monte-Carlo error."""

    rows: int
    low: int
    high: int


def rows_for_power(row: Mapping[str, Any], power: float) -> RowsNeeded | None:
    """Return how many rows give a wanted power with one cell's estimator.

    Under normal estimates whose spread falls with sqrt(n), the interval excludes 0 with probability ``power`` at

        n' = n ((1.96 se + z_power sd) / |mean estimate|)^2

    with se the mean standard error and sd the spread of the estimates at n. The interval carries the Monte-Carlo errors of sd and of
    the mean; extrapolating far from n carries more.

    Parameters
    ----------
    row : mapping
        One row of figures.
    power : float
        Wanted, in (0, 1).

    Returns
    -------
    RowsNeeded or None
        None without an effect, or with one that can't be distinguished from 0 here.
    """
    if row["variance"] is None or row["bias"] is None or not row["truth"]:
        return None
    sd, mean, answered = math.sqrt(row["variance"]), row["truth"] + row["bias"], row["replicates"] * (1.0 - row["failures"])
    error = row["bias_mcse"]
    if sd == 0.0 or abs(mean) <= 2.0 * error:
        return None
    z = quantile(power)
    reach = Z95 * sd * row["se_ratio"] + z * sd if row["se_ratio"] is not None else (Z95 + z) * sd
    wanted = row["n"] * (reach / mean) ** 2
    relative = 2.0 * math.sqrt(1.0 / (2.0 * (answered - 1.0)) + (error / mean) ** 2)
    bounds = (wanted * math.exp(-Z95 * relative), wanted, wanted * math.exp(Z95 * relative))
    low, middle, high = (max(1, math.ceil(value)) for value in bounds)
    return RowsNeeded(middle, low, high)


def advice(rows: Sequence[Mapping[str, Any]], power: float) -> list[dict[str, Any]]:
    """Recommend one estimator of the ATE per cell; of more than two arms one for each contrast.

    Of those that fail in at most 5 % of replicates and whose coverage reaches 92.5 % (within two Monte-Carlo errors), the one with
    the least RMSE; where none does, the one with the best coverage, and the advice says so.

    Parameters
    ----------
    rows : sequence of mapping
        All figures.
    power : float
        Wanted.

    Returns
    -------
    list of dict
        One for each cell (and contrast) in which an estimator of the ATE answered, in the order of the cells.
    """
    lines = []
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["estimand"] == "ate" and row["rmse"] is not None:
            groups.setdefault(group_key(row), []).append(row)
    for ranked in groups.values():
        good = [row for row in ranked if _sound(row)]
        best = min(good, key=lambda row: (row["rmse"], row["estimator"])) if good else max(ranked, key=lambda row: row["coverage"])
        # TMLE and its adaptive form are one estimate where overlap suffices: name the plainer one
        plain = next((row for row in ranked if row["estimator"] == "tmle"), None)
        if (
            best["estimator"] == "adaptive"
            and plain is not None
            and plain["rmse"] == best["rmse"]
            and plain["variance"] == best["variance"]
        ):
            best = plain
        needed = rows_for_power(best, power)
        kept = ("cell", "title", "n", "design", "estimator", "truth", "rmse", "coverage", "coverage_mcse", "power", "type1_error", "bias")
        lines.append(
            {name: best[name] for name in kept}
            | contrast_of(best).columns
            | {"sound": bool(good), "wanted_power": power, "rows_for_power": None if needed is None else needed._asdict()}
        )
    return lines


def _sound(row: Mapping[str, Any]) -> bool:
    return bool(row["failures"] <= MOST_FAILURES and row["coverage"] + 2.0 * row["coverage_mcse"] >= LEAST_COVERAGE)
