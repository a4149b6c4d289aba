"""The augmentation's report and its section of the SPEC."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tasks.augmentation.page import headline, render, verdict
from tasks.contract.errors import SpecError
from tasks.contract.spec import parse_spec
from tasks.contract.spec.augment import AugmentSpec

HOSTILE = "<script>alert(1)</script>"


def point(rows: int, error: float) -> dict[str, Any]:
    return {
        "level": rows / 100,
        "rows": rows,
        "share": rows / (rows + 100),
        "shift": -0.01,
        "noise": error / 2,
        "borrowed": error / 2,
        "conflict": 0.0,
        "covariates": 0.0001,
        "gain": 0.001,
        "error": error,
    }


def rival(name: str, error: float | None) -> dict[str, Any]:
    known = None if error is None else 0.4
    return {"name": name, "estimate": known, "se": known, "shift": known, "error": error, "detail": f"how {name} is done"}


def estimate(name: str, estimand: str = "ate") -> dict[str, Any]:
    return {
        "estimand": estimand,
        "estimator": name,
        "estimate": 0.4,
        "se": 0.1,
        "ci_low": 0.2,
        "ci_high": 0.6,
        "n": 100,
        "ess": 90.0,
        "clipped": 0.0,
    }


def manifest(published: bool = True) -> dict[str, Any]:
    before = [estimate("or"), estimate("tmle"), estimate("aipw", "ato")]
    told = {
        "outcome": {"source": HOSTILE, "rows": 1_000, "fingerprint": "f", "flip": 0.1, "adds_information": True},
        "averaging": "real",
        "marker": "waymint_added",
        "bound": 0.03,
        "lacking": {"treated": 60, "control": 3, "rows": 100},
        "regions": [{"arm": 1, "words": "age > 61", "rows": 140, "of_arm": 2, "lacking": 130, "sentence": "age > 61: 2 treated of 140"}],
        "curve": [point(rows, 0.01 / rows) for rows in (1, 4, 20, 100, 400)],
        "chosen": point(100, 0.0001),
        "conflict": {"change": -0.1, "se": 0.02, "chance": 0.001, "squared": 0.0096},
        "rivals": [rival("augment", 0.001), rival("nothing", 0.01), rival("trimming", None), rival("pooling", 0.002)],
        "worth": 0.5,
        "tolerance": 1.1,
        "estimates": {"before": before, "after": before if published else None, "other_averaging": before if published else None},
        "rows": 100 if published else None,
        "treated": 90 if published else None,
    }
    gate = {"name": "worth", "value": 0.5, "threshold": 1.1, "rule": "at most", "passed": True, "status": "passed", "detail": "seen"}
    return {
        "name": "filled",
        "version": 1 if published else None,
        "created": "2026-11-22T06:00:00+00:00",
        "run": "r",
        "source": {"uri": "s", "rows": 100},
        "spec": {"augment": {"leaf": 20}},
        "warnings": ["be warned"],
        "gates": [gate],
        "augmentation": told,
    }


@pytest.mark.parametrize("published", [True, False])
def test_the_page_is_whole_and_stands_alone(published: bool) -> None:
    page = render(manifest(published), "published" if published else "rejected").decode()
    assert "age &gt; 61: 2 treated of 140" in page
    assert HOSTILE not in page
    assert "The two tables disagree" in page
    assert "be warned" in page
    for words in ("augmenting", "doing nothing", "trimming", "pooling the other table"):
        assert words in page
    assert page.count("<polyline") == 5
    assert ("No row was made" in page) is not published
    assert not re.search(r'(src|href)="|url\(|@import', page)
    assert "nan" not in page[page.index("<main>") :].lower().replace("governance", "")
    assert render(manifest(published), "published" if published else "rejected").decode() == page


def test_the_verdict_compares_with_the_best_other_way() -> None:
    told = manifest()["augmentation"]
    assert verdict(told) == (
        "Augmenting is expected to err less than pooling the other table: squared error 0.001 against 0.002, the least of 2 other ways."
    )
    told["rivals"][0]["error"] = 0.002
    assert "no less than pooling" in verdict(told)


def test_the_heading_says_what_was_found() -> None:
    made = manifest()
    assert headline(made, "published").startswith("100 rows were added. Augmenting is expected to err less")
    made["augmentation"]["rows"] = 1
    assert headline(made, "published").startswith("1 row was added.")
    refused = manifest(published=False)
    assert headline(refused, "rejected").startswith("No row was added: it is not worth it.")
    refused["gates"] = [gate | {"name": "near_copies", "passed": False} for gate in refused["gates"]]
    assert headline(refused, "rejected") == "Nothing was published: 1 gate failed (Near copies)."
    page = render(manifest(), "published").decode()
    assert "<h2>1 region lacks an arm</h2>" in page
    assert "<h2>Least expected error: augmenting</h2>" in page
    assert "<h2>TMLE moves from 0.4 (SE 0.1) to 0.4 (SE 0.1)</h2>" in page
    assert "<h2>No gate failed</h2>" in page


def test_one_number_stands_for_one_thing() -> None:
    """Rows that were drawn replace the planned number everywhere; errors are written until they differ."""
    made = manifest()
    made["augmentation"]["rows"] = 97
    page = render(made, "published").decode()
    assert "97 rows added" in page
    assert "100 added rows" not in page
    told = made["augmentation"]
    told["rivals"][0]["error"], told["rivals"][3]["error"] = 0.0012344, 0.0012341
    assert "squared error 0.0012344 against 0.0012341" in verdict(told)


def test_the_section_has_defaults_and_bounds() -> None:
    assert AugmentSpec().outcome == "self"
    base = {"name": "x", "source": {"uri": "s"}, "roles": {"treatment": "a", "outcome": "y"}}
    assert parse_spec(base | {"augment": {"worth": False}}).augment.worth is False
    for key, value in (("most", 1.0), ("flip", 0.6), ("averaging", "both"), ("draws", 1), ("worth", 0.0), ("leaf", 5)):
        with pytest.raises(SpecError, match=f"augment.{key}"):
            parse_spec(base | {"augment": {key: value}})
    with pytest.raises(SpecError) as wrong:
        parse_spec(base | {"augment": {"averagin": "real"}})
    assert "Did you mean 'averaging'" in wrong.value.hint
