"""The augmentation's report and its section of the SPEC."""

from __future__ import annotations

import re

import pytest

from tasks.augmentation.page import headline, render, verdict
from tasks.contract.errors import SpecError
from tasks.contract.spec import parse_spec
from tasks.contract.spec.augment import AugmentSpec
from tests.augmented import HOSTILE, manifest


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
