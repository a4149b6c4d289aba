"""A table of few treated beside many unlike controls: refused for the average effect, published for the effect among the treated.

Trainees of the NSW experiment beside respondents of the CPS: LaLonde (1986), Dehejia and Wahba (1999).
"""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.release import mint
from flows.releases import summary
from tasks.publish.manifest import Manifest
from tests.direct import directly, run_of

DATA = Path(__file__).parents[1] / "data" / "nsw_cps.parquet"


def spec(folder: Path, targets: list[str], step: int) -> dict[str, Any]:
    """A release of all trainees and one of every so many other rows."""
    rows = pd.read_parquet(DATA)
    rows = pd.concat([rows[rows["treat"] == 1], rows[rows["treat"] == 0].iloc[::step]])
    path = folder / "rows.parquet"
    rows.to_parquet(path, index=False)
    return {
        "name": "trainees",
        "seed": 1,
        "source": {"uri": str(path)},
        "roles": {"treatment": "treat", "outcome": "re78"},
        "covariates": {"synthesizer": "copula"},
        "mechanisms": {"targets": targets, "treatment": "fitted", "learner": "glm", "repeats": 1},
        "release": {"rows": 4_000},
        "store": {"uri": str(folder / "store")},
        "engine": {"dask": "threads", "workers": 1},
    }


def test_trainees_are_refused_for_the_average_effect_and_published_for_their_own(tmp_path: Path) -> None:
    reply, _ = directly(mint, run_of(spec(tmp_path, ["ate"], 4), tmp_path / "first"))
    assert reply["status"] == "rejected"
    failed = {gate["name"] for gate in reply["manifest"]["gates"] if gate["status"] == "failed"}
    assert "source_overlap" in failed

    reply, _ = directly(mint, run_of(spec(tmp_path, ["att"], 1), tmp_path / "second"))
    assert reply["status"] == "published", [gate for gate in reply["manifest"]["gates"] if gate["status"] == "failed"]
    effects = reply["manifest"]["effects"]
    source, (exact,) = effects["source"]["att"], [each for each in effects["truth"]["others"] if each["estimand"] == "att"]
    assert abs(exact["value"] - source["estimate"]) < 0.5 * source["se"]
    lines = summary(Manifest.model_validate(reply["manifest"]))
    assert any(line.startswith(f"ATT exact    {exact['value']:.4g}") for line in lines)
    assert not any(line.startswith("ATE") for line in lines)

    # earnings are capped in the CPS, and a few trainees lie beyond the cap
    (path,) = Path(reply["uri"].removeprefix("file://")).glob("data/**/*.parquet")
    drawn = pd.read_parquet(path)
    real = pd.read_parquet(DATA)
    for earnings in ("re74", "re75"):
        cap = real[earnings].mode().max()
        assert (drawn[earnings] == cap).mean() == pytest.approx((real[earnings] == cap).mean(), abs=0.03)
