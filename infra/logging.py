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
)  # fmt: skip

from infra.pace import Pace
from infra.settings import Verbosity, verbosity


class Bar(Protocol):
    """Progress of one stage on the screen."""

    def advance(self) -> None:
        """Show that a part is done."""

    def describe(self, words: str | None) -> None:
        """Show a few words beside the stage's name; None removes them."""

    def finish(self) -> None:
        """Show that the stage is done."""


class Display(Protocol):
    """Where progress is shown."""

    def bar(self, name: str, pace: Pace) -> Bar:
        """Show a stage."""

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

    def bar(self, name: str, pace: Pace) -> Bar:
        """Show a stage."""
        return PlainBar(self, name, pace)

    def note(self, text: str) -> None:
        """Write one line."""
        sys.stderr.write(f"[{time.monotonic() - self._start:6.1f} s] {text}\n")
        sys.stderr.flush()

    def warn(self, text: str) -> None:
        """Write a warning."""
        self.note(f"warning: {text}")


class PlainBar:
    """About ten lines for a stage of many parts, with its pace, and one at its end."""

    def __init__(self, display: PlainDisplay, name: str, pace: Pace) -> None:
        self._display, self._name, self._pace = display, name, pace

    def advance(self) -> None:
        """Write a line where a tenth of the parts is done."""
        done, total = self._pace.done, self._pace.total
        step = 1 if self._display.every_part else max(1, total // 10)
        if total > 1 and (done == total or done % step == 0):
            self._display.note(f"{self._name}: {self._pace}")

    def describe(self, words: str | None) -> None:
        """Write a line with the words."""
        if words is not None:
            self._display.note(f"{self._name}: {words}")

    def finish(self) -> None:
        """Write what the stage took."""
        self._display.note(f"{self._name}: {self._pace.summary}")


class QuietDisplay(PlainDisplay):
    """Warnings alone."""

    def bar(self, name: str, pace: Pace) -> Bar:  # noqa: ARG002 (as every display has it)
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
        """Show nothing."""

    def describe(self, words: str | None) -> None:
        """Show nothing."""

    def finish(self) -> None:
        """Show nothing."""


class LiveDisplay:
    """One live bar for each stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def bar(self, name: str, pace: Pace) -> Bar:
        """Show a stage."""
        return LiveBar(self._progress, name, pace)

    def note(self, text: str) -> None:
        """Print one line above the bars."""
        self._progress.console.print(text, highlight=False, markup=False)

    def warn(self, text: str) -> None:
        """Print a warning above the bars."""
        self._progress.console.print("[yellow]warning[/yellow]", end=" ")
        self.note(text)


class LiveBar:
    """A bar of the live display."""

    def __init__(self, progress: Progress, name: str, pace: Pace) -> None:
        self._progress, self._name, self._pace = progress, name, pace
        self._task: TaskID = progress.add_task(name, total=pace.total, pace="")

    def advance(self) -> None:
        """Show how many parts are done, and the pace."""
        words = f"{self._pace.speed}{self._pace.left}".removeprefix(", ")
        self._progress.update(self._task, completed=self._pace.done, pace=words)

    def describe(self, words: str | None) -> None:
        """Show the words behind the stage's name."""
        self._progress.update(self._task, description=self._name if words is None else f"{self._name}: {words}")

    def finish(self) -> None:
        """Fill the bar."""
        self._progress.update(self._task, completed=self._pace.total)


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
    columns = (*names, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[pace]}", markup=False))
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield LiveDisplay(progress)
