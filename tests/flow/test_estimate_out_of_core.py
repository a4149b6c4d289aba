"""``waymint estimate`` beyond memory: the same answers as in it, and its own refusals."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

import flows.stages.tables
from flows.estimate import estimate
from infra import cli
from tasks.contract.errors import EstimationError, SourceError, SpecError
from tests.unit.test_estimation_estimate import base_world, messy

OPTIONS = {
    "estimators": ("or", "ipw", "aipw", "tmle", "att", "ato"),
    "seed": 3,
    "folds": 4,
    "repeats": 1,
    "learner": "glm",
    "propensity": None,
}
MESSY = {
    "treatment": "arm",
    "treated": "drug",
    "outcome": "score",
    "covariates": ("age", "city", "smoker", "seen", "grade", "visits", "same"),
}


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table of every kind of column, read in many batches."""
    monkeypatch.setattr(flows.stages.tables, "BATCH_ROWS", 150)
    rng = np.random.default_rng(1)
    frame = messy(800)
    frame["times"], frame["p"] = rng.integers(0, 4, len(frame)).astype(float), rng.uniform(0.2, 0.8, len(frame))
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=90)
    frame.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path


def numbers(reply):
    found = [value for one in reply["estimates"] for value in one.values() if isinstance(value, float | int)]
    found += [one[key] for one in reply["balance"] for key in ("before", "after")]
    measured = reply["overlap"]
    return np.array([*found, *(measured[key] for key in ("outside", "ess0", "ess1", "largest_weight")), *measured["quantiles0"]])


@pytest.mark.parametrize("treated", ["drug", "placebo"])
@pytest.mark.parametrize("extra", [{}, {"weights": "times"}, {"propensity": "p", "weights": "times"}, {"propensity": 0.4}, {"repeats": 2}])
@pytest.mark.parametrize("file", ["t.parquet", "t.csv"])
def test_the_same_answer_as_in_memory(table, capsys, file, extra, treated):
    path, roles = str(table / file), MESSY | {"treated": treated}
    here, _ = estimate(path, roles, OPTIONS | extra)
    there, lines = estimate(path, roles, OPTIONS | extra | {"memory_rows": 100})
    assert here["fit"]["out_of_core"] is False
    assert there["fit"] == here["fit"] | {"out_of_core": True}
    assert [(one["covariate"], one["level"]) for one in here["balance"]] == [(one["covariate"], one["level"]) for one in there["balance"]]
    assert numbers(there) == pytest.approx(numbers(here), rel=1e-8, abs=1e-8)
    assert any(line.startswith("fit ") and "out of core" in line for line in lines)
    assert "waymint estimate: predicting" in capsys.readouterr().err


def test_any_cutting_of_the_file_gives_the_same_answer(table, monkeypatch):
    asked = OPTIONS | {"memory_rows": 0, "fit_rows": 200, "weights": "times"}
    found = []
    for rows in (100, 333, 10_000):
        monkeypatch.setattr(flows.stages.tables, "BATCH_ROWS", rows)
        found.append(estimate(str(table / "t.csv"), MESSY, asked)[0])
    assert found[0]["fit"]["rows"] == found[0]["overlap"]["n"]
    for other in found[1:]:
        assert numbers(other) == pytest.approx(numbers(found[0]), rel=1e-9, abs=1e-9)


def test_a_learner_that_needs_memory_gets_a_sample_and_says_so(table):
    asked = OPTIONS | {"memory_rows": 0, "fit_rows": 300, "learner": "boosted"}
    reply, lines = estimate(str(table / "t.parquet"), MESSY, asked)
    assert 300 <= reply["fit"]["rows"] < 800
    assert any("a sample of" in line for line in lines)
    assert abs(reply["estimates"][2]["estimate"] - 2) < 5 * reply["estimates"][2]["se"]


def test_all_rows_of_a_glm_say_more_than_a_sample_of_them(tmp_path):
    """Base world B, its ATE is 0.4186: refined on 20,000 rows from samples of 400."""
    base_world(20_000, 0).to_parquet(tmp_path / "b.parquet")
    roles = {"treatment": "a", "outcome": "y"}
    asked = OPTIONS | {"estimators": ("or", "aipw"), "memory_rows": 0, "fit_rows": 400}
    reply, _ = estimate(str(tmp_path / "b.parquet"), roles, asked)
    whole, _ = estimate(str(tmp_path / "b.parquet"), roles, asked | {"memory_rows": 10**6})
    for one, other in zip(reply["estimates"], whole["estimates"]):
        assert one["estimate"] == pytest.approx(other["estimate"], abs=0.1 * one["se"])
        assert abs(one["estimate"] - 0.4186) < 4 * one["se"]


@pytest.mark.parametrize("memory_rows", [0, 10**6])
@pytest.mark.parametrize(
    ("change", "extra", "error", "message"),
    [
        ({"times": -1.0}, {"weights": "times"}, EstimationError, "weights of estimate must be at least 0; got"),
        ({"times": np.nan}, {"weights": "times"}, EstimationError, "weights of estimate must be known in every row; got"),
        ({"times": np.inf}, {"weights": "times"}, EstimationError, "weights of estimate must be finite; got"),
        ({"times": 0.0}, {"weights": "times"}, EstimationError, "must be"),
        ({"p": 1.0}, {"propensity": "p"}, EstimationError, "propensity of estimate must be in"),
        ({"p": "much"}, {"propensity": "p"}, SourceError, "column 'p' of source must be of numbers"),
        ({}, {"weights": "tims"}, SourceError, "got 'tims', which is not there. Did you mean 'times'?"),
        ({}, {"weights": "age"}, SpecError, "without another part; got 'age'"),
        ({}, {"propensity": 1.5}, EstimationError, "propensity of estimate must be in"),
    ],
)
def test_refusals(table, change, extra, error, message, memory_rows):
    pd.read_parquet(table / "t.parquet").assign(**change).to_parquet(table / "changed.parquet")
    with pytest.raises(error) as caught:
        estimate(str(table / "changed.parquet"), MESSY, OPTIONS | extra | {"memory_rows": memory_rows})
    assert message in str(caught.value)


def test_from_the_command_line(table, monkeypatch, capsys):
    named = [
        "--treatment",
        "arm",
        "--treated",
        '"drug"',
        "--outcome",
        "score",
        "--weights",
        "times",
        "--propensity",
        "p",
        "--learner",
        "glm",
    ]
    replies = []
    for more in ([], ["--memory-rows", "100"]):
        monkeypatch.setattr(sys, "argv", ["waymint", "estimate", str(table / "t.parquet"), *named, *more, "--json"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        assert end.value.code == 0, captured.err
        replies.append(json.loads(captured.out))
        assert {row["covariate"] for row in replies[-1]["balance"]}.isdisjoint({"times", "p"})
    assert ("reading: " in captured.err, replies[1]["fit"]["out_of_core"]) == (True, True)
    assert numbers(replies[1]) == pytest.approx(numbers(replies[0]), rel=1e-8, abs=1e-8)
