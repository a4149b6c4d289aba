"""What all results have in common."""

from __future__ import annotations

import abc
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tasks.contract.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Rows that a table in a notebook or on a terminal shows.
SHOWN = 20


@dataclass(frozen=True, repr=False)
class Result(abc.ABC):
    """A reply of a flow.

    Attributes
    ----------
    reply : mapping
        What ``--json`` of the command prints.
    """

    reply: Mapping[str, Any]
    #: Kinds of plots, the default first.
    PLOTS: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def frame(self) -> pd.DataFrame:
        """Return the result as a table."""

    @abc.abstractmethod
    def headline(self) -> str:
        """Return the result in a sentence."""

    def details(self) -> Sequence[str]:
        """Return further lines, such as warnings."""
        return ()

    def table(self) -> pd.DataFrame:
        """Return the table that a notebook shows."""
        return self.frame()

    def _plotted(self, kind: str | None) -> str:
        """Return the kind of plot that is named, or the default."""
        if kind is not None and kind not in self.PLOTS:
            raise SpecError(f"kind of plot must be among {', '.join(self.PLOTS)}; got '{kind}'.")
        return self.PLOTS[0] if kind is None else kind

    @abc.abstractmethod
    def plot(self, kind: str | None = None) -> Figure:
        """Draw the result; save it with ``.savefig("figure.pdf")``.

        Parameters
        ----------
        kind : str, optional
            One of ``PLOTS``; the first by default.

        Raises
        ------
        SpecError
            If there is no such plot, or matplotlib is not installed.
        """

    def __repr__(self) -> str:
        return "\n".join([self.headline(), *self.details(), "", self.table().head(SHOWN).to_string(index=False)])

    def _repr_html_(self) -> str:
        lines = "".join(f"<br>{html.escape(line)}" for line in self.details())
        shown = self.table()
        more = f"<p>{len(shown) - SHOWN} more rows: <code>.frame()</code></p>" if len(shown) > SHOWN else ""
        table = shown.head(SHOWN).to_html(index=False, border=0, na_rep="–", float_format=lambda value: f"{value:.4g}")
        return f"<div><p><strong>{html.escape(self.headline())}</strong>{lines}</p>{table}{more}</div>"
