"""Mutations of a source: one of each kind, where none may be, and sources that still parse."""

from __future__ import annotations

import ast

import pytest

from benchmarks.mutations import mutations


def changed(source: str) -> set[str]:
    found = [mutation.of(source.encode()).decode() for mutation in mutations(source)]
    for text in found:
        ast.parse(text)
        assert text != source
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", {"x = (a <= b)", "x = (a >= b)"}),
        ("x = a == b", {"x = (a != b)"}),
        ("x = a is not b", {"x = (a is b)"}),
        ("x = a in b", {"x = (a not in b)"}),
        ("x = a + b", {"x = (a - b)"}),
        ("x = a * b ** c", {"x = (a / b ** c)", "x = a * (b * c)"}),
        ("x = 2", {"x = (3)", "x = (1)"}),
        ("x = -a", {"x = (a)"}),
        ("x = True", {"x = (False)"}),
        ("x = a and b", {"x = (a or b)"}),
        ("x = a if b else c", {"x = (a if not b else c)"}),
        ("if a:\n    b = c", {"if (not a):\n    b = c"}),
        ("while not a:\n    b = c", {"while (a):\n    b = c"}),
        ("def f():\n    return x", {"def f():\n    return None"}),
        ("f(x)", {"pass"}),
        ("x += y", {"pass"}),
        ("for x in y:\n    break", {"for x in y:\n    pass"}),
        ('x = "é" + f(a - b)', {'x = "é" + f((a + b))'}),
    ],
)
def test_one_mistake_at_a_time(source: str, expected: set[str]) -> None:
    assert changed(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A text of 3 words."""',
        "import a",
        "from a import b",
        "@f(1)\ndef g(x: int) -> Literal[1]:\n    pass",
        "x: Literal[2] = y",
        'x = f"{a + 1}"',
        "if TYPE_CHECKING:\n    x = 1",
        "def f():\n    return None",
        'x = "a" + b',
    ],
)
def test_where_no_mistake_is_made(source: str) -> None:
    assert changed(source) == set()


def test_names_tell_place_and_change_and_equal_ones_apart() -> None:
    source = "class A:\n    def f(self):\n        x = 1 + 1\n        return x\n"
    names = [mutation.name for mutation in mutations(source)]
    assert names == [
        "A.f: 1 + 1 -> 1 - 1",
        "A.f: 1 -> 2",
        "A.f: 1 -> 0",
        "A.f: 1 -> 2 (2)",
        "A.f: 1 -> 0 (2)",
        "A.f: return x -> return None",
    ]
