"""How fast a stage goes: its parts, rows a second, and the time that what is left takes at the rate so far."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds that what is left must take before they are worth a word.
LEAST_SECONDS = 5.0


class Pace:
    """How far a stage is, and how fast: what every display and the run's page say of it.

    Parameters
    ----------
    total : int
        Parts of the stage.
    clock : callable
        Returns seconds.

    Attributes
    ----------
    done : int
        Parts that have ended.
    rows : int
        Rows that these went through; 0 where the parts are not of rows.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.done, self.rows = total, 0, 0
        self._clock, self._began = clock, clock()

    def advance(self, rows: int = 0) -> None:
        """Mark one part done, which went through so many rows."""
        self.done += 1
        self.rows += rows

    @property
    def seconds(self) -> float:
        """Seconds since the stage began."""
        return self._clock() - self._began

    @property
    def share(self) -> float:
        """Share of the parts that are done, in [0, 1]."""
        return min(1.0, self.done / max(self.total, 1))

    @property
    def speed(self) -> str:
        """Rows a second so far, to two digits, in words after a comma; nothing where the parts are not of rows."""
        if not self.rows:
            return ""
        each = float(f"{self.rows / max(self.seconds, 1e-3):.2g}")
        return f", {each:,.0f} rows/s"

    @property
    def left(self) -> str:
        """Time that the other parts take at the rate so far, in words after a comma; nothing where that is soon."""
        seconds = self.seconds / max(self.done, 1) * (self.total - self.done)
        if seconds < LEAST_SECONDS:
            return ""
        return f", about {seconds:.0f} s left" if seconds < 100 else f", about {seconds / 60:.0f} min left"

    def __str__(self) -> str:
        return f"{self.done} of {self.total}{self.speed}{self.left}"

    @property
    def summary(self) -> str:
        """What is said of a stage at its end."""
        return f"done in {self.seconds:.1f} s{self.speed}"
