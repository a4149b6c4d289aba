"""A comparison by the command: real variants, one that can't be made, and a run that goes on where it broke off."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.worlds import draw
from tests.releasing import files, save, spec_of, table, write

FIELDS = {
    "synthesizer", "mode", "seed", "tstr", "c2st_auc", "dcr_share", "contrast_term", "covariate_term", "effect_error", "fit_seconds",
    "sample_seconds", "peak_mib",
}  # fmt: skip
COSTS = {"fit_seconds", "sample_seconds", "peak_mib"}

# A plug-in: training rows with a little noise. It wants to see the outcome; while its file "broken" is there, its shelf is gone.
STUBBORN = """
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel

from tasks.contract.errors import EstimationError, StoreError


class Params(BaseModel):
    pass


class Model(NamedTuple):
    rows: pd.DataFrame

    def sample(self, n, rng):
        drawn = self.rows.iloc[rng.integers(len(self.rows), size=n)].reset_index(drop=True)
        for name in drawn:
            if drawn[name].dtype == "float64":
                drawn[name] += rng.normal(0, 0.02 * float(drawn[name].std()), n)
        return drawn


class Stubborn:
    def fit(self, table, columns, rng):
        if Path(__file__).with_name("broken").exists():
            raise StoreError("shelf of stubborn must be there; it is gone.", "Bring it back.")
        if "y" not in table:
            raise EstimationError("columns of synthesizer 'stubborn' must hold the outcome; got covariates only.", "Use mode full.")
        return Model(table.reset_index(drop=True))


def build(params):
    return Stubborn()
"""


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the plug-in; returns its folder."""
    folder = tmp_path / "plug"
    (folder / "stubborn-1.dist-info").mkdir(parents=True)
    (folder / "stubborn.py").write_text(STUBBORN)
    (folder / "stubborn-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: stubborn\nVersion: 1\n")
    (folder / "stubborn-1.dist-info/entry_points.txt").write_text("[waymint.synthesizer]\nstubborn = stubborn\n")
    monkeypatch.delitem(sys.modules, "stubborn", raising=False)  # another test's copy of the plug-in
    monkeypatch.syspath_prepend(str(folder))
    return folder


def asked(tmp_path: Path, compare: dict[str, Any], **settings: Any) -> Path:
    """Write a small source and a SPEC of its comparison."""
    source = tmp_path / "source.parquet"
    if not source.exists():
        write(table(400), source)
    values = spec_of(source, tmp_path / "store", release__rows=300, engine__workspace=str(tmp_path / "work"), **settings)
    return save(values | {"compare": compare}, tmp_path / "spec.yaml")


def test_variants_are_measured_and_one_that_fails_is_a_row(waymint, plug_in: Path, tmp_path: Path) -> None:
    spec = asked(tmp_path, {"synthesizers": ["copula", {"name": "stubborn", "label": "as it is"}], "seeds": 1})
    answer = waymint("compare", spec, "--json")
    assert answer.code == 0, answer.err
    reply = answer.json()
    rows = {(row["synthesizer"], row["mode"]): row for row in reply["rows"]}
    assert list(rows) == [("copula", "hybrid"), ("copula", "full"), ("as it is", "hybrid"), ("as it is", "full")]
    for key, row in rows.items():
        assert set(row) >= FIELDS
        assert set(row["effect_error"]) == {"or", "ipw", "aipw", "tmle"}
        if key == ("as it is", "hybrid"):
            assert "must hold the outcome; got covariates only" in row["refused"]
            assert row["tstr"] is None
            assert set(row["effect_error"].values()) == {None}
            continue
        assert row["refused"] is None
        assert (row["seed"], row["tstr_metric"]) == (7, "rmse")
        assert 0.9 < row["tstr"] / row["tstr_source"] < 1.5
        assert 0.0 <= row["c2st_low"] <= row["c2st_auc"] <= row["c2st_high"] <= 1.0
        assert 0.3 < row["dcr_share"] < 1.0
        assert all(abs(error) < 6 * row["source_se"] for error in row["effect_error"].values())
        assert min(row["fit_seconds"], row["sample_seconds"]) >= 0.0
    # hybrid carries the effect by construction, up to what weaker targeting leaves
    assert abs(rows["copula", "hybrid"]["contrast_term"]) < 0.25 * rows["copula", "hybrid"]["source_se"]
    # the plug-in draws training rows: closer to these than a law that was learnt, and the gates see it
    assert rows["as it is", "full"]["dcr_share"] > rows["copula", "full"]["dcr_share"] + 0.05
    assert "near_copies" in rows["as it is", "full"]["gates_failed"]
    assert rows["copula", "full"]["gates_failed"] == []
    assert rows["copula", "hybrid"]["source_effect"] == rows["copula", "full"]["source_effect"]  # one cross-fitting for all
    assert reply["recommendation"]["synthesizer"] in ("copula", None)
    assert "as it is" in reply["recommendation"]["left_out"]

    # two files beside the releases, without a row of the source; nothing stays in the workspace
    folder = reply["uri"].removeprefix(f"file://{tmp_path}/store/")
    assert re.fullmatch(r"trial/comparisons/\d{8}T\d{6}Z-[0-9a-f]{8}", folder)
    assert files(tmp_path / "store") == [f"{folder}/compare.html", f"{folder}/compare.json"]
    record = json.loads((tmp_path / "store" / folder / "compare.json").read_text())
    assert record["rows"] == reply["rows"]
    assert (record["source"]["rows"], record["released"]) == (400, 300)
    page = (tmp_path / "store" / folder / "compare.html").read_text()
    assert "must hold the outcome; got covariates only" in page
    for cell in table(400)["bmi"].sample(50, random_state=0):
        assert str(cell) not in page + json.dumps(record)
    assert list((tmp_path / "work").iterdir()) == []


