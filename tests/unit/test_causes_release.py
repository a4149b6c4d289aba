"""A release with competing causes: from table to manifest, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.check import check
from flows.compare import contest
from flows.estimate import estimate
from flows.release import mint
from tasks.contract.errors import SpecError
from tasks.contract.spec import Spec
from tasks.estimation.incidence.aalen_johansen import CauseSteps, aalen_johansen
from tasks.publish.descriptions.codebook import codebook
from tasks.publish.manifest import Manifest
from tests.direct import directly, run_of

HORIZON, TIMES = 20.0, (5.0, 10.0)
LABELS = np.array(["censored", "relapse", "death"])


def trial(rows: int = 600, arms: int = 2, seed: int = 1) -> pd.DataFrame:
    """Draw whole days to relapse or death, whichever comes first, and to dropout that depends on x."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, rows))
    a = rng.integers(0, arms, size=rows)
    one, two = rng.exponential(np.exp(3.0 - 0.5 * x + 0.5 * a)), rng.exponential(np.exp(3.4 + 0.4 * z - 0.3 * a))
    lost = np.minimum(rng.exponential(np.exp(3.6 + 0.3 * x)), 30.0)
    until = np.minimum(one, two)
    status = LABELS[np.where(until <= lost, np.where(one <= two, 1, 2), 0)]
    days = np.ceil(np.minimum(until, lost)).astype(np.int64)
    return pd.DataFrame({"arm": a, "x": x.round(3), "z": z.round(3), "days": days, "status": status})


