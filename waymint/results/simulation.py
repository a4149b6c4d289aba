"""Estimators tried on data with known truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waymint.results.result import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOWN = (
    "n", "design", "effect_scale", "estimator", "bias", "rmse", "coverage", "ci_width", "power", "type1_error", "failures", "replicates",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class Simulation(Result):
    """Performance of estimators by cell of the grid, each figure with its Monte-Carlo error."""

    PLOTS = ("power", "coverage", "bias", "rmse")

    @property
    def uri(self) -> str:
        """Folder of figures and report."""
        return str(self.reply["uri"])

    @property
    def truth(self) -> float:
        """Average effect of the law."""
        return float(self.reply["truth"])

    def frame(self) -> pd.DataFrame:
        """Return one row for each cell and estimator; ``..._mcse`` are Monte-Carlo errors."""
        import pandas as pd

        return pd.DataFrame(list(self.reply["rows"]))

    def table(self) -> pd.DataFrame:
        """Return the main columns; of a law without an effect the share of intervals without 0 is ``type1_error`` and no power."""
        frame = self.frame()
        frame["power"] = frame["power"].where(frame["effect_scale"] != 0.0)
        return frame[[name for name in SHOWN if name in frame]]

    def sizes(self) -> pd.DataFrame:
        """Return power by size: one row for each scenario, estimator or test, and ``n``.

        ``smallest`` is the least n of the grid with the wanted power, ``rows_needed`` what the power at the nearest size implies.
        """
        import pandas as pd

        rows = [
            {**entry, **each, "rows_needed": (entry["rows_needed"] or {}).get("rows")}
            for entry in self.reply["sizes"]
            for each in entry["sizes"]
        ]
        return pd.DataFrame(rows).drop(columns="sizes", errors="ignore")

    def headline(self) -> str:
        """Return the truth and the number of cells."""
        titles = dict.fromkeys(row["title"] for row in self.reply["rows"])
        return f"true average effect {self.truth:.4g}; {len(titles)} {'cell' if len(titles) == 1 else 'cells'}"

    def details(self) -> Sequence[str]:
        """Return where the figures lie, and cautions."""
        return (self.uri, *(f"warning: {text}" for text in self.reply.get("cautions", ())))

    def plot(self, kind: str | None = None) -> Figure:
        """Draw a measure by sample size, one line for each estimator of the average effect; save with ``.savefig("figure.pdf")``.

        Parameters
        ----------
        kind : {"power", "coverage", "bias", "rmse"}, optional
        """
        from waymint import plots

        return plots.curves(self.reply["rows"], self._plotted(kind))
