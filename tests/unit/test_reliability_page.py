"""Every row of docs/reliability.md names a test that is there, and says whether it is slow; the on-call page quotes what the code says."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
RELIABILITY = (ROOT / "docs/reliability.md").read_text()
ON_CALL = (ROOT / "docs/on-call.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
CODES = {"0", "1", "2", "4", "5", "6", "130", "137", "143"}


class Row(NamedTuple):
    event: str
    seen: str
    code: str
    test: str


def rows(page: str) -> list[Row]:
    """Return the rows of the page's tables of four columns."""
    found = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    return [Row(*cells) for cells in found if len(cells) == 4 and cells[0] not in ("event", "---")]


@functools.cache
def functions(path: str) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}


def is_slow(path: str, name: str) -> bool:
    """Return whether all of a test's cases are slow."""
    text = (ROOT / path).read_text()
    return "pytest.mark.slow" in {ast.unparse(each) for each in functions(path)[name].decorator_list} or bool(
        re.search(r"^pytestmark = .*mark\.slow", text, re.MULTILINE)
    )


def test_the_matrix_is_as_large_as_promised() -> None:
    found = rows(RELIABILITY)
    named = {pair for row in found for pair in NAMED.findall(row.test)}
    assert len(found) >= 30
    assert len(named) >= 30
    assert sum(not is_slow(*pair) for pair in named) >= 10


@pytest.mark.parametrize("row", rows(RELIABILITY), ids=lambda row: row.event[:60])
def test_each_row_names_tests_that_are_there(row: Row) -> None:
    named = NAMED.findall(row.test)
    assert named or row.test == "the same"
    for path, name in named:
        assert name in functions(path), f"{path} has no {name}"
        if is_slow(path, name):
            assert "(slow)" in row.event, f"{name} is slow"
    assert all(code.strip() in CODES or row.code == "of the first" for code in row.code.split(","))


def test_each_fault_test_stands_in_the_page() -> None:
    """Tests that only look at the product's own lists are left out."""
    inner = {"tests/faults/test_infrastructure.py", "tests/faults/test_workspaces.py", "tests/faults/test_kills.py"}
    named = set(NAMED.findall(RELIABILITY))
    for path in sorted((ROOT / "tests/faults").glob("test_*.py")):
        relative = path.relative_to(ROOT).as_posix()
        if relative in inner:
            continue
        unlisted = [name for name in functions(relative) if name.startswith("test_") and (relative, name) not in named]
        few = {"test_the_grace_is_less_than_what_is_promised", "test_lines_of_failed_requests_are_counted_and_loggers_left_as_they_were"}
        few |= {
            "test_a_worker_that_sees_everything",
            "test_a_local_cluster_grows_with_its_work",
            "test_how_many_workers_a_cluster_may_have",
        }
        assert set(unlisted) <= few, relative


# -- on call -----------------------------------------------------------------------------------------------------------
@functools.cache
def templates() -> list[str]:
    """Return every text of the code, with ``…`` for what is filled in."""
    found = []
    for package in ("infra", "flows", "tasks", "waymint"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(str(each.value) if isinstance(each, ast.Constant) else "…" for each in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


def quoted(page: str) -> list[str]:
    """Return the messages that the page quotes: the first cell of each row, in code."""
    cells = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| `")]
    return [cell.strip("`") for cell in cells]


def test_the_code_says_what_the_on_call_page_quotes() -> None:
    messages, known = quoted(ON_CALL), templates()
    assert len(messages) >= 20
    assert [message for message in messages if not any(message in text for text in known)] == []


def test_a_message_that_nobody_says_is_seen() -> None:
    assert not any("scheduler of engine.dask must be kind" in text for text in templates())


def test_every_message_of_the_infrastructure_stands_on_the_on_call_page() -> None:
    """Whoever adds an error of exit code 6 says there what to do about it."""
    messages = quoted(ON_CALL)
    for path in ("infra/cluster.py", "infra/faults.py", "infra/prefect_server.py"):
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InfrastructureError":
                text = "".join(str(each.value) if isinstance(each, ast.Constant) else "…" for each in node.args[0].values)
                assert any(message in text for message in messages), text
