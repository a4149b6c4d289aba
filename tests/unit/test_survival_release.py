"""A release whose outcome is a time to event: from table to manifest, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.compare import contest
from flows.estimate import estimate
from flows.more import extend
from flows.release import mint
from flows.simulate import replicate
from flows.stages.simulations import resolve_source
from flows.stages.streams import compose
from tasks.contract.errors import EstimationError, SourceError, SpecError, WaymintError
from tasks.contract.spec import Spec
from tasks.estimation.survival.kaplan_meier import kaplan_meier
from tasks.estimation.survival.logrank import logrank_test
from tasks.estimation.survival.risk_sets import ArmRows
from tasks.mechanisms.clusters import intraclass
from tasks.publish.descriptions.codebook import codebook
from tasks.publish.manifest import Manifest
from tasks.simulation.reading import lines
from tests.direct import directly, run_of

HORIZON, TIMES = 20.0, (5.0, 10.0)


def trial(rows: int = 600, arms: int = 3, seed: int = 1) -> pd.DataFrame:
    """Draw whole days to an event that comes later under higher arms, and to dropout that depends on x."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, rows))
    a = rng.integers(0, arms, size=rows)
    until = rng.exponential(np.exp(2.6 - 0.5 * x + 0.3 * a))
    lost = np.minimum(rng.exponential(np.exp(3.3 + 0.3 * x)), 30.0)
    days = np.ceil(np.minimum(until, lost)).astype(np.int64)
    return pd.DataFrame({"arm": a, "x": x.round(3), "z": z.round(3), "days": days, "died": (until <= lost).astype(np.int64)})


def spec(folder: Path, frame: pd.DataFrame, **changes: Any) -> dict[str, Any]:
    frame.to_parquet(folder / "trial.parquet", index=False)
    values: dict[str, Any] = {
        "name": "trial",
        "seed": 7,
        "source": {"uri": str(folder / "trial.parquet")},
        "roles": {"treatment": "arm", "control": 0, "outcome": "days"},
        "outcomes": {"days": {"kind": "survival", "event": "died", "horizon": HORIZON, "times": list(TIMES)}},
        "covariates": {"synthesizer": "copula"},
        "mechanisms": {"learner": "glm", "folds": 2, "repeats": 1},
        "release": {"rows": 1200, "draws": "balanced"},
        "store": {"uri": f"file://{folder}/store"},
    }
    for section, update in changes.items():
        values[section] = {**values[section], **update} if isinstance(update, dict) and section in values else update
    return values


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the release is minted."""
    return tmp_path_factory.mktemp("survival")


@pytest.fixture(scope="module")
def released_uri(folder: Path, released: Any) -> str:
    """Return the release by its store and name."""
    return f"{folder}/store/trial"


@pytest.fixture(scope="module")
def released(folder: Path) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Mint one release of three arms."""
    frame = trial()
    reply, _ = directly(mint, run_of(spec(folder, frame, release={"keep_models": True, "include_nuisances": True}), folder / "workspace"))
    assert reply["status"] == "published", [gate for gate in reply["manifest"]["gates"] if gate["passed"] is False]
    return reply["manifest"], frame, pd.read_parquet(Path(reply["uri"].removeprefix("file://")) / "data" / "copy-0")


def test_rows_are_those_of_a_trial(released: Any) -> None:
    _, frame, drawn = released
    assert [name for name in drawn.columns if not name.startswith("waymint_")] == list(frame.columns)
    assert (drawn.dtypes[frame.columns] == frame.dtypes).all()
    assert set(drawn["died"]) == {0, 1}
    assert drawn["days"].min() >= 1
    assert drawn["days"].max() <= frame["days"].max()


def test_curves_and_means_of_every_arm_are_the_source_s(released: Any) -> None:
    manifest, _, drawn = released
    source = {(e["estimand"], e["arm"], e["time"]): e for e in manifest["effects"]["source"]["survival"]["estimates"] if not e["control"]}
    for arm, rows in drawn.groupby("arm"):
        steps = kaplan_meier(rows["days"].to_numpy(float), rows["died"].to_numpy() == 1, np.ones(len(rows)))
        mean = source["rmst", str(arm), HORIZON]
        assert abs(float(steps.area(0.0, HORIZON)) - mean["estimate"]) < mean["se"]
        for time in TIMES:
            here = source["survival", str(arm), time]
            assert abs(steps.at(time) - here["estimate"]) < 1.5 * here["se"]


