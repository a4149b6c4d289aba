"""The simulation's page: what it concludes, and that it stands alone."""

import re
import xml.etree.ElementTree as ET

from tasks.simulation.page import headlines, render
from tasks.simulation.plots import HEIGHT, LINE_WIDTH, WIDTH, chart, lines
from tasks.simulation.reading import lines as reading_lines
from tests.simulated import record


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
    assert (
        "type-1 error 6.0 % (an effect is found where there is none), where 5 % is meant"
        in headlines(given | {"recommendation": [none]})[0]
    )


def test_a_cell_where_all_failed_is_shown_without_numbers() -> None:
    given = record()
    blank = {name: None for name in given["rows"][0] if name.endswith("_mcse")} | dict.fromkeys(
        ("truth", "bias", "variance", "rmse", "coverage", "ci_width", "power", "se_ratio", "ess", "seconds", "estimand")
    )
    rows = [row | blank | {"failures": 1.0} if row["estimator"] == "tmle" else row for row in given["rows"]]
    assert "failed in 100 %" in render(given | {"rows": rows, "ranking": [], "stability": []}).decode()


def test_drawings_keep_to_their_frames_and_tell_equal_curves_apart() -> None:
    rows = [
        {"bias": value, "bias_mcse": 0.1, "n": n, "estimator": name}
        for name in ("tmle", "adaptive")
        for value, n in ((-3.0, 100), (2.0, 400))
    ]
    for each in lines(rows, "bias", 0.0):
        for part in ET.fromstring(each).iter():
            assert all(0.0 <= float(part.get(name)) <= LINE_WIDTH for name in ("x1", "x2", "cx") if part.get(name))
    svg = chart(rows, "bias", "bias", 0.0)
    assert svg is not None
    curves = [each for each in ET.fromstring(svg).iter() if each.get("class", "").startswith("curve")]
    assert [each.get("class") for each in curves] == ["curve s0", "curve s1"]
    places = [[tuple(map(float, point.split(","))) for point in each.get("points").split()] for each in curves]
    assert places[0] != places[1]  # equal figures stand beside one another
    assert [y for _, y in places[0]] == [y for _, y in places[1]]
    (left, upper), (right, lower) = places[0][0], places[0][1]
    assert left < right
    assert upper > lower  # -3 lies below 2, and y counts downwards
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for curve in places for x, y in curve)
    assert chart(rows[:1], "bias", "bias") is None


def test_where_there_is_no_effect_it_is_a_type_1_error_with_its_line() -> None:
    given = record()
    page = render(given).decode()
    scenario = page[
        page.index("Over sample sizes: design randomized, no effect")
        if "design randomized, no effect" in page
        else page.index("no effect") :
    ]
    assert "type-1 error (5 % is meant)" in scenario
    null = next(row["cell"] for row in given["rows"] if row["effect_scale"] == 0.0)
    section = page[page.index(f'id="cell-{null}"') :].split("</section>")[0]
    assert ">power<" not in section
    assert ">type-1 error<" in section
    assert "In the one refit of the law the same estimator" in page
    assert "% of the refits" not in page


def test_the_terminal_calls_it_a_type_1_error_too() -> None:
    given = record() | {"uri": "file:///s/trial/simulations/x"}
    text = reading_lines(given)
    heads = {text[at - 1]: line for at, line in enumerate(text) if line.startswith("estimator ")}
    assert len(heads) == 4
    for title, line in heads.items():
        assert ("type-1" in line.split()) == ("no effect" in title)
        assert ("power" in line.split()) == ("no effect" not in title)
    assert sum("5% is meant" in line for line in text) == 2
