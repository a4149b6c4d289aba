"""Power over the sizes of the grid, and how many rows a wanted power takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.numerics.normal import Z95, quantile
from tasks.simulation.advice import RowsNeeded
from tasks.simulation.contrasts import contrast_of
from tasks.simulation.unadjusted import LOG_RATIO

#: What differs between scenarios, the effect aside; sizes are what one is described over.
DESIGN = ("design", "tilt", "withheld", "noise", "learner")
#: Powers between which one size tells of others.
_LOW, _HIGH = 0.08, 0.995


def sizes(rows: Sequence[Mapping[str, Any]], power: float) -> list[dict[str, Any]]:
    """Return power by size, of estimators of the average effect and of tests, one entry for each scenario, estimator and contrast.

    Parameters
    ----------
    rows : sequence of mapping
        All figures.
    power : float
        Wanted.

    Returns
    -------
    list of dict
        What the scenario is, ``estimator``, ``estimand`` (``arm`` and ``control`` of more than two arms), and ``sizes``: for each ``n``
        ``power`` and, of the same scenario without an effect (None where the grid holds none), ``type1_error``, each with its ``_mcse``.
        ``smallest`` is the least n of the grid with the wanted power, None where none has it; ``rows_needed`` as
        :func:`rows_from_power` gives it.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    null: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in rows:
        if row["estimand"] not in ("ate", LOG_RATIO):
            continue
        of = (*(row[name] for name in DESIGN), row["estimator"], contrast_of(row))
        if row["effect_scale"] == 0.0:
            null[(*of, row["n"])] = row
        else:
            groups.setdefault((*of, row["effect_scale"]), []).append(row)
    return [_entry(group, [null.get((*of[:-1], row["n"]), {}) for row in group], power) for of, group in groups.items()]


def _entry(group: Sequence[Mapping[str, Any]], null: Sequence[Mapping[str, Any]], power: float) -> dict[str, Any]:
    first = group[0]
    measured = [
        {
            "n": row["n"],
            "power": row["power"],
            "power_mcse": row["power_mcse"],
            "type1_error": without.get("type1_error"),
            "type1_error_mcse": without.get("type1_error_mcse"),
        }
        for row, without in zip(group, null, strict=True)
    ]
    enough = [row["n"] for row in measured if row["power"] is not None and row["power"] >= power]
    nearest = [row for row in group if row["power"] is not None and _LOW < row["power"] < _HIGH]
    needed = rows_from_power(min(nearest, key=lambda row: abs(row["power"] - power)), power) if nearest else None
    return {
        **{name: first[name] for name in (*DESIGN, "effect_scale", "estimator", "estimand")},
        **contrast_of(first).columns,
        "sizes": sorted(measured, key=lambda row: row["n"]),
        "wanted_power": power,
        "smallest": min(enough, default=None),
        "rows_needed": None if needed is None else needed._asdict(),
    }


def rows_from_power(row: Mapping[str, Any], power: float) -> RowsNeeded:
    """Return how many rows give a wanted power, from the power at one size.

    A two-sided test at 5 % whose normal statistic has mean b sqrt(n) has power Phi(b sqrt(n) - 1.96), so

        n' = n ((1.96 + z_wanted) / (1.96 + z_power))^2;

    the interval is that of the power's Monte-Carlo error.

    Parameters
    ----------
    row : mapping
        ``n``, ``power`` in (0, 1) and ``power_mcse``.
    power : float
        Wanted, in (0, 1).
    """
    wanted, z, error = Z95 + quantile(power), Z95 + quantile(row["power"]), row["power_mcse"]
    # the delta method: dz = dp / phi(z_power)
    spread = error / (math.exp(-((z - Z95) ** 2) / 2.0) / math.sqrt(2.0 * math.pi))
    middle = row["n"] * (wanted / z) ** 2
    low, high = row["n"] * (wanted / (z + Z95 * spread)) ** 2, row["n"] * (wanted / max(z - Z95 * spread, 1e-3)) ** 2
    return RowsNeeded(*(max(1, math.ceil(value)) for value in (middle, low, high)))
