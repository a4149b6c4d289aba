"""What a user sees while a run works: a live display on a terminal, plain lines elsewhere. Always on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)  # fmt: skip

from infra.settings import Verbosity, verbosity

#: Seconds that a part must take before the time left is worth a word.
LEAST_SECONDS = 5.0


class Bar(Protocol):
    """Progress of one stage on the screen."""

    def advance(self) -> None:
        """Mark one part done."""

    def describe(self, words: str | None) -> None:
        """Show a few words beside the stage's name; None removes them."""

    def finish(self) -> None:
        """Mark the stage done."""


class Display(Protocol):
    """Where progress is shown."""

    def bar(self, name: str, total: int) -> Bar:
        """Show a stage of ``total`` parts."""

    def note(self, text: str) -> None:
        """Show a line that stays on the screen."""

    def warn(self, text: str) -> None:
        """Show a warning that stays on the screen."""


class PlainDisplay:
    """Lines with the seconds since the run began.

    Parameters
    ----------
    every_part : bool
        Write a line for each part of a stage, and not for each tenth of them.
    """

    def __init__(self, every_part: bool = False) -> None:
        self.every_part = every_part
        self._start = time.monotonic()

    def bar(self, name: str, total: int) -> Bar:
        """Show a stage of ``total`` parts."""
        return PlainBar(self, name, total)

    def note(self, text: str) -> None:
        """Write one line."""
        sys.stderr.write(f"[{time.monotonic() - self._start:6.1f} s] {text}\n")
        sys.stderr.flush()

    def warn(self, text: str) -> None:
        """Write a warning."""
        self.note(f"warning: {text}")


class PlainBar:
    """About ten lines for a stage of many parts, with the time that the others take at this rate, and one at its end."""

    def __init__(self, display: PlainDisplay, name: str, total: int) -> None:
        self._display, self._name, self._total = display, name, total
        self._done = 0
        self._began = time.monotonic()

    def advance(self) -> None:
        """Mark one part done."""
        self._done += 1
        step = 1 if self._display.every_part else max(1, self._total // 10)
        if self._total > 1 and (self._done == self._total or self._done % step == 0):
            left = time_left(self._done, self._total, time.monotonic() - self._began)
            self._display.note(f"{self._name}: {self._done} of {self._total}{left}")

    def describe(self, words: str | None) -> None:
        """Write a line with the words."""
        if words is not None:
            self._display.note(f"{self._name}: {words}")

    def finish(self) -> None:
        """Write the seconds that the stage took."""
        self._display.note(f"{self._name}: done in {time.monotonic() - self._began:.1f} s")


def time_left(done: int, total: int, elapsed: float) -> str:
    """Say how long the parts that are left take at the rate so far; nothing where that is soon, or nothing is left."""
    seconds = elapsed / max(done, 1) * (total - done)
    if seconds < LEAST_SECONDS:
        return ""
    return f", about {seconds:.0f} s left" if seconds < 100 else f", about {seconds / 60:.0f} min left"


class QuietDisplay(PlainDisplay):
    """Warnings alone."""

    def bar(self, name: str, total: int) -> Bar:  # noqa: ARG002 (as every display has it)
        """Show nothing of a stage."""
        return QuietBar()

    def note(self, text: str) -> None:
        """Write nothing."""

    def warn(self, text: str) -> None:
        """Write a warning."""
        sys.stderr.write(f"warning: {text}\n")


class QuietBar:
    """A stage that is not shown."""

    def advance(self) -> None:
        """Mark one part done."""

    def describe(self, words: str | None) -> None:
        """Show nothing."""

    def finish(self) -> None:
        """Mark the stage done."""


class LiveDisplay:
    """One live bar for each stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def bar(self, name: str, total: int) -> Bar:
        """Show a stage of ``total`` parts."""
        return LiveBar(self._progress, name, total)

    def note(self, text: str) -> None:
        """Print one line above the bars."""
        self._progress.console.print(text, highlight=False, markup=False)

    def warn(self, text: str) -> None:
        """Print a warning above the bars."""
        self._progress.console.print("[yellow]warning[/yellow]", end=" ")
        self.note(text)


class LiveBar:
    """A bar of the live display."""

    def __init__(self, progress: Progress, name: str, total: int) -> None:
        self._progress, self._name, self._total = progress, name, total
        self._task: TaskID = progress.add_task(name, total=total)

    def advance(self) -> None:
        """Mark one part done."""
        self._progress.advance(self._task)

    def describe(self, words: str | None) -> None:
        """Show the words behind the stage's name."""
        self._progress.update(self._task, description=self._name if words is None else f"{self._name}: {words}")

    def finish(self) -> None:
        """Fill the bar."""
        self._progress.update(self._task, completed=self._total)


@contextlib.contextmanager
def open_display() -> Iterator[Display]:
    """Open the display that suits stderr and what the user wants to read, for the length of the block."""
    wanted = verbosity()
    if wanted is Verbosity.QUIET:
        yield QuietDisplay()
        return
    if wanted is Verbosity.VERBOSE or not sys.stderr.isatty():
        yield PlainDisplay(every_part=wanted is Verbosity.VERBOSE)
        return
    names = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
    columns = (*names, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield LiveDisplay(progress)
