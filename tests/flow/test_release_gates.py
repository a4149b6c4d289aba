"""Releases that must not be published."""

from __future__ import annotations

import json
from pathlib import Path

from tests.releasing import Command, files, save, spec_of


def test_a_bootstrap_is_never_published(command: Command, source: Path, tmp_path: Path) -> None:
    store, work = tmp_path / "store", tmp_path / "work"
    values = spec_of(source, store, covariates__synthesizer="bootstrap", engine__workspace=str(work))
    answer = command.run("release", save(values, tmp_path / "spec.yaml"), "--json")
    assert answer.code == 3, answer.err
    reply = answer.json()
    assert (reply["status"], reply["version"]) == ("rejected", None)
    failed = {gate["name"]: gate for gate in reply["manifest"]["gates"] if not gate["passed"]}
    assert {"near_copies", "exact_copies"} <= set(failed)
    assert reply["manifest"]["files"] == []
    # no row stays anywhere: reasons only
    left = files(store)
    folder = reply["uri"].removeprefix(f"file://{store}/")
    assert folder.startswith("trial/rejected/")
    assert {f"{folder}/report.html", f"{folder}/checks/results.json"} <= set(left)
    # and what the holdout was asked: a digest, an answer with noise, a count
    assert all(path.startswith((f"{folder}/", "_holdouts/")) for path in left)
    assert not [path for path in left if path.endswith(".parquet") or (store / path).read_bytes()[:4] == b"PAR1"]
    assert not list(work.iterdir())
    # a person reads which gates failed, by how much, and what to do; and no machinery
    for name, gate in failed.items():
        assert name in answer.err
        assert f"{abs(gate['value'] - gate['threshold']):.4g}" in answer.err
    assert f"rejected: {len(failed)} of {len(reply['manifest']['gates'])} gates failed" in answer.err
    assert "Traceback" not in answer.err
    assert "GateFailed" not in answer.err


def test_an_effect_that_moved(waymint, source: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    values = spec_of(source, store, gates={"fidelity": 1e-6})
    answer = waymint("release", save(values, tmp_path / "spec.yaml"), "--json")
    assert answer.code == 3
    gates = {gate["name"]: gate for gate in answer.json()["manifest"]["gates"]}
    assert gates["fidelity"]["status"] == "failed"
    assert gates["fidelity"]["value"] > gates["fidelity"]["threshold"]
    assert waymint("releases", "list", store, "--json").json() == []


def test_too_few_rows_to_judge_on_are_refused_before_anything_is_fitted(waymint, source: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    answer = waymint("release", save(spec_of(source, store, gates={"min_reference_rows": 300}), tmp_path / "spec.yaml"), "--json")
    assert answer.code == 4
    assert "at least 300 (gates.min_reference_rows); got about 240 of 800" in answer.json()["error"]
    assert answer.json()["hint"] == "Set source.holdout = 0.41."
    assert not list(store.glob("trial/*"))


def test_gates_that_are_off_are_said_to_be_off(waymint, source: Path, tmp_path: Path) -> None:
    """The same rejected copy passes only where every gate that stops it is switched off, and its manifest says so."""
    store = tmp_path / "store"
    copies = ("near_copies", "exact_copies", "closeness_z", "closeness_excess", "closeness_groups", "dcr_margin", "isolated_rows")
    off = (*copies, "holdout_budget")
    values = spec_of(source, store, covariates__synthesizer="bootstrap", gates=dict.fromkeys(off, False))
    answer = waymint("release", save(values, tmp_path / "spec.yaml"), "--json")
    assert answer.code == 0, answer.err
    gates = {gate["name"]: gate["status"] for gate in json.loads(answer.out)["manifest"]["gates"]}
    assert {name for name, status in gates.items() if status == "off"} == {*off, "holdout_query"}
    assert set(gates.values()) == {"passed", "off"}
