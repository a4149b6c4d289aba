"""Stages of a run: each submits tasks, waits for them, and shows how far it is."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Protocol

from infra.cluster import FlowWork
from infra.faults import lost_server
from infra.logging import Bar, Display, PlainDisplay, open_display
from infra.metering import Costs
from infra.pace import Pace
from tasks.contract.errors import StoreError

#: A wait without a limit would hang for ever on a cluster without workers.
LONGEST_WAIT = 6 * 3600.0
#: Least seconds between two looks of a stage on the run's page: each costs a request to the server.
PAGE_SECONDS = 5.0


class Future(Protocol):
    """A task that was submitted."""

    def result(self, timeout: float | None = None) -> Any:
        """Return what the task returned, or raise what it raised."""
        ...


class Work(Protocol):
    """Where stages send tasks: :class:`infra.cluster.FlowWork` in a flow run, the caller's own process in tests."""

    def submit(self, task: Any, arguments: tuple[Any, ...]) -> Any:
        """Start one task; return its :class:`Future`."""
        ...

    def call(self, task: Any, arguments: tuple[Any, ...]) -> Any:
        """Run one task in this process; return its result."""
        ...

    def completed(self, futures: Sequence[Any], timeout: float) -> Iterator[Future]:
        """Yield submitted tasks as they end; raise TimeoutError if they have not all ended in time."""
        ...

    def meter(self, description: str) -> Callable[[float, str], None]:
        """Show a progress bar on the run's page; return what sets its share, in [0, 1], and its text."""
        ...

    def table(self, key: str, rows: list[dict[str, Any]], description: str) -> None:
        """Show a table on the run's page."""
        ...

    def log(self, level: int, text: str) -> None:
        """Write a line to the log on the run's page; ``level`` is one of :mod:`logging`."""
        ...


class Stages:
    """The stages of one run, in order.

    Parameters
    ----------
    display : Display, optional
        Where progress is shown; plain lines on stderr where left out.
    timeout : float
        Seconds after which waiting for the tasks of one stage is given up (``engine.timeout`` of the SPEC).
    work : Work, optional
        Where tasks run; the task runner of the flow that is under way where left out.
    """

    _current: ClassVar[Stages | None] = None

    def __init__(self, display: Display | None = None, timeout: float = LONGEST_WAIT, work: Work | None = None) -> None:
        self._display: Display = display or PlainDisplay()
        self._timeout = timeout
        self._work: Work = work or FlowWork()
        self._costs = Costs()
        self._watch: Callable[[float, str], None] | None = None

    @classmethod
    def current(cls) -> Stages:
        """Return the stages of the run that is under way; new ones where none is."""
        return cls._current or cls()

    def count(self, total: int, description: str) -> None:
        """Show on the run's page how many of ``total`` stages are finished, and the pace of the one under way."""
        meter = self._work.meter(description)
        self._watch = lambda done, text: meter(done / total, text)

    def meter(self, description: str) -> Callable[[float, str], None]:
        """Show a progress bar on the run's page; return what sets its share, in [0, 1], and its text."""
        return self._work.meter(description)

    def table(self, key: str, rows: list[dict[str, Any]], description: str) -> None:
        """Show a table on the run's page."""
        self._work.table(key, rows, description)

    def note(self, text: str) -> None:
        """Show a line that stays on the screen and in the run's log."""
        self._display.note(text)
        self._work.log(logging.INFO, text)

    def warn(self, text: str) -> None:
        """Show a warning that stays on the screen and in the run's log."""
        self._display.warn(text)
        self._work.log(logging.WARNING, text)

    @contextlib.contextmanager
    def measured(self) -> Iterator[Stages]:
        """Look at the run's memory for the length of the block; where that ends well, show its stages on the run's page.

        A server that is lost by then takes back nothing of what was done.
        """
        with self._costs.watched():
            yield self
        with contextlib.suppress(RuntimeError, *lost_server()):
            self.table("stages", self._costs.stages(), f"Stages and their seconds; peak memory {self._costs.peak_mib:,.0f} MiB")

    def metrics(self, rows: int) -> dict[str, Any]:
        """Return what the run has cost so far; see :meth:`infra.metering.Costs.metrics`."""
        return self._costs.metrics(rows)

    def run(self, name: str, task: Any, *arguments: object) -> Any:
        """Run one task as a stage of its own; return its result."""
        with self.stage(name) as stage:
            return stage.run(task, *arguments)

    def map(self, name: str, task: Any, calls: Iterable[tuple[Any, ...]], rows: Sequence[int] = ()) -> list[Any]:
        """Run a task once for each tuple of arguments, as a stage of its own; see :meth:`Stage.map`."""
        wanted = list(calls)
        with self.stage(name, len(wanted)) as stage:
            return stage.map(task, wanted, rows)

    def submit(self, task: Any, *arguments: object) -> Future:
        """Submit one task and go on; a later stage waits for it."""
        future: Future = self._work.submit(task, arguments)
        return future

    def wait(self, name: str, futures: Iterable[Future], progress: Callable[[], str | None] | None = None) -> list[Any]:
        """Wait for submitted tasks as a stage of their own; return the results in order.

        Parameters
        ----------
        name : str
            Title of the stage.
        futures : iterable of PrefectFuture
            Submitted tasks.
        progress : callable, optional
            Says how far a long task is; see :meth:`Stage.following`.
        """
        wanted = list(futures)
        with self.stage(name, len(wanted)) as stage:
            if progress is None:
                return stage.wait(wanted)
            with stage.following(progress):
                return stage.wait(wanted)

    @contextlib.contextmanager
    def stage(self, name: str, total: int = 1) -> Iterator[Stage]:
        """Show one stage of ``total`` parts for the length of the block, which waits for tasks through it.

        Parts that are not marked when the block ends well count as done.
        """
        pace, began = Pace(total), self._costs.seconds
        bar = self._display.bar(name, pace)
        yield Stage(bar, pace, self._work, self._timeout, self._page_of(name, pace))
        bar.finish()
        self._work.log(logging.INFO, f"{name}: {pace.summary}")
        self._costs.add(name, total, began)
        if self._watch is not None:
            self._watch(len(self._costs.stages()), name)

    def _page_of(self, name: str, pace: Pace) -> Callable[[], None]:
        """Return what shows on the run's page how far a stage is, at most every few seconds."""
        shown = 0.0

        def show() -> None:
            nonlocal shown
            if self._watch is not None and pace.seconds - shown >= PAGE_SECONDS:
                shown = pace.seconds
                self._watch(len(self._costs.stages()) + pace.share, f"{name}: {pace}")

        return show