def test_a_generator_that_predicts_well_and_loses_the_effect_is_called_a_pitfall(waymint, tmp_path: Path) -> None:
    # poor overlap: a Gaussian copula of (W, A, Y) predicts Y as well as the source does, and carries another effect
    source = tmp_path / "poor.parquet"
    draw("poor", 6_000, np.random.default_rng(7)).frame().to_parquet(source)
    values = spec_of(source, tmp_path / "store", engine__workspace=str(tmp_path / "work"), release__rows=6_000)
    values |= {"roles": {"treatment": "a", "outcome": "y"}, "compare": {"synthesizers": ["copula"], "seeds": 1}}
    answer = waymint("compare", save(values, tmp_path / "spec.yaml"), "--json")
    assert answer.code == 0, answer.err
    reply = answer.json()
    hybrid, full = sorted(reply["summary"], key=lambda each: each["mode"], reverse=True)
    assert (hybrid["mode"], hybrid["pitfall"], hybrid["off"]) == ("hybrid", False, False)
    assert (full["mode"], full["pitfall"]) == ("full", True)
    page = Path(reply["uri"].removeprefix("file://"), "compare.html").read_text()
    warned = re.search(r"Good prediction, wrong effect\..*?</div>", page, re.S)
    assert warned
    assert "copula, mode full" in warned[0]
    assert "copula, mode hybrid" not in warned[0]


def test_what_can_not_be_compared_is_told(waymint, plug_in: Path, tmp_path: Path) -> None:
    unknown = waymint("compare", asked(tmp_path, {"synthesizers": ["copula", "forst"]}), "--json")
    assert unknown.code == 2
    assert "Did you mean 'forest'?" in unknown.json()["hint"]
    nothing = waymint("compare", asked(tmp_path, {"synthesizers": ["stubborn"], "modes": ["hybrid"], "seeds": 1}), "--json")
    assert nothing.code == 4
    assert "all 1 were refused, the first: columns of synthesizer 'stubborn'" in nothing.json()["error"]
    assert files(tmp_path / "store") == []
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.slow
def test_a_broken_run_goes_on_with_the_variants_it_had_finished(waymint, plug_in: Path, tmp_path: Path) -> None:
    spec = asked(tmp_path, {"synthesizers": ["copula", "stubborn"], "modes": ["full"], "seeds": 2})
    (plug_in / "broken").touch()
    broken = waymint("compare", spec, "--json")
    assert (broken.code, broken.json()["error"]) == (5, "shelf of stubborn must be there; it is gone.")
    (plug_in / "broken").unlink()
    resumed = waymint("compare", spec, "--json")
    assert resumed.code == 0, resumed.err
    assert "finished parts are kept" in resumed.err
    assert "1 of 4: copula, full, seed 7" in resumed.err
    assert "copula, full, seed 7: draw" in broken.err
    assert "copula, full, seed 7: draw" not in resumed.err
    assert "stubborn, full, seed 7: draw" in resumed.err
    # what an uninterrupted run finds is the same, on worker processes too
    whole = waymint("compare", spec, "--json", "--set", "engine.dask=local", "--store", f"file://{tmp_path}/other")
    assert whole.code == 0, whole.err
    first, second = (
        [{key: value for key, value in row.items() if key not in COSTS} for row in each.json()["rows"]] for each in (resumed, whole)
    )
    assert first == second
    assert {row["seed"] for row in first} == {7, 8}
    told = {(each["synthesizer"], each["seeds"]) for each in whole.json()["summary"]}
    assert told == {("copula", 2), ("stubborn", 2)}
    assert whole.json()["recommendation"]["synthesizer"] is None  # mode "full" is never recommended
