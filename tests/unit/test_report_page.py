"""The page: self-contained, escaped, deterministic, and saying what a reader must know."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from tasks.report.ledger import targeting_sentence
from tasks.report.page import render
from tests.reporting import HOSTILE, Page, estimate, gate, manifest, pictures, schema, section

ASSETS = {"src", "href", "data", "srcset", "poster", "action", "background", "xlink:href", "style"}


def page(status: str = "published", kind: str = "continuous", **changes: object) -> bytes:
    like = schema(kind)
    return render(manifest(like, **changes), pictures(like), status)


@pytest.mark.parametrize("kind", ["continuous", "binary", "count"])
def test_nothing_is_loaded_or_run(kind: str) -> None:
    found = Page(page(kind=kind))
    assert not {"script", "iframe", "object", "embed", "link", "img", "base", "form"} & set(found.tags)
    used = [each for each in found.attributes if each[1] in ASSETS or each[1].startswith("on")]
    assert [each for each in used if not (each[:2] == ("a", "href") and each[2].startswith("#"))] == []
    targets = {value for _, name, value in found.attributes if name == "id"}
    assert {value[1:] for tag, name, value in used} <= targets
    policy = [value for tag, name, value in found.attributes if tag == "meta" and name == "content"]
    assert any(value.startswith("default-src 'none'") for value in policy)
    assert not re.search(rb"url\s*\(|@import|https?://", page(kind=kind))


def test_hostile_names_are_words() -> None:
    warned = page(warnings=[f"column '{HOSTILE}' is odd"])
    found = Page(warned)
    assert HOSTILE in found.text
    assert "arm <b>" in found.text
    assert f"{HOSTILE}=<b>" in found.text
    assert "/data/<img src=x>.csv" in found.text
    assert "<u>drug</u> (treated)" in found.text.replace("…", "") or "<u>drug</u> (tre" in found.text
    assert not {"script", "img", "u", "i"} & (set(found.tags) - {"i"})
    assert sum(tag == "i" for tag in found.tags) == warned.count(b"<i class=")


def test_the_pictures_are_well_formed() -> None:
    pictures_found = re.findall(r"<svg.*?</svg>", page().decode(), flags=re.DOTALL)
    assert len(pictures_found) > 15
    for each in pictures_found:
        root = ET.fromstring(each)
        assert root.attrib["aria-label"]
        width, height = (float(value) for value in root.attrib["viewBox"].split()[2:])
        for bar in root.iter("rect"):
            x, y, w, h = (float(bar.attrib[name]) for name in ("x", "y", "width", "height"))
            assert w >= 0
            assert h >= 0
            assert -0.1 <= x <= x + w <= width + 0.1
            assert -0.1 <= y <= y + h <= height + 0.1


def test_the_same_facts_give_the_same_bytes() -> None:
    assert page() == page()
    assert page() != page(version=4)


def test_a_published_release_says_so_and_shows_its_effect() -> None:
    text = Page(page()).text
    assert "Published: all 3 gates passed." in text
    assert "1.2100 known exactly" in text
    assert "1.260 95 % interval 1.064 to 1.456" in text
    assert "5 November 2026, 07:08 UTC" in text
    for words in ("Sampling error of the source", "Contrast term", "Covariate-law term", "Monte-Carlo error", "TSTR"):
        assert words in text
    assert "Switched off" not in text
    assert "Warnings" not in text


def test_the_interval_with_the_sources_error_stands_beside_the_releases_own() -> None:
    effects = manifest(schema())["effects"]
    effects["release"]["combined"] = [estimate("ate", "tmle", 1.31, 0.11, 2000)]
    text = Page(page(effects=effects)).text
    assert "1.212 to 1.408 for the release's own effect; 1.094 to 1.526 with the source's sampling error" in text


def test_a_rejected_release_names_gate_value_and_bound() -> None:
    gates = [gate("near_copies"), gate("fidelity", "failed", "ATE 3 against 1"), gate("min_arm", "refused")]
    text = Page(page("rejected", version=None, gates=gates)).text
    assert "Rejected: 2 of 3 gates failed. Nothing was published and no synthetic row was kept." in text
    first = text[: text.index("What was asked for")]
    assert "Effect kept" in first
    assert "0.5 must be at least 0.4" in first
    assert "ATE 3 against 1" in first
    assert "too little data" in first
    assert "Near copies" not in first
    assert "How to read it" not in text


def test_gates_that_are_off_and_warnings_stand_at_the_top() -> None:
    text = Page(page(gates=[gate("near_copies"), gate("fidelity", "off")], warnings=["outcome has two values"])).text
    top = text[: text.index("What was released")]
    assert "the gate that was on passed" in top
    assert "Switched off: Effect kept" in top
    assert "outcome has two values" in top
    assert "switched off" in text[text.index("Gates") :]


def test_all_gates_off_is_no_pass() -> None:
    assert "Published without a check" in Page(page(gates=[gate("fidelity", "off")])).text


def test_a_baseline_has_no_built_in_effect_and_copies_are_listed() -> None:
    like = schema()
    spec = manifest(like)["spec"]
    both = [estimate("ate", "tmle", 1.31, 0.14, 99)]
    effects = {
        "source": section(1.2, 0.1, 1000),
        "release": {**section(1.3, 0.1, 99), "copies": [section(1.3, 0.1, 99)] * 2, "combined": both},
        "truth": None,
    }
    spec = {**spec, "release": {"rows": 99, "copies": 2, "mode": "full", "draws": "iid"}}
    text = Page(page(effects=effects, spec=spec)).text
    assert "built into the release" not in text.lower().replace("against the effect built into them", "")
    assert "full (baseline)" in text
    assert "99 × 2 copies" in text
    assert " at 0x" not in text
    assert "all copies, with the source's error 1.31 0.14 1.04 to 1.58" in text
    assert "Copies Each copy redraws" in text
    assert "copy 0 1.36 0.10 1.16 to 1.56 copy 1 1.36" in text


def test_a_source_without_distances_or_with_one_column_is_drawn() -> None:
    like = schema()
    few = {**pictures(like), "distances": None, "marginals": pictures(like)["marginals"][-1:]}
    text = Page(render(manifest(like), few, "published")).text
    assert "Distance to the closest real record" not in text


def test_many_columns_are_cut_and_the_page_says_so() -> None:
    like = schema()
    drawn = pictures(like)
    covariate = next(row for row in drawn["marginals"] if row["role"] == "covariate")
    many = {**drawn, "marginals": [{**covariate, "name": f"lab {place}", "distance": place / 100} for place in range(75)]}
    text = Page(render(manifest(like), many, "published")).text
    assert "15 more columns differ less" in text
    assert "lab 74" in text
    assert "lab 14 " not in text


def test_the_ledger_says_how_far_targeting_went() -> None:
    far = {"bound": 0.28, "full": 0.02, "price": 2.4, "change": -0.03, "change_se": 0.028, "excess": 0.0, "reason": "no bias seen"}
    text = targeting_sentence({"targeting": [far]})
    assert "overlap is poor" in text
    assert "0.28 instead of 0.02" in text
    assert "no sign" in text
    assert "showed bias" in targeting_sentence({"targeting": [far | {"reason": "bias of stronger truncation seen"}]})
    assert targeting_sentence({"targeting": [far | {"estimand": "att"}]}).startswith("Q was targeted at the ATT alone")
    near = targeting_sentence({"targeting": [far | {"bound": 0.02, "price": 1.1, "reason": "overlap suffices"}]})
    assert "targeted in full" in near
    assert targeting_sentence({}) == ""


def test_balanced_draws_and_further_truths_are_told() -> None:
    like = schema("continuous")
    values = manifest(like)
    values["spec"]["release"]["draws"] = "balanced"
    others = [{"estimand": "att", "value": 1.5, "mc_se": 0.01}, {"estimand": f"gate[{HOSTILE}=1]", "value": 2.0, "mc_se": 0.02}]
    values["effects"]["truth"]["others"] = others
    written = render(values, pictures(like), "published")
    assert "drawn balanced" in " ".join(Page(written).text.split())
    assert "Effects built into the release" in Page(written).text
    assert HOSTILE not in written.decode()


def test_a_published_report_says_where_audits_lie_and_shows_attacks_that_were_gates() -> None:
    values = manifest(schema())
    page = Page(render(values, pictures(schema()), "published"))
    assert "No attack was a gate of this release" in page.text
    assert "trial/audits/v000003/" in page.text
    assert ("a", "href", "#audits") in page.attributes
    values["gates"].append(gate("membership_auc"))
    shown = Page(render(values, pictures(schema()), "published")).text
    assert "No attack was a gate" not in shown
    assert shown.count("Area under the curve of telling training rows from held-out rows") == 2  # with all gates, and here
    rejected = Page(render(manifest(schema(), version=None), pictures(schema()), "rejected"))
    assert "audits/" not in rejected.text
