"""Histograms that may be shown: shares per bin, small cells suppressed, no exact extreme."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.report.marginals import shares

Float64 = npt.NDArray[np.float64]


def distance_histograms(series: dict[str, Float64], bins: int = 40) -> dict[str, Any]:
    """Bin distances to the closest record on shared edges.

    Parameters
    ----------
    series : dict
        Name to distances, each of shape (n,).
    bins : int
        Number of bins between 0 and the largest 99 % quantile; what lies above is counted in the last bin.

    Returns
    -------
    dict
        ``{"edges": [...], "series": {name: shares}}``.
    """
    top = max(float(np.quantile(values, 0.99)) for values in series.values())
    edges = np.linspace(0.0, top if top > 0 else 1.0, bins + 1)
    return {
        "edges": edges.round(6).tolist(),
        "series": {name: shares(np.histogram(np.clip(values, 0, edges[-1]), edges)[0]) for name, values in series.items()},
    }


def arm_shares(overlap: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """Turn the overlap record's counts per bin and arm into shares of all rows; suppressed cells stay None.

    Parameters
    ----------
    overlap : mapping
        ``n``, ``histogram0``, ``histogram1``.
    """
    names = {"treated": "histogram1", "control": "histogram0"}
    return {arm: [None if count is None else count / overlap["n"] for count in overlap[name]] for arm, name in names.items()}
