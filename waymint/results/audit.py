"""Attacks against a release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waymint.results.result import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COLUMNS = ("attack", "statistic", "value", "ci_low", "ci_high", "baseline", "control", "verdict")


@dataclass(frozen=True, repr=False)
class Audit(Result):
    """Attacks, each with its interval, its baseline and its control."""

    PLOTS = ("attacks",)

    @property
    def uri(self) -> str:
        """Folder of answers and report."""
        return str(self.reply["uri"])

    def frame(self) -> pd.DataFrame:
        """Return one row for each statistic of an attack."""
        import pandas as pd

        return pd.DataFrame([{key: each.get(key) for key in COLUMNS} for each in self.reply["attacks"]], columns=list(COLUMNS))

    def headline(self) -> str:
        """Return how many statistics found a leak."""
        attacks = self.reply["attacks"]
        leaks = sum(each["verdict"] == "leak found" for each in attacks)
        return f"leak found by {leaks} of {len(attacks)} statistics"

    def details(self) -> Sequence[str]:
        """Return where the answers lie."""
        return (self.uri,)

    def plot(self, kind: str | None = None) -> Figure:
        """Draw each statistic beside its baseline; save with ``.savefig("figure.pdf")``.

        Parameters
        ----------
        kind : {"attacks"}, optional
        """
        from waymint import plots

        self._plotted(kind)
        return plots.attacks(self.reply["attacks"])
