"""Synthesizers compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waymint.results.result import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOWN = ("synthesizer", "mode", "seed", "tstr", "c2st_auc", "dcr_share", "effect_error_aipw", "effect_error_tmle", "fit_seconds")


@dataclass(frozen=True, repr=False)
class Comparison(Result):
    """What each synthesizer does to prediction, closeness and the effect."""

    PLOTS = ("effects",)

    @property
    def uri(self) -> str:
        """Folder of figures and report."""
        return str(self.reply["uri"])

    def frame(self) -> pd.DataFrame:
        """Return one row for each variant; errors of the effect by estimator are columns of their own."""
        import pandas as pd

        flat = [
            {key: value for key, value in row.items() if not isinstance(value, dict)}
            | {f"{key}_{name}": number for key, value in row.items() if isinstance(value, dict) for name, number in value.items()}
            for row in self.reply["rows"]
        ]
        return pd.DataFrame(flat)

    def table(self) -> pd.DataFrame:
        """Return the main columns."""
        frame = self.frame()
        return frame[[name for name in SHOWN if name in frame]]

    def headline(self) -> str:
        """Return how many variants were made."""
        rows = self.reply["rows"]
        refused = sum(row.get("refused") is not None for row in rows)
        return f"{len(rows) - refused} of {len(rows)} variants compared"

    def details(self) -> Sequence[str]:
        """Return where the figures lie."""
        return (self.uri,)

    def plot(self, kind: str | None = None) -> Figure:
        """Draw the error of the effect by variant and estimator; save with ``.savefig("figure.pdf")``.

        Parameters
        ----------
        kind : {"effects"}, optional
        """
        from waymint import plots

        self._plotted(kind)
        return plots.effect_errors(self.reply["rows"])