def test_columns_of_nuisances_are_what_rows_were_drawn_by(released: Any) -> None:
    manifest, _, drawn = released
    truth = manifest["effects"]["truth"]["ate"]
    assert float((drawn["waymint_q1"] - drawn["waymint_q0"]).mean()) == pytest.approx(truth, rel=1e-9)
    kept = {(e["arm"], e["time"]): e for e in manifest["effects"]["source"]["survival"]["estimates"] if e["estimand"] == "survival"}
    for arm in (0, 1, 2):
        for number, time in enumerate(TIMES, start=1):
            chance = drawn[f"waymint_s{number}_{arm}"]
            assert chance.between(0.0, 1.0).all()
            assert abs(chance.mean() - kept[str(arm), time]["estimate"]) < kept[str(arm), time]["se"]
        assert (drawn[f"waymint_s1_{arm}"] >= drawn[f"waymint_s2_{arm}"]).all()
    entries = {entry.column: entry.drawn for entry in codebook(Manifest.model_validate(manifest))}
    assert entries["waymint_s2_1"] == "chance to be without the event at 10 under arm '1'"
    assert all(file["path"] != "mechanisms.json" for file in manifest["files"])


def test_a_release_of_times_is_no_source_of_a_simulation(released: Any, released_uri: str, folder: Path) -> None:
    values = spec(folder, trial()) | {"source": {"uri": f"{released_uri}@{released[0]['version']}"}}
    with pytest.raises(SpecError, match="must be no time to event; got trial version 1, which holds no hazards"):
        resolve_source(Spec.model_validate(values))


def test_the_built_in_effect_is_the_estimate_on_the_source(released: Any) -> None:
    manifest, _, _ = released
    truth, source = manifest["effects"]["truth"], manifest["effects"]["source"]["ate"]
    assert abs(truth["ate"] - source["estimate"]) < 0.1 * source["se"]


def test_the_manifest_names_gates_and_hides_small_counts(released: Any) -> None:
    manifest, _, _ = released
    status = {gate["name"]: gate["status"] for gate in manifest["gates"]}
    assert {"rmst_fidelity", "curve_distance", "event_share", "outcome_law", "support"} <= set(status)
    assert set(status.values()) <= {"passed", "inconclusive"}
    assert manifest["schema"]["outcome_kind"] == "survival"
    for where in ("source", "release"):
        for point in manifest["effects"][where]["survival"]["curves"]:
            assert point["at_risk"] % 5 == 0
    json.dumps(manifest, allow_nan=False)


def test_hazards_are_compared_in_manifest_and_report(released: Any, folder: Path) -> None:
    manifest, frame, drawn = released
    for where, table in (("source", frame), ("release", drawn)):
        record = manifest["effects"][where]["survival"]
        rows = ArmRows(table["arm"].to_numpy(np.int8), table["days"].to_numpy(float), table["died"].to_numpy() == 1)
        tests = {(one["arm"], one["control"]): one["statistic"] for one in record["logrank"]}
        assert list(tests) == [(None, None), ("1", "0"), ("2", "0"), ("2", "1")]
        whole, pair = logrank_test(rows, 3), logrank_test(rows.of_arms((1, 2)), 2)
        assert whole is not None
        assert pair is not None
        assert (tests[None, None], tests["2", "1"]) == (pytest.approx(whole.statistic), pytest.approx(pair.statistic))
    ratios = [manifest["effects"][where]["survival"]["hazard_ratios"] for where in ("source", "release")]
    for one, other in zip(*ratios, strict=True):
        assert abs(one["log_ratio"] - other["log_ratio"]) < one["se"]
    page = next((folder / "store" / "trial").glob("v*/report.html")).read_text()
    assert "Cox's hazard ratio" in page
    assert "no effect where hazards are not proportional" in page


FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any], type[WaymintError], str]] = {
    "negative time": ({"days": lambda f: f["days"] - 5}, {}, SourceError, "time 'days' must be at least 0; got negative values"),
    "events of three kinds": ({"died": lambda f: f["died"] + (f["days"] > 9)}, {}, SourceError, "must be 1 for an event and 0 for"),
    "no event": ({"died": lambda f: 0 * f["died"]}, {}, SourceError, "got 0 in all 200 rows"),
    "an event not known": (
        {"died": lambda f: f["died"].where(f.index > 2)},
        {},
        SourceError,
        "must be known in every row with a time; got fewer than 5",
    ),
    "an arm without event": (
        {"died": lambda f: f["died"] * (f["arm"] > 0)},
        {},
        EstimationError,
        "arm '0' of 'arm' must have an event; got only censored",
    ),
    "a late horizon": (
        {},
        {"outcomes": {"days": {"kind": "survival", "event": "died", "horizon": 31}}},
        EstimationError,
        "at most the last event of every arm; got 31",
    ),
    "subgroups": ({}, {"roles": {"subgroups": ["x"]}}, SpecError, "subgroups of roles must be left out for a time to event"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_bad_input_is_refused_by_name(name: str, tmp_path: Path) -> None:
    from flows.check import check

    columns, changes, _, words = FAULTS[name]
    frame = trial(200)
    reply, _ = check(Spec.model_validate(spec(tmp_path, frame.assign(**columns), **changes)))
    assert any(words in finding["message"] for finding in reply["findings"]), reply["findings"]


def test_a_spec_says_what_a_time_to_event_needs(tmp_path: Path) -> None:
    frame = trial(30)
    for outcome, words in (
        ({"kind": "survival", "horizon": 9}, "event must be given"),
        ({"kind": "survival", "event": "died"}, "horizon must be given"),
        ({"kind": "survival", "event": "died", "horizon": 9, "times": [10]}, r"times must be in \(0, horizon\]; got 10"),
        ({"kind": "survival", "event": "x", "horizon": 9, "law": "scale"}, "law and range must be left out"),
        ({"kind": "binary", "event": "died"}, "event must be left out"),
    ):
        with pytest.raises(ValueError, match=words):
            Spec.model_validate(spec(tmp_path, frame, outcomes={"days": outcome}) | {"outcomes": {"days": outcome}})


def test_augment_refuses_a_time_to_event(tmp_path: Path) -> None:
    from flows.check import check

    reply, _ = check(Spec.model_validate(spec(tmp_path, trial(200))), "augment")
    assert any("must be another than 'survival' in augment" in finding["message"] for finding in reply["findings"])


def test_a_comparison_measures_curves_of_every_arm_in_both_modes(tmp_path: Path) -> None:
    comparing = {"synthesizers": ["copula"], "seeds": 1, "rows": 900}
    values = spec(tmp_path, trial(500, arms=2), release={"draws": "iid"}) | {"compare": comparing}
    reply, _ = directly(contest, run_of(values, tmp_path / "workspace"))
    assert [row["mode"] for row in reply["rows"]] == ["hybrid", "full"]
    for row, summary in zip(reply["rows"], reply["summary"], strict=True):
        assert row["refused"] is None
        assert [each["arm"] for each in row["curves"]] == ["0", "1"]
        assert row["curve_distance"] == max(each["curve_distance"] for each in row["curves"])
        control, treated = row["curves"]
        # the effect is the difference of restricted means: its AIPW error is that of the curves' areas, but for the source's estimator
        assert row["effect_error"]["aipw"] == pytest.approx(treated["rmst_error"] - control["rmst_error"], abs=0.05 * row["source_se"])
        assert summary["curves"][1]["rmst_error"]["mean"] == treated["rmst_error"]
    hybrid = reply["rows"][0]
    assert abs(hybrid["effect_error"]["aipw"]) < 1.5 * hybrid["source_se"]
    assert hybrid["curve_distance"] < 0.15
    page = (Path(reply["uri"].removeprefix("file://")) / "compare.html").read_text()
    assert "Survival curves, arm by arm" in page
    assert "means restricted to 20" in page


def test_a_release_of_a_joint_synthesizer_has_times_and_events(tmp_path: Path) -> None:
    frame = trial(500, arms=2)
    values = spec(tmp_path, frame, release={"mode": "full", "draws": "iid", "rows": 900}) | {"gates": {"fidelity": False}}
    reply, _ = directly(mint, run_of(values, tmp_path / "workspace"))
    assert reply["status"] == "published", [gate for gate in reply["manifest"]["gates"] if gate["passed"] is False]
    drawn = pd.read_parquet(Path(reply["uri"].removeprefix("file://")) / "data" / "copy-0")
    assert (drawn.dtypes == frame.dtypes).all()
    assert drawn["days"].min() >= 0
    assert set(drawn["died"]) == {0, 1}
    assert abs(drawn["died"].mean() - frame["died"].mean()) < 0.08
    # who has an event has it early: the joint law holds both columns
    assert drawn.loc[drawn["died"] == 1, "days"].mean() < drawn.loc[drawn["died"] == 0, "days"].mean()


def test_a_release_is_estimated_by_what_its_manifest_says(released: Any, released_uri: str) -> None:
    manifest, _, _ = released
    options = {"learner": "glm", "folds": 2, "repeats": 1, "seed": 7, "propensity": None, "estimators": ("km", "aipw")}
    reply, lines = estimate(f"{released_uri}@1", {}, options)
    assert reply["horizon"] == HORIZON
    assert {entry["time"] for entry in reply["estimates"]} == {*TIMES, HORIZON}
    drawn = {(e["estimand"], e["arm"], e["control"], e["time"]): e for e in manifest["effects"]["release"]["survival"]["estimates"]}
    source = {(e["estimand"], e["arm"], e["control"], e["time"]): e for e in manifest["effects"]["source"]["survival"]["estimates"]}
    assert len(reply["combined"]) == len(drawn)
    for entry in reply["combined"]:
        key = (entry["estimand"], entry["arm"], entry["control"], entry["time"])
        assert abs(entry["estimate"] - drawn[key]["estimate"]) < 0.5 * drawn[key]["se"]
        assert entry["se"] > source[key]["se"]  # the source's error, and that of the draw
    assert [(one["arm"], one["control"]) for one in reply["hazard_ratios"]] == [("1", "0"), ("2", "0"), ("2", "1")]
    assert len(reply["logrank"]) == 4
    assert any("valid for the source's population" in line for line in lines)


def test_kept_models_draw_times_of_a_part_of_the_population(released: Any, released_uri: str, folder: Path) -> None:
    _, frame, drawn = released
    composed, original = compose(f"{released_uri}@1", 800, None, [], "x > 0")
    assert original.manifest is not None  # the source is not read
    run = run_of(composed, folder / "further")
    reply, _ = directly(extend, run.model_copy(update={"id": f"{run.id}-2"}), original)
    assert reply["status"] == "published", [gate for gate in reply["manifest"]["gates"] if gate["passed"] is False]
    rows = pd.read_parquet(Path(reply["uri"].removeprefix("file://")) / "data" / "copy-0")
    assert (rows["x"] > 0).all()
    assert len(rows) == 800
    wanted = {e["arm"]: e for e in reply["manifest"]["effects"]["source"]["survival"]["estimates"] if e["estimand"] == "rmst"}
    for arm in (0, 1, 2):
        means = [_restricted(table[(table["arm"] == arm) & (table["x"] > 0)]) for table in (rows, drawn, frame)]
        se = wanted[str(arm)]["se"]
        assert abs(means[0] - wanted[str(arm)]["estimate"]) < 2.0 * se
        assert abs(means[0] - means[2]) < 3.5 * se
        # x brings the event on: means of all rows are longer
        assert means[0] < _restricted(frame[frame["arm"] == arm]) + se


def _restricted(rows: pd.DataFrame) -> float:
    steps = kaplan_meier(rows["days"].to_numpy(float), rows["died"].to_numpy() == 1, np.ones(len(rows)))
    return float(steps.area(0.0, HORIZON))


def test_estimators_are_tried_on_times_like_the_source_s(tmp_path: Path) -> None:
    settings = {"rows": [300, 600], "replicates": 20, "estimators": ["or", "aipw", "km", "logrank"], "learners": ["glm"], "folds": 2}
    settings |= {"pool": 2000, "draws": 0}
    settings |= {"designs": ["randomized"], "effect_scales": [0.0, 1.0]}
    values = spec(tmp_path, trial(arms=2), simulate=settings) | {"simulate": settings}
    reply, _ = directly(replicate, run_of(values, tmp_path / "workspace"), None)
    rows = {(row["effect_scale"], row["n"], row["estimator"]): row for row in reply["rows"]}
    assert abs(reply["truth"]) > 0.2
    for (scale, _, name), row in rows.items():
        assert row["failures"] == 0
        if name == "logrank":
            assert (row["truth"], row["bias"], row["rmse"]) == (None, None, None)
            assert row["type1_error"] == (row["power"] if scale == 0.0 else None)
            continue
        # censoring depends on a covariate here, which Kaplan and Meier don't see
        assert abs(row["bias"]) < 4 * row["bias_mcse"] + (0.1 if name == "km" else 0.0)
        assert row["truth"] == pytest.approx(scale * reply["truth"], rel=0.2, abs=1e-9)
    sizes = {entry["estimator"]: entry for entry in reply["sizes"]}
    assert list(sizes) == ["or", "aipw", "km", "logrank"]
    for name, entry in sizes.items():
        assert [(each["n"], each["power"]) for each in entry["sizes"]] == [(n, rows[1.0, n, name]["power"]) for n in (300, 600)]
        assert entry["sizes"][0]["type1_error"] == rows[0.0, 300, name]["power"]
    page = (Path(reply["uri"].removeprefix("file://")) / "simulate.html").read_text()
    assert "Power and sample size: design randomized" in page
    assert any("power (type-1 error) by size" in line for line in lines(reply))


def wards(count: int = 90, size: int = 7, seed: int = 1) -> pd.DataFrame:
    """Draw days of patients in wards that share a frailty and a follow-up; the weight depends on x."""
    rng = np.random.default_rng(seed)
    sizes = rng.poisson(size - 1, count) + 1
    ward = np.repeat(np.arange(count), sizes)
    n = len(ward)
    (x, z), frailty, follow = rng.normal(size=(2, n)), rng.normal(size=count)[ward], rng.normal(size=count)[ward]
    a = rng.integers(0, 2, n)
    until = rng.exponential(np.exp(2.6 - 0.5 * x + 0.3 * z + 0.3 * a + 0.8 * frailty))
    lost = np.minimum(rng.exponential(np.exp(3.3 + 0.3 * x + 0.8 * follow)), 30.0)
    days, weight = np.ceil(np.minimum(until, lost)).astype(np.int64), (np.exp(0.5 * x) + 0.2).round(3)
    of_rows = {"x": x.round(3), "z": z.round(3), "days": days, "died": (until <= lost).astype(int), "weight": weight}
    return pd.DataFrame({"ward": 100 + ward, "arm": a, **of_rows})


def test_wards_and_weights_are_those_of_the_source(tmp_path: Path) -> None:
    """Whole wards are drawn, times in them are as alike, and rows stand for the weighted population."""
    frame = wards()
    values = spec(tmp_path, frame, roles={"cluster": "ward", "weight": "weight"}, release={"rows": 900})
    reply, _ = directly(mint, run_of(values | {"gates": {"min_reference_rows": 20}}, tmp_path / "workspace"))
    assert reply["status"] == "published", [gate for gate in reply["manifest"]["gates"] if gate["passed"] is False]
    folder = Path(reply["uri"].removeprefix("file://"))
    drawn = pd.read_parquet(folder / "data" / "copy-0")
    assert not set(drawn["ward"]) & set(frame["ward"])
    assert abs(drawn.groupby("ward").size().mean() - frame.groupby("ward").size().mean()) < 1.0
    assert (drawn["weight"] == 1.0).all()
    likeness = []
    for table in (frame, drawn):
        place = np.unique(table["ward"], return_inverse=True)[1]
        likeness.append([intraclass(table[name].to_numpy(float), place) for name in ("days", "died")])
    assert min(likeness[0]) > 0.1
    assert np.abs(np.subtract(*likeness)).max() < 0.12

    source = {(e["estimand"], e["arm"]): e for e in reply["manifest"]["effects"]["source"]["survival"]["estimates"]}
    for arm in (0, 1):
        # treatment is a coin: weighted Kaplan-Meier is right where censoring depends on little
        here = frame[frame["arm"] == arm]
        steps = kaplan_meier(here["days"].to_numpy(float), here["died"].to_numpy() == 1, here["weight"].to_numpy())
        kept = source["rmst", str(arm)]
        assert abs(float(steps.area(0.0, HORIZON)) - kept["estimate"]) < kept["se"]
        rows = drawn[drawn["arm"] == arm]
        steps = kaplan_meier(rows["days"].to_numpy(float), rows["died"].to_numpy() == 1, np.ones(len(rows)))
        assert abs(float(steps.area(0.0, HORIZON)) - kept["estimate"]) < 1.5 * kept["se"]
        assert kept["ci_high"] - kept["estimate"] > 1.97 * kept["se"]  # of t with 89 degrees of freedom

    options = {"learner": "glm", "folds": 2, "repeats": 1, "seed": 7, "propensity": None, "estimators": ("aipw",)}
    again, _ = estimate(f"{tmp_path}/store/trial", {}, options)
    released = {(e["estimand"], e["arm"]): e for e in reply["manifest"]["effects"]["release"]["survival"]["estimates"]}
    for entry in again["estimates"]:
        assert entry["se"] == pytest.approx(released[entry["estimand"], entry["arm"]]["se"], rel=0.15)
