"""The functions of the package show their keywords, refuse others, and offer what the command line offers."""

from __future__ import annotations

import inspect
from pathlib import Path

import pandas as pd
import pytest

import waymint
from infra.cli.estimation import estimate as command
from waymint.running import run_composed

FLOWS = (waymint.release, waymint.augment, waymint.simulate, waymint.compare)
#: What a keyword is called on the command line, where that is not its name.
OPTIONS = {"kinds": "kind", "missing_values": "missing_value"}


@pytest.mark.parametrize("function", FLOWS)
def test_a_flow_spells_its_keywords_out(function) -> None:
    shown = inspect.signature(function).parameters
    taken = inspect.signature(run_composed).parameters
    assert [name for name in shown if name != "data"] == [name for name in taken if name not in ("flow", "data")]
    assert all(shown[name].default == taken[name].default for name in shown if name != "data")
    with pytest.raises(TypeError, match=rf"{function.__name__}\(\) got an unexpected keyword argument 'rows'"):
        function("builtin:nhefs", rows=5)
    with pytest.raises(TypeError, match=rf"{function.__name__}\(\) missing a required argument: 'data'"):
        function()


def test_estimate_takes_every_option_of_the_command() -> None:
    keywords = {OPTIONS.get(name, name) for name in inspect.signature(waymint.estimate).parameters}
    options = {name.removesuffix("_") for name in inspect.signature(command).parameters} - {"json"}
    assert options <= keywords
    assert keywords - options == {"subgroups", "progress"}


def test_estimate_reads_as_the_keywords_say(tmp_path: Path) -> None:
    rows = 240
    frame = pd.DataFrame(
        {"arm": ["b", "a"] * (rows // 2), "person": [n // 2 for n in range(rows)], "age": [20 + n * 7 % 50 for n in range(rows)]}
    )
    frame["well"] = ["up" if (n * n + n % 2) % 5 > 1 else "down" for n in range(rows)]
    frame["note"] = [f"n{n}" for n in range(rows)]
    frame.loc[::40, "age"] = -99
    path = tmp_path / "table.csv"
    frame.to_csv(path, sep=";", index=False)
    keywords = {
        "treatment": "arm", "outcome": "well", "treated": "a", "event": "up", "exclude": ["note"], "cluster": "person", "learner": "glm",
        "missing_values": {"age": [-99]}, "csv": {"separator": ";"}, "estimators": ["or", "tmle"], "folds": 2,
    }  # fmt: skip
    estimates = waymint.estimate(path, **keywords, progress=False)
    assert [each["estimator"] for each in estimates.reply["estimates"]] == ["or", "tmle"]
    assert any(row["level"] == "missing" or "missing" in str(row) for row in estimates.reply["balance"])
    other = waymint.estimate(path, **{**keywords, "event": "down"}, progress=False)
    assert other.reply["estimates"][0]["estimate"] == pytest.approx(-estimates.reply["estimates"][0]["estimate"])
    with pytest.raises(waymint.SpecError):
        waymint.estimate(path, **{**keywords, "csv": {"separators": ";"}}, progress=False)
