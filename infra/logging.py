"""What a user sees while a run works: a live display on a terminal, plain lines elsewhere. Always on stderr."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import ClassVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tasks.contract.errors import StoreError


class Stages:
    """Progress over named stages; each stage counts its parts."""

    _shown: ClassVar[Stages | None] = None

    def __init__(self, display: Progress | None) -> None:
        self._display = display
        self._start = time.monotonic()
        self._finished = 0
        self._watch: Callable[[int, str], None] | None = None

    def watch(self, told: Callable[[int, str], None]) -> None:
        """Call ``told(stages finished, name of the last)`` at the end of every stage."""
        self._watch = told

    @classmethod
    def current(cls) -> Stages:
        """Return the stages that are shown now; plain lines where none are."""
        return cls._shown or cls(None)

    @contextlib.contextmanager
    def stage(self, name: str, total: int = 1) -> Iterator[Stage]:
        """Show one stage of ``total`` parts for the length of the block.

        The block marks parts done with the yielded stage; what it has not marked when it ends well counts as done.
        """
        stage = Stage(self, name, total)
        yield stage
        stage.finish()
        self._finished += 1
        if self._watch is not None:
            self._watch(self._finished, name)

    def warn(self, text: str) -> None:
        """Show a warning that stays on the screen."""
        if self._display is not None:
            self._display.console.print(f"[yellow]warning[/yellow] {text}", highlight=False)
        else:
            self.line(f"warning: {text}")

    def note(self, text: str) -> None:
        """Show a line that stays on the screen."""
        if self._display is not None:
            self._display.console.print(text, highlight=False)
        else:
            self.line(text)

    def line(self, text: str) -> None:
        """Write one plain line, with the seconds since the run began."""
        sys.stderr.write(f"[{time.monotonic() - self._start:6.1f} s] {text}\n")
        sys.stderr.flush()


class Stage:
    """One stage's counter."""

    def __init__(self, stages: Stages, name: str, total: int) -> None:
        self._stages = stages
        self._name = name
        self._total = total
        self._done = 0
        self._began = time.monotonic()
        self._task = stages._display.add_task(name, total=total) if stages._display is not None else None

    def advance(self) -> None:
        """Mark one part done."""
        self._done += 1
        if self._stages._display is not None and self._task is not None:
            self._stages._display.advance(self._task)
        elif self._total > 1 and (self._done == self._total or self._done % max(1, self._total // 10) == 0):
            self._stages.line(f"{self._name}: {self._done} of {self._total}")

    @contextlib.contextmanager
    def following(self, told: Callable[[], str | None], every: float = 5.0) -> Iterator[None]:
        """Show how far a long part is, for the length of the block.

        Parameters
        ----------
        told : callable
            Returns a few words, None where there is nothing to tell yet; asked in a thread of its own.
        every : float
            Seconds from one question to the next.
        """
        ended = threading.Event()
        thread = threading.Thread(target=self._follow, args=(told, every, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            if self._stages._display is not None and self._task is not None:
                self._stages._display.update(self._task, description=self._name)

    def _follow(self, told: Callable[[], str | None], every: float, ended: threading.Event) -> None:
        last = None
        while not ended.wait(every):
            try:
                words = told()
            except StoreError:  # progress is worth no run: the next question may be answered
                continue
            if words is None or words == last:
                continue
            last = words
            if self._stages._display is not None and self._task is not None:
                self._stages._display.update(self._task, description=f"{self._name}: {words}")
            else:
                self._stages.line(f"{self._name}: {words}")

    def finish(self) -> None:
        """Mark the stage done."""
        if self._stages._display is not None and self._task is not None:
            self._stages._display.update(self._task, completed=self._total)
        else:
            self._stages.line(f"{self._name}: done in {time.monotonic() - self._began:.1f} s")


@contextlib.contextmanager
def shown() -> Iterator[Stages]:
    """Show stages for the length of the block, live on a terminal, as plain lines elsewhere."""
    with contextlib.ExitStack() as stack:
        display = None
        if sys.stderr.isatty():
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            display = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
        Stages._shown = Stages(display)
        try:
            yield Stages._shown
        finally:
            Stages._shown = None
