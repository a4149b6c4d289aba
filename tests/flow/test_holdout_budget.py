"""One holdout, several releases: what is counted in the store, what it costs, and what is said when it is spent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.releasing import files, parts, save, spec_of


def gates(answer):
    return {gate["name"]: gate for gate in answer.json()["manifest"]["gates"]}


def ledger(store: Path) -> list[dict[str, object]]:
    return [json.loads((store / path).read_text()) for path in files(store) if path.startswith("_holdouts/")]


@pytest.mark.slow
def test_a_holdout_is_charged_by_fails_whatever_the_release_is_called_and_then_says_nothing(waymint, source: Path, tmp_path: Path) -> None:
    store, spec = tmp_path / "store", tmp_path / "spec.yaml"
    budget = {"holdout_budget": 1}

    def run(**settings):
        return waymint("release", save(spec_of(source, store, gates=budget, **settings), spec), "--json")

    # an honest release asks and costs nothing
    good = run(name="honest")
    assert good.code == 0, good.err
    section = good.json()["manifest"]["privacy"]["holdout"]
    assert (section["left"], section["charged"], section["asked_before"], section["repeated"]) == (1, False, 0, False)
    assert gates(good)["holdout_query"]["outcome"] == "pass"
    before = parts(store, "honest")

    # a copy fails, and is charged
    bad = run(covariates__synthesizer="bootstrap", name="copied")
    assert bad.code == 3
    assert gates(bad)["holdout_query"]["value"] > gates(bad)["holdout_query"]["threshold"]
    assert bad.json()["manifest"]["privacy"]["holdout"]["charged"]
    assert [entry["charged"] for entry in ledger(store)] == [False, True]

    # spent: a third release is refused under any name, and no number of the holdout is given
    third = run(release__rows=520, name="another")
    assert third.code == 3
    found = gates(third)
    assert (found["holdout_budget"]["value"], found["holdout_budget"]["status"]) == (0.0, "failed")
    asked = ("near_copies", "exact_copies", "closeness_z", "closeness_excess", "closeness_groups", "dcr_margin", "holdout_query")
    assert {(found[name]["status"], found[name]["value"]) for name in asked} == {("refused", None)}
    assert "another seed" in third.err
    assert len(ledger(store)) == 2

    # the first release once more, under the same name: its question is known, so are its answer and its bytes
    again = run(name="honest")
    assert again.code == 0, again.err
    assert again.json()["version"] == 2
    assert again.json()["manifest"]["privacy"]["holdout"]["repeated"]
    assert parts(store, "honest", 2) == before
    assert len(ledger(store)) == 2

    # another seed is another holdout, and the manifest says that it is not the first
    fresh = run(release__rows=520, name="another", seed=8)
    assert fresh.code == 0, fresh.err
    section = fresh.json()["manifest"]["privacy"]["holdout"]
    assert (section["left"], section["splits"], section["splits_charged"]) == (1, 2, 1)
    assert any("2 different holdouts" in text for text in fresh.json()["manifest"]["warnings"])

    # counting switched off is said so
    budget["holdout_budget"] = False
    off = run(release__rows=520, name="another", seed=8)
    assert off.code == 0, off.err
    assert {gates(off)[name]["outcome"] for name in ("holdout_budget", "holdout_query")} == {"off"}
    assert "holdout" not in off.json()["manifest"]["privacy"]


@pytest.mark.slow
def test_gates_on_attacks_run_the_attacks_first(waymint, source: Path, tmp_path: Path) -> None:
    store, spec, off = tmp_path / "store", tmp_path / "spec.yaml", ("near_copies", "exact_copies", "closeness_z", "dcr_margin")
    more = ("closeness_excess", "closeness_groups", "isolated_rows", "holdout_budget")
    limits = {"membership_tpr": 0.1, "linkability_advantage": 0.5}
    leaky = spec_of(source, store, covariates__synthesizer="bootstrap", gates=dict.fromkeys((*off, *more), False) | limits)
    bad = waymint("release", save(leaky, spec), "--json")
    assert bad.code == 3, bad.err
    assert gates(bad)["membership_tpr"]["status"] == "failed"
    assert gates(bad)["membership_tpr"]["low"] > 0.1
    assert "membership_tpr" in bad.err
    good = waymint("release", save(spec_of(source, store, gates=limits | {"membership_tpr": 0.5}), spec), "--json")
    assert good.code == 0, good.err
    assert gates(good)["membership_tpr"]["outcome"] in ("pass", "inconclusive")
    assert "attribute_advantage" not in gates(good)
