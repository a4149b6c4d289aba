"""Marginal distributions of columns, of the release alone or beside the real rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.contract.errors import SpecError
from waymint.plots.canvas import COLORS, Plot, canvas, legend_below

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

ACROSS, MOST, BINS, LEVELS = 3, 12, 24, 10
#: Numbers with so few values are drawn as levels.
FEW = 5


def margins(release: pd.DataFrame, source: pd.DataFrame | None = None, columns: Sequence[str] | None = None) -> Plot:
    """Draw histograms; those of the source are filled, those of the release are lines.

    Parameters
    ----------
    release : DataFrame
    source : DataFrame, optional
        The real rows.
    columns : sequence of str, optional
        Which columns; the first 12 by default.

    Raises
    ------
    SpecError
        If a column is not in the release or in the source.
    """
    chosen = list(release.columns[:MOST]) if columns is None else list(columns)
    tables = {"release": release} if source is None else {"source": source, "release": release}
    for title, table in tables.items():
        absent = [name for name in chosen if name not in table]
        if absent or not chosen:
            raise SpecError(f"columns of margins must be in the {title}; got '{', '.join(absent) or 'none'}'.")
    down = -(-len(chosen) // ACROSS)
    figure, axes = canvas(0.5 + 1.6 * down, across=min(ACROSS, len(chosen)), down=down)
    for axis in axes[len(chosen) :]:
        axis.set_visible(False)
    for axis, name in zip(axes, chosen):
        values = {title: table[name] for title, table in tables.items()}
        draw = _numbers if all(_numeric(series) and series.nunique() > FEW for series in values.values()) else _levels
        draw(axis, values)
        axis.set_title(name)
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
    legend_below(figure, axes[0])
    return figure


def _numeric(series: Any) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(series) or pd.api.types.is_datetime64_any_dtype(series))


def _numbers(axis: Axes, values: dict[str, Any]) -> None:
    cleaned = {title: series.dropna().to_numpy() for title, series in values.items()}
    dates = any(array.dtype.kind == "M" for array in cleaned.values())
    numbers = {title: array.astype("datetime64[D]").astype(float) if dates else array.astype(float) for title, array in cleaned.items()}
    pooled = np.concatenate(list(numbers.values()))
    if not len(pooled):
        return
    edges = np.histogram_bin_edges(pooled, bins=min(BINS, max(2, len(np.unique(pooled)))))
    for title, array in numbers.items():
        heights = np.histogram(array, bins=edges)[0] / max(1, len(array))
        axis.stairs(heights, edges, fill=title == "source", color=_color(title), alpha=_alpha(title), linewidth=1.2, label=title)
    if dates:
        axis.xaxis_date()
        axis.tick_params(axis="x", labelrotation=30)


def _levels(axis: Axes, values: dict[str, Any]) -> None:
    texts = {title: series.astype("object").where(series.notna(), "(missing)").map(str) for title, series in values.items()}
    shares = {title: series.value_counts(normalize=True) for title, series in texts.items()}
    first = next(iter(shares.values()))
    levels = sorted(first.index[:LEVELS])
    for title, share in shares.items():
        heights = [float(share.get(level, 0.0)) for level in levels]
        edges = np.arange(len(levels) + 1) - 0.5
        axis.stairs(heights, edges, fill=title == "source", color=_color(title), alpha=_alpha(title), linewidth=1.2, label=title)
    axis.set_xticks(range(len(levels)), [level[:12] for level in levels], rotation=30)


def _color(title: str) -> str:
    return COLORS[1] if title == "source" else COLORS[2]


def _alpha(title: str) -> float:
    return 0.35 if title == "source" else 1.0
