"""A figure that shows itself in a notebook, and the look that all figures share."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: Okabe and Ito (2008), told apart by readers with colour vision deficiency; black, blue, vermilion, green, orange, purple, sky.
COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
#: Every series has a marker too, so that a figure can be printed in grey.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY, LIGHT = "#595959", "#d0d0d0"
#: Inches: a column of text.
WIDTH = 6.4
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "waymint",
    "pdf.fonttype": 42,
}


class Plot(Figure):
    """A matplotlib figure apart from pyplot's, so that no window opens and none has to be closed.

    Save it with ``savefig("figure.svg")``, ``.pdf`` or ``.png``.
    """

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=90)
        return buffer.getvalue()

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save the figure with text as text, as :meth:`matplotlib.figure.Figure.savefig`."""
        with mpl.rc_context(STYLE):
            super().savefig(fname, **options)


def canvas(height: float, across: int = 1, down: int = 1, **options: Any) -> tuple[Plot, list[Axes]]:
    """Return an empty figure and its axes, row by row.

    Parameters
    ----------
    height : float
        Inches.
    across, down : int
        Number of axes.
    **options
        Of :meth:`matplotlib.figure.Figure.subplots`.
    """
    with mpl.rc_context(STYLE):
        figure = Plot(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(down, across, squeeze=False, **options)
    return figure, [axis for row in axes for axis in row]


def legend_below(figure: Plot, axis: Axes, columns: int = 4) -> None:
    """Lay the legend of an axis below the figure, where it covers nothing."""
    handles, labels = axis.get_legend_handles_labels()
    unique = dict(zip(labels, handles))
    if len(unique) > 1:
        figure.legend(list(unique.values()), list(unique), loc="outside lower center", ncols=columns, frameon=False)


def label_rows(axis: Axes, labels: Sequence[str]) -> None:
    """Name the rows of a chart from the top down."""
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
