"""Flows' inner work in the test's own process: every task runs when it is submitted, without Prefect, Dask or a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from prefect.client.schemas.objects import State

from infra.logging import Bar, PlainBar, PlainDisplay
from infra.pace import Pace
from infra.stages import Stages
from infra.workspace import Run
from tasks.contract.errors import GateFailed
from tasks.contract.spec import Spec


class Call(NamedTuple):
    """One call of a task: its function, arguments and result."""

    task: Any
    arguments: tuple[Any, ...]
    result: Any

    @property
    def name(self) -> str:
        """Module and function: what tests name a task by."""
        return f"{self.task.fn.__module__}.{self.task.fn.__qualname__}"


class Ended:
    """A task that has run."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def result(self, timeout: float | None = None) -> Any:
        """Return what the task returned."""
        return self._value


@dataclass
class DirectWork:
    """Runs tasks where they are submitted, and remembers every call."""

    calls: list[Call] = field(default_factory=list)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    shares: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    lines: list[tuple[int, str]] = field(default_factory=list)

    def call(self, task: Any, arguments: tuple[Any, ...]) -> Any:
        result = task.fn(*arguments)
        self.calls.append(Call(task, arguments, result))
        return result

    def submit(self, task: Any, arguments: tuple[Any, ...]) -> Ended:
        return Ended(self.call(task, arguments))

    def completed(self, futures: Sequence[Any], timeout: float) -> Iterator[Any]:
        yield from futures

    def meter(self, description: str) -> Callable[[float, str], None]:
        def show(share: float, text: str) -> None:
            self.shares.append(share)
            self.texts.append(text)

        return show

    def table(self, key: str, rows: list[dict[str, Any]], description: str) -> None:
        self.tables[key] = rows

    def log(self, level: int, text: str) -> None:
        self.lines.append((level, text))


class CountedDisplay(PlainDisplay):
    """Plain lines; a stage may not have more parts than it announced."""

    def bar(self, name: str, pace: Pace) -> Bar:
        return CountedBar(self, name, pace)


class CountedBar(PlainBar):
    """A bar that refuses to run over its end."""

    def advance(self) -> None:
        super().advance()
        assert self._pace.done <= self._pace.total, f"stage '{self._name}' announced {self._pace.total} parts and has more"


def run_of(values: dict[str, Any] | Spec, workspace: Path) -> Run:
    """Return a run of a SPEC whose workspace is a folder."""
    return Run(
        spec=Spec.model_validate(values), workspace=f"file://{workspace}", id="20260101T000000Z-direct", created="2026-01-01T00:00:00Z"
    )


def directly(flow: Any, *arguments: Any, work: DirectWork | None = None) -> tuple[Any, DirectWork]:
    """Do the work of a flow in this process; return its reply and what it submitted."""
    work = work or DirectWork()
    Stages._current = Stages(CountedDisplay(), work=work)
    try:
        return _reply(flow.fn(*arguments)), work
    finally:
        Stages._current = None


def _reply(ending: Any) -> Any:
    """Take the reply out of the state that a run ends in where nothing was published."""
    held = ending.data if isinstance(ending, State) else ending
    return held.reply if isinstance(held, GateFailed) else held
