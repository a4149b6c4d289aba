"""How far conclusions move when the law itself is uncertain: the figures over refits on bootstrap draws of the source."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.simulation.contrasts import CONTRAST

#: Measures whose movement is shown.
MOVING = ("bias", "rmse", "coverage", "power")


def stability(rows: Sequence[Mapping[str, Any]], refits: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Compare each figure with the same figure of every refit.

    Parameters
    ----------
    rows : sequence of mapping
        Figures of the source's own fit.
    refits : sequence of sequence of mapping
        The same, of each Bayesian-bootstrap draw, in the same order.

    Returns
    -------
    list of dict
        Per cell, estimator and contrast, and each of ``MOVING``: least and largest value over the refits, and the standard deviation
        between them beyond their Monte-Carlo errors, sqrt(max(0, var - mean mcse^2)); None with fewer than two refits that answered.
    """
    spreads = []
    for at, row in enumerate(rows):
        one = {name: row[name] for name in ("cell", "n", "design", "estimator", *CONTRAST) if name in row}
        for measure in MOVING:
            estimates = [(refit[at][measure], refit[at][f"{measure}_mcse"]) for refit in refits if refit[at][measure] is not None]
            values = np.array([value for value, _ in estimates])
            noise = float(np.mean([error**2 for _, error in estimates])) if estimates else 0.0
            one[measure] = {
                "own": row[measure],
                "low": float(values.min()) if estimates else None,
                "high": float(values.max()) if estimates else None,
                "sd": math.sqrt(max(0.0, float(values.var(ddof=1)) - noise)) if len(estimates) > 1 else None,
            }
        spreads.append(one)
    return spreads


def same_winner(winners: Mapping[str, str], refits: Sequence[Mapping[str, str]]) -> dict[str, float | None]:
    """Return, by cell, the share of refits in which the same estimator is best; None without refits.

    Parameters
    ----------
    winners : mapping of str to str
        Best estimator by cell; of more than two arms by cell and contrast.
    refits : sequence of mapping
        The same of each refit.
    """
    return {cell: None if not refits else sum(other.get(cell) == best for other in refits) / len(refits) for cell, best in winners.items()}
