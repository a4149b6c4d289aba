"""Survival probabilities and restricted means estimated on a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waymint.results.result import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Differences of means that are drawn.
AREAS = ("rmst_difference", "time_lost_difference")


@dataclass(frozen=True, repr=False)
class SurvivalEstimates(Result):
    """Numbers of survival curves with standard errors, and the curves."""

    PLOTS = ("curves", "effects")

    def frame(self) -> pd.DataFrame:
        """Return one row for each estimand, estimator and arm or pair of arms."""
        import pandas as pd

        return pd.DataFrame(list(self.reply["estimates"]))

    def curves(self) -> pd.DataFrame:
        """Return the curve of each arm and estimator on the grid, ``survival`` or ``incidence`` of a cause, with its simultaneous band."""
        import pandas as pd

        return pd.DataFrame(list(self.reply["curves"]))

    def tests(self) -> pd.DataFrame:
        """Return log-rank tests: of all arms where there are more than two (``arm`` is None), and of each pair."""
        import pandas as pd

        return pd.DataFrame(list(self.reply["logrank"]))

    def hazard_ratios(self) -> pd.DataFrame:
        """Return Cox's hazard ratio of each pair of arms: a description, not adjusted for covariates."""
        import pandas as pd

        return pd.DataFrame(list(self.reply["hazard_ratios"]))

    def headline(self) -> str:
        """Return the number of rows, the horizon and the learner."""
        reply = self.reply
        return f"time to event of {reply['n']:,} rows up to {reply['horizon']:g}, nuisances by {reply['fit']['learner']}"

    def details(self) -> Sequence[str]:
        """Return the warnings."""
        return tuple(self.reply["warnings"])

    def plot(self, kind: str | None = None) -> Figure:
        """Draw the result; save with ``.savefig("figure.pdf")``.

        Parameters
        ----------
        kind : {"curves", "effects"}, optional
            "curves": survival or incidence by arm, of the last estimator named; "effects": forest plot of differences of restricted
            means or of time lost.
        """
        from waymint import plots

        if self._plotted(kind) == "effects":
            return plots.forest([{"table": "table", **one} for one in self.reply["estimates"] if one["estimand"] in AREAS])
        points = self.reply["curves"]
        return plots.survival(points, points[-1]["estimator"], self.reply["horizon"])
