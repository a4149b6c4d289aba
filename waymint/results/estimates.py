"""Effects estimated on a table or a release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waymint.results.result import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Columns that tables of several outcomes or of more than two arms have.
FURTHER = ("outcome", "arm", "control", "joint_low", "joint_high")
COLUMNS = ("estimand", "estimator", "estimate", "se", "ci_low", "ci_high", "p", "n", "ess", "clipped")


@dataclass(frozen=True, repr=False)
class Estimates(Result):
    """Effects with standard errors, overlap and balance."""

    PLOTS = ("effects", "overlap", "love")

    @property
    def n(self) -> int:
        """Rows used."""
        return int(self.reply["n"])

    def frame(self) -> pd.DataFrame:
        """Return one row for each estimand and estimator."""
        import pandas as pd

        frame = pd.DataFrame(list(self.reply["estimates"]))
        further = [name for name in FURTHER if name in frame and frame[name].notna().any()]
        return frame[[COLUMNS[0], *further, *COLUMNS[1:]]]

    def combined(self) -> pd.DataFrame:
        """Return the estimates whose intervals hold the source's sampling error too; empty unless the data is a release."""
        import pandas as pd

        return pd.DataFrame(list(self.reply.get("combined", ())))

    def balance(self) -> pd.DataFrame:
        """Return standardised mean differences of covariates, before and after weighting."""
        import pandas as pd

        return pd.DataFrame(list(self.reply["balance"]))

    def headline(self) -> str:
        """Return the number of rows and the learner."""
        return f"effects on {self.n:,} rows, nuisances by {self.reply['fit']['learner']}"

    def details(self) -> Sequence[str]:
        """Return overlap in a sentence."""
        overlap = self.reply["overlap"]
        return (f"{overlap['outside']:.1%} of rows have a propensity outside [{overlap['bound']:.3g}, {1 - overlap['bound']:.3g}]",)

    def plot(self, kind: str | None = None) -> Figure:
        """Draw the estimates; save with ``.savefig("figure.pdf")``.

        Parameters
        ----------
        kind : {"effects", "overlap", "love"}, optional
            "effects": forest plot; "overlap": propensities by arm; "love": balance before and after weighting.
        """
        from waymint import plots

        kind = self._plotted(kind)
        if kind == "overlap":
            return plots.overlap({"table": self.reply["overlap"]})
        if kind == "love":
            return plots.love(self.reply["balance"])
        tables = [("combined", self.reply["combined"])] if self.reply.get("combined") else []
        rows = [{"table": title, **each} for title, part in [("table", self.reply["estimates"]), *tables] for each in part]
        return plots.forest(rows)