def spec(folder: Path, frame: pd.DataFrame, outcome: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    frame.to_parquet(folder / "trial.parquet", index=False)
    declared = {"kind": "survival", "event": "status", "cause": "relapse", "horizon": HORIZON, "times": list(TIMES)}
    return {
        "name": "trial",
        "seed": 7,
        "source": {"uri": str(folder / "trial.parquet")},
        "roles": {"treatment": "arm", "control": 0, "outcome": "days"},
        "outcomes": {"days": declared | (outcome or {})},
        "covariates": {"synthesizer": "copula"},
        "mechanisms": {"learner": "glm", "folds": 2, "repeats": 1},
        "release": {"rows": 1500, "include_nuisances": True},
        "store": {"uri": f"file://{folder}/store"},
        **sections,
    }


def steps_of(rows: pd.DataFrame, cause: str) -> CauseSteps:
    code = np.where(rows["status"] == cause, 1, np.where(rows["status"] == "censored", 0, 2)).astype(np.int8)
    return aalen_johansen(rows["days"].to_numpy(float), code, np.ones(len(rows)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the release is minted."""
    return tmp_path_factory.mktemp("causes")


@pytest.fixture(scope="module")
def released(folder: Path) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Mint one release."""
    frame = trial()
    reply, _ = directly(mint, run_of(spec(folder, frame), folder / "workspace"))
    assert reply["status"] == "published", [gate for gate in reply["manifest"]["gates"] if gate["passed"] is False]
    return reply["manifest"], frame, pd.read_parquet(Path(reply["uri"].removeprefix("file://")) / "data" / "copy-0")


def test_rows_hold_the_source_s_own_labels(released: Any) -> None:
    manifest, frame, drawn = released
    assert (drawn.dtypes[frame.columns] == frame.dtypes).all()
    assert set(drawn["status"]) == set(LABELS)
    assert manifest["schema"]["survival"]["causes"] == ["relapse", "death"]
    entries = {entry.column: entry for entry in codebook(Manifest.model_validate(manifest))}
    assert entries["status"].drawn.startswith("its cause where the time is that of an event")
    assert entries["waymint_f1_2_1"].drawn == "chance of 'relapse' by 10 under arm '1'"


def test_incidences_and_times_lost_are_the_source_s(released: Any) -> None:
    """By Aalen and Johansen on the released rows, by the manifest, and by what the rows were drawn from."""
    manifest, _, drawn = released
    records = [manifest["effects"][where]["survival"]["causes"] for where in ("source", "release")]
    for number, (source, release) in enumerate(zip(*records, strict=True), start=1):
        for one, other in zip(source["estimates"], release["estimates"], strict=True):
            assert abs(one["estimate"] - other["estimate"]) < 1.5 * one["se"]
            if one["control"] is not None:
                continue
            steps = steps_of(drawn[drawn["arm"] == int(one["arm"])], source["cause"])
            again = steps.at(one["time"]) if one["estimand"] == "incidence" else float(steps.area(0.0, HORIZON))
            assert abs(again - one["estimate"]) < 1.5 * one["se"]
            built = drawn[f"waymint_f{number}_{(HORIZON, *TIMES).index(one['time'])}_{one['arm']}"].mean()
            assert abs(built - one["estimate"]) < 0.5 * one["se"]


def test_causes_add_up_to_what_survival_leaves(released: Any) -> None:
    manifest, _, drawn = released
    for arm in (0, 1):
        lost = drawn[f"waymint_f1_0_{arm}"] + drawn[f"waymint_f2_0_{arm}"]
        assert np.allclose(lost, HORIZON - drawn[f"waymint_q{arm}"], atol=1e-4)
        for at in (1, 2):
            assert np.allclose(drawn[f"waymint_f1_{at}_{arm}"] + drawn[f"waymint_f2_{at}_{arm}"], 1.0 - drawn[f"waymint_s{at}_{arm}"])
    for where in ("source", "release"):
        record = manifest["effects"][where]["survival"]
        of_all = {(e["arm"], e["time"]): e["estimate"] for e in record["estimates"] if e["estimand"] == "survival"}
        of_causes = dict.fromkeys(of_all, 0.0)
        for each in record["causes"]:
            for entry in each["estimates"]:
                if entry["estimand"] == "incidence":
                    of_causes[entry["arm"], entry["time"]] += entry["estimate"]
        for place, free in of_all.items():
            assert of_causes[place] == pytest.approx(1.0 - free, abs=1e-4)
        for one, *others in zip(record["events"], *(each["events"] for each in record["causes"]), strict=True):
            assert sum(each["share"] for each in others) == pytest.approx(one["share"])


def test_gates_and_report_tell_of_causes(released: Any, folder: Path) -> None:
    manifest, _, _ = released
    status = {gate["name"]: gate["status"] for gate in manifest["gates"]}
    assert {status[name] for name in ("incidence_fidelity", "incidence_distance", "cause_share")} == {"passed"}
    page = next((folder / "store" / "trial").glob("v*/report.html")).read_text()
    assert "Incidence of relapse" in page
    assert "Difference of times lost to death, 1 against 0" in page
    for point in manifest["effects"]["source"]["survival"]["causes"][0]["curves"]:
        assert point["at_risk"] % 5 == 0


def test_a_release_is_estimated_cause_by_cause(released: Any, folder: Path) -> None:
    manifest, _, _ = released
    options = {"learner": "glm", "folds": 2, "repeats": 1, "seed": 7, "propensity": None, "estimators": ("aj", "aipw")}
    for number, cause in enumerate((None, "death")):
        reply, _ = estimate(f"{folder}/store/trial@1", {}, options | {"cause": cause})
        record = manifest["effects"]["release"]["survival"]["causes"][number]
        drawn = {(e["estimand"], e["arm"], e["control"], e["time"]): e for e in record["estimates"]}
        assert len(reply["combined"]) == len(drawn)
        for entry in reply["combined"]:
            known = drawn[entry["estimand"], entry["arm"], entry["control"], entry["time"]]
            assert abs(entry["estimate"] - known["estimate"]) < 0.5 * known["se"]
    with pytest.raises(SpecError, match="--cause must be one of the causes of the release"):
        estimate(f"{folder}/store/trial@1", {}, options | {"cause": "cure"})


def _rare(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave three deaths in the treated arm."""
    dead = frame.index[(frame["status"] == "death") & (frame["arm"] == 1)][3:]
    return frame.assign(status=frame["status"].where(~frame.index.isin(dead), "censored"))


FAULTS: dict[str, tuple[Any, dict[str, Any], str, str]] = {
    "an unknown cause": (None, {"cause": "cure"}, "release", "cause of the outcome must be one of the labels of event 'status'"),
    "censoring as a cause": (None, {"cause": "censored"}, "release", "cause of the outcome must be an event"),
    "no cause named": (None, {"cause": None}, "release", "event 'status' must be 1 for an event and 0 for censoring"),
    "one cause": (
        lambda f: f.assign(status=f["status"].where(f["status"] != "death", "censored")),
        {},
        "release",
        "causes in event 'status' must be 2 to 5",
    ),
    "a rare cause": (_rare, {}, "release", "events of cause 'death' up to the horizon must be at least 5 in every arm; got fewer than 5"),
    "no label of censoring": (
        lambda f: f.assign(status=f["status"].where(f["status"] != "censored", "alive")),
        {},
        "release",
        "event 'status' must have one label of censored rows",
    ),
    "a status not known": (
        lambda f: f.assign(status=f["status"].where(f.index > 2)),
        {},
        "release",
        "must be known in every row with a time; got fewer than 5",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_bad_input_is_refused_by_name(name: str, tmp_path: Path) -> None:
    change, outcome, command, words = FAULTS[name]
    frame = trial(240)
    values = spec(tmp_path, frame if change is None else change(frame), outcome)
    reply, _ = check(Spec.model_validate(values), command)  # type: ignore[arg-type]
    assert any(words in finding["message"] for finding in reply["findings"]), reply["findings"]


def test_a_cause_needs_a_time_to_event(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cause must be left out"):
        Spec.model_validate(spec(tmp_path, trial(30)) | {"outcomes": {"days": {"kind": "binary", "cause": 1}}})


@pytest.mark.slow
def test_clusters_weights_and_three_arms_keep_causes(tmp_path: Path) -> None:
    frame = trial(900, arms=3)
    rng = np.random.default_rng(3)
    frame = frame.assign(ward=100 + np.arange(900) // 6, weight=(0.5 + rng.random(900)).round(3))
    roles = {"treatment": "arm", "control": 0, "outcome": "days", "cluster": "ward", "weight": "weight"}
    values = spec(tmp_path, frame, roles=roles, gates={"min_reference_rows": 20}, release={"rows": 1200})
    reply, _ = directly(mint, run_of(values, tmp_path / "workspace"))
    assert reply["status"] == "published", [gate for gate in reply["manifest"]["gates"] if gate["passed"] is False]
    drawn = pd.read_parquet(Path(reply["uri"].removeprefix("file://")) / "data" / "copy-0")
    for source in reply["manifest"]["effects"]["source"]["survival"]["causes"]:
        for one in source["estimates"]:
            if one["control"] is None and one["estimand"] == "time_lost":
                steps = steps_of(drawn[drawn["arm"] == int(one["arm"])], source["cause"])
                assert abs(float(steps.area(0.0, HORIZON)) - one["estimate"]) < 1.7 * one["se"]


@pytest.mark.slow
def test_a_comparison_measures_causes_in_both_modes(tmp_path: Path) -> None:
    values = spec(tmp_path, trial(500), release={"draws": "iid"}) | {"compare": {"synthesizers": ["copula"], "seeds": 1, "rows": 900}}
    reply, _ = directly(contest, run_of(values, tmp_path / "workspace"))
    assert [row["mode"] for row in reply["rows"]] == ["hybrid", "full"]
    for row, summary in zip(reply["rows"], reply["summary"], strict=True):
        assert row["refused"] is None
        assert [(each["cause"], each["arm"]) for each in row["causes"]] == [(c, a) for c in ("relapse", "death") for a in ("0", "1")]
        assert summary["causes"][1]["lost_error"]["mean"] == row["causes"][1]["lost_error"]
    hybrid = reply["rows"][0]
    for each in hybrid["causes"]:
        assert abs(each["lost_error"]) < 2.0 * each["source_se"]
        assert each["incidence_distance"] < 0.15
    # times lost add up to the horizon less the restricted mean
    for arm, of_arm in enumerate(hybrid["curves"]):
        lost = sum(each["lost_error"] for each in hybrid["causes"] if each["arm"] == str(arm))
        assert lost == pytest.approx(-of_arm["rmst_error"], abs=1e-3)
    page = (Path(reply["uri"].removeprefix("file://")) / "compare.html").read_text()
    assert "Competing causes, arm by arm" in page
