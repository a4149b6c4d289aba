"""What the other commands do with more than two arms: every contrast has figures of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.simulate import replicate
from flows.stages.simulations import resolve_source
from tasks.contract.errors import SpecError
from tasks.contract.spec import Spec
from tasks.simulation.reading import lines
from tests.arms import GATES_OFF, PAIRS, ROLES, published, trial
from tests.direct import directly, run_of
from tests.releasing import spec_of, write

SIMULATE = {
    "rows": [150], "designs": ["fitted", "randomized"], "effect_scales": [1.0, 0.0], "replicates": 20, "draws": 0, "pool": 2_000,
    "folds": 2, "estimators": ["aipw", "tmle", "att"],
}  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Publish, once, a release of three arms that keeps its mechanisms; return its folder."""
    folder = tmp_path_factory.mktemp("kept")
    write(trial(), folder / "source.parquet")
    settings: dict[str, Any] = {
        "roles": ROLES,
        "mechanisms__treatment": "fitted",
        "mechanisms__repeats": 1,
        "release__rows": 2_000,
        "release__part_rows": 2_000,
        "release__include_nuisances": True,
        "gates": dict.fromkeys(GATES_OFF, False),
    }
    reply = published(folder, **settings)
    assert reply["status"] == "published", [gate for gate in reply["manifest"]["gates"] if gate["outcome"] != "pass"]
    return folder


def simulated(spec: dict[str, Any], folder: Path) -> dict[str, Any]:
    resolved, manifest = resolve_source(Spec.model_validate(spec))
    run = run_of(spec, folder).model_copy(update={"spec": resolved})
    reply, _ = directly(replicate, run, manifest)
    return reply


@pytest.mark.parametrize("where", ["table", "release"])
def test_estimators_are_tried_on_every_pair(kept: Path, tmp_path: Path, where: str) -> None:
    """From a table and from a release: rows, ranking and advice by contrast; the page and the terminal name them."""
    uri = kept / "source.parquet" if where == "table" else kept / "store" / "trial"
    spec = spec_of(uri, tmp_path / "figures", roles=ROLES, mechanisms__repeats=1, simulate=SIMULATE)
    reply = simulated(spec, tmp_path / "work")
    tmle = [row for row in reply["rows"] if row["estimator"] == "tmle"]
    assert {(row["arm"], row["control"]) for row in tmle} == PAIRS
    assert {(row["arm"], row["control"]) for row in reply["rows"] if row["estimator"] == "att"} == {("high", "none"), ("low", "none")}
    fitted = {(row["arm"], row["control"]): row for row in tmle if row["design"] == "fitted" and row["effect_scale"] == 1.0}
    assert fitted["high", "none"]["truth"] == pytest.approx(2.0, abs=0.4)
    assert fitted["high", "none"]["truth"] == reply["truth"]
    difference = fitted["low", "none"]["truth"] - fitted["high", "none"]["truth"]
    assert fitted["low", "high"]["truth"] == pytest.approx(difference, abs=1e-9)
    for row in fitted.values():
        assert abs(row["bias"]) < 5 * row["bias_mcse"] + 0.05
        assert 0.6 < row["coverage"] <= 1.0
        assert 0.6 < row["joint_coverage"] <= 1.0
    none = [row for row in tmle if row["effect_scale"] == 0.0]
    assert {row["truth"] for row in none} == {0.0}
    assert all(row["type1_error"] == row["power"] for row in none)
    assert {(each["arm"], each["control"]) for each in reply["recommendation"]} == PAIRS
    assert {(each["arm"], each["control"]) for each in reply["ranking"]} == PAIRS
    text = "\n".join(lines(reply))
    assert "true effect (ATE of high − none)" in text
    assert "low − high" not in text
    assert "every other pair, and simultaneous intervals, are in the report" in text
    page = next(path for path in (tmp_path / "figures").rglob("simulate.html")).read_text()
    assert page.count('scope="rowgroup">low − high') >= 4
    assert "all its contrasts covered by simultaneous intervals" in page
    for design in ("fitted", "randomized"):
        assert f"design {design}, learner glm, low − none" in page


def test_shares_of_a_simulated_release_are_of_its_arms(kept: Path, tmp_path: Path) -> None:
    values = {"mechanisms__shares": {"none": 0.5, "low": 0.2, "high": 0.3}, "simulate": {**SIMULATE, "designs": ["randomized"]}}
    spec = spec_of(kept / "store" / "trial", tmp_path / "figures", roles=ROLES, **values)
    resolved, _ = resolve_source(Spec.model_validate(spec))
    assert resolved.mechanisms.shares["high"] == 0.3
    spec["mechanisms"]["shares"] = {"none": 0.5, "other": 0.5}
    with pytest.raises(SpecError, match="shares of mechanisms must name every label of 'arm' and no other; got 2 names"):
        resolve_source(Spec.model_validate(spec))
    spec["mechanisms"]["shares"], spec["roles"] = {}, {**ROLES, "control": "low"}
    with pytest.raises(SpecError, match=r"roles\.control of SPEC must be that of trial version 1, 'none'; got 'low'"):
        resolve_source(Spec.model_validate(spec))