class Stage:
    """One stage that is under way.

    Parameters
    ----------
    bar : Bar
        Its progress on the screen.
    pace : Pace
        Of its parts.
    work : Work
        Where tasks run.
    timeout : float
        Seconds of one wait.
    show : callable
        Shows its pace on the run's page.
    """

    def __init__(self, bar: Bar, pace: Pace, work: Work, timeout: float, show: Callable[[], None]) -> None:
        self._bar, self._pace, self._show = bar, pace, show
        self._work = work
        self._timeout = timeout

    def run(self, task: Any, *arguments: object) -> Any:
        """Run one task; return its result."""
        return self.wait([self._work.submit(task, arguments)])[0]

    def call(self, task: Any, *arguments: object) -> Any:
        """Run one task in the flow's own process, where what it needs can't be sent to a worker; return its result."""
        return self._work.call(task, arguments)

    def map(self, task: Any, calls: Iterable[tuple[Any, ...]], rows: Sequence[int] = ()) -> list[Any]:
        """Run a task once for each tuple of arguments; return the results in order.

        Parameters
        ----------
        task : Task
        calls : iterable of tuple
            Arguments.
        rows : sequence of int
            Rows that each call goes through, where it goes through rows: the display then says how many a second.
        """
        return self.wait([self._work.submit(task, arguments) for arguments in calls], rows)

    def wait(self, futures: Iterable[Future], rows: Sequence[int] = ()) -> list[Any]:
        """Wait for submitted tasks, marking each on the display; return the results in order.

        Parameters
        ----------
        futures : iterable of PrefectFuture
        rows : sequence of int
            As of :meth:`map`.

        Raises
        ------
        Exception
            The first error of a task, as it was raised there.
        TimeoutError
            If the wait is given up.
        """
        wanted = list(futures)
        sizes = {id(future): size for future, size in zip(wanted, rows or [0] * len(wanted), strict=True)}
        for future in self._work.completed(wanted, self._timeout):
            future.result(timeout=self._timeout)
            self._pace.advance(sizes[id(future)])
            self._bar.advance()
            self._show()
        return [future.result(timeout=self._timeout) for future in wanted]

    @contextlib.contextmanager
    def following(self, progress: Callable[[], str | None], every: float = 5.0) -> Iterator[None]:
        """Show how far a long part is, for the length of the block.

        Parameters
        ----------
        progress : callable
            Returns a few words, None where there is nothing to say yet; called in a thread of its own.
        every : float
            Seconds from one question to the next.
        """
        ended = threading.Event()
        thread = threading.Thread(target=self._follow, args=(progress, every, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._bar.describe(None)

    def _follow(self, progress: Callable[[], str | None], every: float, ended: threading.Event) -> None:
        last = None
        while not ended.wait(every):
            try:
                words = progress()
            except StoreError:  # progress is worth no run: the next question may be answered
                continue
            if words is not None and words != last:
                last = words
                self._bar.describe(words)


@contextlib.contextmanager
def open_stages(timeout: float) -> Iterator[Stages]:
    """Open the stages of a run, shown live on a terminal and as plain lines elsewhere."""
    with open_display() as display:
        Stages._current = Stages(display, timeout)
        try:
            with Stages._current.measured() as stages:
                yield stages
        finally:
            Stages._current = None
