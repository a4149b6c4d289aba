"""What all pages stand on: the template, drawings, scales and formats."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from tasks.pages.axis import Axis, LogAxis
from tasks.pages.numbers import count, percent, plural, seconds
from tasks.pages.svg import SHAPES, bar, drawing, element, mark
from tasks.pages.template import fill
from tests.paging import PAGES

STYLE = (Path(__file__).parents[2] / "tasks/pages/style.css").read_text("utf-8")
TASKS = Path(__file__).parents[2] / "tasks"


def test_a_steps_template_stands_on_the_base_and_misses_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.html.j2").write_text('{% extends "base.html.j2" %}{% block content %}{{ title }} {{ 2 | plural("row") }}{% endblock %}')
    page = fill(tmp_path, "x.html.j2", title="<b>").decode()
    assert "&lt;b&gt; 2 rows" in page
    assert STYLE.strip() in page
    with pytest.raises(UndefinedError):
        fill(tmp_path, "x.html.j2")


def test_there_is_one_stylesheet_and_one_page_frame() -> None:
    assert [path.name for path in TASKS.rglob("*.css")] == ["style.css"]
    frames = ("<style", "<!doctype", "<svg")
    own = [path.name for path in TASKS.rglob("*.j2") if any(each in path.read_text("utf-8").lower() for each in frames)]
    assert own == ["base.html.j2"]
    filling = [path.name for path in TASKS.rglob("*.py") if "from jinja2" in path.read_text("utf-8")]
    assert filling == ["template.py"]


@pytest.mark.parametrize("name", PAGES)
def test_every_class_of_a_page_has_a_style(name: str) -> None:
    body = PAGES[name]().decode().partition("<main")[2]
    used = {each for names in re.findall(r'class="([^"]+)"', body) for each in names.split()}
    # Great Expectations names classes of its own; marks of places have none
    foreign = {"alert", "alert-secondary", "table", "metrics", "docs", "tick", "seen"}
    styled = set(re.findall(r"\.([a-z][a-z0-9-]*)", STYLE))
    assert used - styled - foreign <= {"fas", "text-success", "text-danger"}


def test_scales_run_from_end_to_end() -> None:
    across = LogAxis(10.0, 1000.0, 0.0, 100.0)
    assert [across.at(value) for value in (1.0, 10.0, 100.0, 1e6)] == pytest.approx([0.0, 0.0, 50.0, 100.0])
    assert Axis(-1.0, 1.0, 100.0, 0.0).at(0.5) == pytest.approx(25.0)


def test_drawings_are_escaped_and_named() -> None:
    svg = drawing(10.0, 5.0, 'a "b" <c>', [bar(0.0, 0.0, 1.04, math.pi, "x"), element("text", "<i>")])
    assert isinstance(svg, Markup)
    assert 'aria-label="a &#34;b&#34; &lt;c&gt;"' in svg
    assert "&lt;i&gt;" in svg
    assert 'width="1" height="3.1"' in svg
    assert len({re.sub(r"\bclass=.*", "", str(mark(shape, 5.0, 5.0, 8.0, "m"))) for shape in range(len(SHAPES))}) == len(SHAPES)
    assert mark(0, 1.0, 1.0, 4.0, "m") == mark(len(SHAPES), 1.0, 1.0, 4.0, "m")


def test_counts_have_their_nouns() -> None:
    assert [plural(number, "row") for number in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]
    assert plural(2, "row was", "rows were") == "2 rows were"
    assert count(-1234) == "−1,234"
    assert [percent(0.946, 1), percent(0.5, 1), percent(0.946)] == ["94.6 %", "50.0 %", "95 %"]
    assert [seconds(value) for value in (None, 0.123, 45.67, 1234.5)] == ["–", "0.12", "45.7", "1,234"]
