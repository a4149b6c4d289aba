"""The simulation's page: what it concludes, and that it stands alone."""

import functools
import re
import xml.etree.ElementTree as ET

import pytest

from tasks.simulation.advice import advice
from tasks.simulation.answers import to_table
from tasks.simulation.figures import figures, places
from tasks.simulation.page import headlines, number, render
from tasks.simulation.plots import chart, lines, round_numbers
from tasks.simulation.population import source_of, truths
from tasks.simulation.replicate import replicates
from tasks.simulation.stability import same_winner, stability
from tests.simulating import CELL, method, population


@functools.cache
def record() -> dict:
    """The record of a small simulation: two sizes, an effect and none, one refit."""
    grid = [CELL._replace(n=n, effect_scale=scale) for n in (60, 200) for scale in (1.0, 0.0)]
    own, ranked, known = [], [], []
    for draw in (0, 1):
        sources = [source_of(population(), cell) for cell in grid]
        known = [truths(source) for source in sources]
        tables = [
            to_table(cell.key, draw, replicates(source, method("or", "tmle", "att"), cell, 0, draw, range(8)))
            for cell, source in zip(grid, sources)
        ]
        own.append([row for cell, table, truth in zip(grid, tables, known) for row in figures(table, [cell], [truth])])
        ranked.append([place for cell, table, truth in zip(grid, tables, known) for place in places(table, [cell], [truth], 0)])
    for row in own[0]:
        row["seconds"], row["seconds_mcse"] = 0.01, 0.001
    ate = known[0]["ate"]
    return {
        "name": "tri<al>", "id": "20260101T000000Z-00000000", "created": "2026-01-01T00:00:00+00:00", "seed": 1,
        "source": {"uri": "x.csv", "fingerprint": "f", "rows": 800}, "parents": [], "cautions": [], "pool": 4_000,
        "truth": ate.value, "truth_se": ate.se, "truths": [ate._asdict()] * 2, "rows": own[0], "ranking": ranked[0],
        "recommendation": advice(own[0], 0.8), "stability": stability(own[0], own[1:]),
        "same_winner": same_winner({cell.key: "tmle" for cell in grid}, [{cell.key: "tmle" for cell in grid}]),
        "speed": {"replicates": 64, "timed": 64, "seconds": 0.01},
    }  # fmt: skip


def test_the_page_shows_every_cell_and_needs_nobody() -> None:
    given = record()
    page = render(given).decode()
    assert not re.search(r'(src|href)="|https?://|@import|<script', page)
    assert "tri&lt;al&gt;" in page
    assert "<al>" not in page
    for row in given["rows"]:
        assert f'id="cell-{row["cell"]}"' in page
    assert page.count("<h2>Over sample sizes") == 2
    assert "no effect" in page
    for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(drawing)
    assert render(given) == page.encode()


def test_conclusions_follow_the_figures() -> None:
    given = record()
    said = headlines(given)
    assert len(said) == 2  # cells with an effect
    assert all(text.startswith(each["title"]) for text, each in zip(said, [r for r in given["recommendation"] if r["truth"]]))
    assert headlines(given | {"recommendation": []}) == [
        "No estimator of the ATE answered in any cell: bring more rows, or relieve overlap."
    ]
    bad = {**given["recommendation"][0], "sound": False, "coverage": 0.5}
    assert "no estimator covers the truth in 92.5 %" in headlines(given | {"recommendation": [bad]})[0]
    assert 'class="verdict off"' in render(given | {"recommendation": [bad]}).decode()
    none = {**given["recommendation"][0], "truth": 0.0, "type1_error": 0.06, "sound": True}
    assert "found where there is none in 6.0 %" in headlines(given | {"recommendation": [none]})[0]


def test_a_cell_where_all_failed_is_shown_without_numbers() -> None:
    given = record()
    blank = {name: None for name in given["rows"][0] if name.endswith("_mcse")} | dict.fromkeys(
        ("truth", "bias", "variance", "rmse", "coverage", "ci_width", "power", "se_ratio", "ess", "seconds", "estimand")
    )
    rows = [row | blank | {"failures": 1.0} if row["estimator"] == "tmle" else row for row in given["rows"]]
    assert "failed in 100.0 %" in render(given | {"rows": rows, "ranking": [], "stability": []}).decode()


def test_places_lie_inside_the_drawing() -> None:
    rows = [{"bias": value, "bias_mcse": 0.1, "n": n, "estimator": "tmle"} for value, n in ((-3.0, 100), (2.0, 400))]
    first, second = lines(rows, "bias", 0.0)
    assert first.at is not None
    assert second.at is not None
    assert first.guide is not None
    assert 0 < first.low < first.at < first.high < first.guide < second.at < second.high < 220
    drawn = chart(rows, "bias", "bias")
    assert drawn is not None
    (left, upper), (right, lower) = drawn.curves[0].points
    assert left < right
    assert upper > lower  # -3 lies below 2, and y counts downwards
    assert chart(rows[:1], "bias", "bias") is None
    assert round_numbers(0.0, 0.89) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    assert round_numbers(-1.1, 3.2) == [-1.0, 0.0, 1.0, 2.0, 3.0]
    assert [number(value) for value in (None, 0, 0.12345, 12_345.6, 1e-7)] == ["–", "0", "0.123", "12,346", "1.0e-07"]
