"""An augmentation by the command: published with its price, refused where it has none, and what can't be asked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.augmenting import table
from tests.releasing import Ran, files, manifest, parts, save, spec_of, write

Waymint = Callable[..., Ran]


def asked(folder: Path, **settings: Any) -> tuple[Path, Path]:
    """Write source, trial and a SPEC of some seconds; return the SPEC and the store."""
    source = write(table(450, 1), folder / "source.parquet")
    write(table(700, 2, randomised=True), folder / "trial.csv")
    values = spec_of(source, folder / "store", augment__outcome=str(folder / "trial.csv"), augment__draws=10, **settings)
    values["name"] = "filled"
    values["mechanisms"] |= {"repeats": 1}
    return save(values, folder / "spec.yaml"), folder / "store"


def test_rows_are_added_where_an_arm_is_missing_and_published(waymint: Waymint, tmp_path: Path) -> None:
    work = tmp_path / "work"
    spec, store = asked(tmp_path, engine__workspace=str(work))
    answer = waymint("augment", spec, "--json")
    assert answer.code == 0, answer.err
    reply = answer.json()
    assert {"status", "uri", "version", "manifest"} <= set(reply)
    assert reply["status"] == "published"
    found = manifest(store, "filled")
    assert found == reply["manifest"]
    assert found["profile"] == "augment"
    told = found["augmentation"]
    assert told["outcome"]["source"] == str(tmp_path / "trial.csv")
    assert told["outcome"]["rows"] == 700
    assert any("age >" in region["sentence"] and "treated of" in region["sentence"] for region in told["regions"])
    assert [each["name"] for each in told["rivals"]] == ["augment", "nothing", "overlap", "trimming", "pooling"]
    assert told["worth"] <= told["tolerance"]
    names = [(each["estimand"], each["estimator"]) for each in told["estimates"]["after"]]
    assert names == [(each["estimand"], each["estimator"]) for each in told["estimates"]["before"]]
    assert len(names) == 5
    # the effect of this law is 1; the trial tells it
    tmle = next(each for each in told["estimates"]["after"] if each["estimator"] == "tmle")
    assert tmle["ci_low"] < 1.0 < tmle["ci_high"]

    # added rows alone, marked, of the source's types; none of them a row of a real table
    added = pd.concat([pd.read_parquet(store / "filled" / "v000001" / path) for path in parts(store, "filled")])
    assert list(added.columns) == ["age", "sex", "drug", "score", "waymint_added"]
    assert len(added) == told["rows"]
    assert added["waymint_added"].all()
    assert int(added["drug"].sum()) == told["treated"]
    # treatment is added where it was missing: among the older
    assert added.loc[added["drug"] == 1, "age"].mean() > added.loc[added["drug"] == 0, "age"].mean() + 3.0
    real = pd.concat([table(450, 1), table(700, 2, randomised=True)])
    assert added.merge(real, on=["age", "sex", "drug", "score"]).empty
    page = (store / "filled" / "v000001" / "report.html").read_text()
    assert not re.search(r'(src|href)="', page)
    for cell in real["score"].sample(40, random_state=0):
        assert f"{cell}" not in page + json.dumps(told["regions"])
    assert waymint("releases", "verify", f"{store}/filled", "--json").json()["problems"] == []
    alone = waymint("estimate", f"{store}/filled", "--json")
    assert alone.code == 4
    assert "which holds added rows only" in alone.json()["error"]
    assert list(work.iterdir()) == []
    assert (store / "filled" / "claims" / "identity.json").read_text().count("waymint_added") == 1


def test_one_s_own_outcomes_are_refused_without_a_row(waymint: Waymint, tmp_path: Path) -> None:
    spec, store = asked(tmp_path)
    answer = waymint("augment", spec, "--set", 'augment.outcome="self"', "--json")
    assert answer.code == 3, answer.err
    assert "they add no information about the outcome" in answer.err
    reply = answer.json()
    assert reply["status"] == "rejected"
    assert [gate["name"] for gate in reply["manifest"]["gates"] if gate["passed"] is False] == ["worth"]
    told = reply["manifest"]["augmentation"]
    assert told["outcome"] == {"source": "self", "rows": None, "fingerprint": None, "flip": 0.0, "adds_information": False}
    assert [each["name"] for each in told["rivals"]] == ["augment", "nothing", "overlap", "trimming"]
    assert told["estimates"]["after"] is None
    assert not [path for path in files(store) if path.endswith(".parquet")]
    assert any(path.endswith("report.html") for path in files(store))


def test_what_can_t_be_asked_is_told_at_once(waymint: Waymint, tmp_path: Path) -> None:
    spec, _ = asked(tmp_path)
    gone = waymint("augment", spec, "--set", f'augment.outcome="{tmp_path}/gone.csv"', "--json")
    assert gone.code == 4
    copies = waymint("augment", spec, "--set", "release.copies=2", "--json")
    assert copies.code == 2
    assert "copies = 1" in copies.json()["error"]
    wrong = waymint("augment", spec, "--set", "augment.flip=0.7", "--json")
    assert wrong.code == 2
    assert "augment.flip" in wrong.json()["error"]
    noisy = waymint("augment", spec, "--set", "augment.flip=0.1", "--json")
    assert noisy.code == 2
    assert "continuous outcome" in noisy.json()["error"]


@pytest.mark.slow
def test_a_table_of_other_columns_or_levels_is_no_source_of_outcomes(waymint: Waymint, tmp_path: Path) -> None:
    spec, _ = asked(tmp_path)
    trial = pd.read_csv(tmp_path / "trial.csv")
    trial.drop(columns="sex").to_csv(tmp_path / "trial.csv", index=False)
    lacking = waymint("augment", spec, "--json")
    assert lacking.code == 4
    assert "lacks sex" in lacking.json()["error"]
    trial.assign(drug=np.where(trial["drug"] == 1, "yes", "no")).to_csv(tmp_path / "trial.csv", index=False)
    other = waymint("augment", spec, "--json")
    assert other.code == 4
    assert "augment.outcome" in other.json()["error"]


@pytest.mark.slow
def test_an_earlier_release_is_a_parent_and_the_same_spec_gives_the_same_bytes(waymint: Waymint, tmp_path: Path) -> None:
    spec, store = asked(tmp_path)
    trial = spec_of(tmp_path / "trial.csv", store, release__rows=1_500)
    assert waymint("release", save(trial, tmp_path / "trial.yaml"), "--json").code == 0
    setting = f'augment.outcome="{store}/trial@1"'
    assert waymint("augment", spec, "--set", setting, "--json").code == 0
    found = manifest(store, "filled")
    assert [(parent["name"], parent["version"]) for parent in found["parents"]] == [("trial", 1)]
    assert waymint("augment", spec, "--set", setting, "--set", "source.partition_rows=200", "--set", "engine.workers=1", "--json").code == 0
    one, other = (
        pd.concat([pd.read_parquet(store / "filled" / f"v{number:06d}" / path) for path in parts(store, "filled", number)])
        for number in (1, 2)
    )
    assert len(one) == len(other)
    numeric = one.select_dtypes("number").columns
    np.testing.assert_allclose(one[numeric], other[numeric], atol=1e-3)
