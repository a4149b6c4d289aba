"""A cost, a score, and a trial with two visits through the whole flow: published, possible values alone, effects as estimated."""

import io
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.outcome_worlds import WORLDS, impossible
from tests.releasing import ROOT, Ran, manifest, parts, save, spec_of, write


@pytest.mark.parametrize("name", ["cost", "score"])
def test_a_release_has_possible_outcomes_and_the_effect(name: str, tmp_path: Path, waymint: Callable[..., Ran]) -> None:
    drawn = WORLDS[name](1_500, 3)
    source = write(drawn.covariates.assign(a=drawn.a, y=drawn.y), tmp_path / f"{name}.parquet")
    roles = {"treatment": "a", "outcome": "y"}
    more = {"outcomes": {"y": {"law": "tilt", "range": [0, 100]}}} if name == "score" else {}
    wanted = {"release__rows": 1_500, "release__include_nuisances": True, "mechanisms__treatment": "fitted"}
    spec = spec_of(source, tmp_path / "store", name=name, roles=roles, **wanted, **more)
    ran = waymint("release", save(spec, tmp_path / "spec.yaml"), "--json")
    assert ran.code == 0, ran.err
    frame = pd.concat([pd.read_parquet(io.BytesIO(content)) for content in parts(tmp_path / "store", name).values()])
    record = manifest(tmp_path / "store", name)
    told = record["fidelity"]["targeting"]
    assert [each["law"]["name"] for each in told] == ["tilt"] * len(told)
    y = frame["y"].to_numpy(dtype=np.float64)
    assert impossible(name, y) == 0
    edge = 0.0 if name == "cost" else 100.0
    for arm in (0, 1):
        # four standard errors of a share of some 750 rows in the source and as many in the release
        assert abs(np.mean(y[frame["a"] == arm] == edge) - np.mean(drawn.y[drawn.a == arm] == edge)) < 0.1
    effects = record["effects"]
    own = effects["source"]["ate"]
    assert abs(effects["truth"]["ate"] - own["estimate"]) < 4 * effects["truth"]["mc_se"] + 0.1 * own["se"]


def test_a_trial_of_four_arms_and_two_visits_is_released_estimated_and_exported(tmp_path: Path, waymint: Callable[..., Ran]) -> None:
    """ACTG 175 as the example has it, of fewer rows: both effects, dropout for good, the same share of missing cells."""
    spec = tomllib.loads((ROOT / "examples" / "actg175-visits.toml").read_text())
    spec["source"]["uri"], spec["store"]["uri"] = str(ROOT / spec["source"]["uri"]), str(tmp_path / "store")
    spec["mechanisms"] |= {"learner": "glm", "folds": 2}
    spec["covariates"], spec["release"]["rows"] = {"synthesizer": "copula"}, 2_000
    # a copula draws days of earlier treatment ("preanti") at the very limit of margins: which side depends on the processor's rounding
    spec["engine"], spec["gates"] = {"dask": "threads", "workers": 2}, {"holdout_budget": False, "margins": False}
    ran = waymint("release", save(spec, tmp_path / "spec.yaml"), "--json")
    assert ran.code == 0, ran.err
    record = manifest(tmp_path / "store", "actg175-visits")
    effects = {
        where: {
            (each["outcome"], each["arm"], each["control"]): each
            for each in record["effects"][where]["all"]
            if (each["estimand"], each["estimator"]) == ("ate", "adaptive")
        }
        for where in ("source", "release")
    }
    assert len(effects["source"]) == 12
    gaps = [(effects["release"][key]["estimate"] - one["estimate"]) / one["se"] for key, one in effects["source"].items()]
    assert np.abs(gaps).max() < 1.0
    for row in record["fidelity"]["together"]["missing"]:
        assert abs(row["release"] - row["source"]) < 0.02
    details = {gate["name"]: gate["detail"] for gate in record["gates"]}
    assert "on 'cd4" in details["fidelity"]
    assert "outcome 'cd4" in details["outcome_law"]
    assert "missing outcomes of the" in details["missingness"]
    uri = str(tmp_path / "store" / "actg175-visits")
    estimated = waymint("estimate", uri, "--estimators", "tmle", "--learner", "glm", "--folds", "2", "--json")
    assert estimated.code == 0, estimated.err
    assert {each["outcome"] for each in estimated.json()["combined"]} == {"cd420", "cd496"}
    exported = waymint("releases", "export", uri, "--to", tmp_path / "visits.zip", "--json")
    assert exported.code == 0, exported.err
