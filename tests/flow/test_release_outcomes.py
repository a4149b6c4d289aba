"""A cost and a score through the whole flow: published, possible values alone, the effect as estimated."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.outcome_worlds import WORLDS, impossible
from tests.releasing import Ran, manifest, parts, save, spec_of, write


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
