"""The first hour: from a messy export to a file for a colleague, with two answers and no hand edit."""

from __future__ import annotations

import io
import time
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.releasing import manifest

ROWS = 500
TRUE_EFFECT = 1.0
#: What keeps the test short; the roles and the reading stay as they were proposed.
FAST = [
    f"--set={each}"
    for each in ("covariates.synthesizer=copula", "mechanisms.learner=glm", "mechanisms.folds=2", "release.rows=500", "engine.dask=threads")
]


class Terminal(io.StringIO):
    """Standard input of a user who answers."""

    def isatty(self) -> bool:
        return True


def _comma(values: pd.Series) -> pd.Series:
    return values.map(lambda value: str(value).replace(".", ","))


def _export(path: Path) -> pd.DataFrame:
    """Write what a spreadsheet of a rehabilitation clinic exports; age confounds, the true effect is 1."""
    rng = np.random.default_rng(20261126)
    severity = rng.normal(size=ROWS).round(2)
    treated = rng.uniform(size=ROWS) < 1 / (1 + np.exp(-0.8 * severity))
    score = (TRUE_EFFECT * treated + 1.2 * severity + rng.normal(size=ROWS)).round(2)
    bmi = (27 + 3 * severity + rng.normal(size=ROWS)).round(1)
    bmi[rng.uniform(size=ROWS) < 0.08] = -99
    admitted = pd.Timestamp("2022-02-01") + pd.to_timedelta(rng.integers(0, 500, ROWS), "D")
    frame = pd.DataFrame(
        {
            "Pat-Nr": [f"{number:06d}" for number in rng.permutation(np.arange(1000, 1000 + ROWS))],
            "Straße": [f"Lindenweg {number}" for number in rng.integers(1, 300, ROWS)],
            "Schweregrad": severity,
            "BMI": bmi,
            "Gewicht": rng.choice(["82,5", "71,0", "64,3", "k.A."], ROWS, p=[0.4, 0.35, 0.2, 0.05]),
            "Aufnahme": admitted.strftime("%d.%m.%Y"),
            "Entlassung": (admitted + pd.to_timedelta(rng.integers(5, 40, ROWS), "D")).strftime("%d.%m.%Y"),
            "Raucher": rng.choice(["Ja", "Nein"], ROWS, p=[0.3, 0.7]),
            "Übungsgruppe": np.where(treated, "Ja", "Nein"),
            "Gehtest": score,
            "Gehtest (m)": (score * 100 + 400).round().astype(int),
            "Bemerkung": [f"kommt um {number % 12} Uhr, Zimmer {number}" for number in range(ROWS)],
        }
    )
    written = frame.assign(**{name: _comma(frame[name]) for name in ("Schweregrad", "BMI", "Gehtest")})
    path.write_bytes(written.to_csv(sep=";", index=False, lineterminator="\r\n").encode("cp1252"))
    return frame


def test_from_a_messy_export_to_a_file_for_a_colleague(waymint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property) -> None:
    monkeypatch.chdir(tmp_path)
    began, commands = time.monotonic(), []

    def command(*arguments: object):
        commands.append(arguments[0])
        return waymint(*arguments)

    frame = _export(tmp_path / "Reha Export.csv")
    # two answers, by number or by name
    monkeypatch.setattr("sys.stdin", Terminal("Übungsgruppe\nGehtest\n"))
    answer = command("init", "Reha Export.csv")
    assert answer.code == 0, answer.err
    assert "Which column is the treatment?" in answer.err
    assert "Which column is the outcome?" in answer.err
    assert "BMI" in answer.out
    path = tmp_path / "reha-export.toml"
    proposed = tomllib.loads(path.read_text())
    assert proposed["source"]["csv"] == {
        "separator": ";",
        "decimal": ",",
        "encoding": "cp1252",
        "dates": {"Aufnahme": "%d.%m.%Y", "Entlassung": "%d.%m.%Y"},
    }
    assert proposed["source"]["missing_values"] == {"BMI": [-99], "Gewicht": ["k.A."]}
    assert (proposed["roles"]["treated"], proposed["roles"]["outcome"]) == ("Ja", "Gehtest")
    assert proposed["roles"]["covariates"] == ["Schweregrad", "BMI", "Gewicht", "Aufnahme", "Raucher"]

    checked = command("check", path, "--store", tmp_path / "store", "--json")
    assert checked.code == 0, checked.out
    released = command("release", path, "--store", tmp_path / "store", *FAST)
    assert released.code == 0, released.err
    effects = manifest(tmp_path / "store", "reha-export")["effects"]
    own = effects["source"]["ate"]
    assert abs(own["estimate"] - TRUE_EFFECT) < 4 * own["se"] < 0.6
    assert abs(effects["truth"]["ate"] - own["estimate"]) < 4 * effects["truth"]["mc_se"] + 0.1 * own["se"]
    drawn = pq.read_table(tmp_path / "store/reha-export/v000001/data/copy-0")
    assert drawn.column_names == [*(name for name in frame if name in drawn.column_names)]
    assert not {"Pat-Nr", "Straße", "Entlassung", "Gehtest (m)", "Bemerkung"} & set(drawn.column_names)
    assert drawn["BMI"].drop_null().to_pandas().min() > 10
    assert 0.03 < drawn["BMI"].null_count / drawn.num_rows < 0.14
    assert str(drawn["Gewicht"].type) == "double"
    assert str(drawn["Aufnahme"].type).startswith("date32")

    exported = command("releases", "export", tmp_path / "store" / "reha-export", "--to", tmp_path / "reha.zip", "--csv")
    assert exported.code == 0, exported.err
    record_property("newcomer, from a messy export to a zip", f"{len(commands)} commands, 2 answers, {time.monotonic() - began:.0f} s")
    with zipfile.ZipFile(tmp_path / "reha.zip") as archive:
        names = archive.namelist()
    assert any(name.endswith(".csv") for name in names)
    assert any(name.endswith("report.html") for name in names)


def test_without_a_terminal_the_columns_must_be_named(waymint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _export(tmp_path / "export.csv")
    for options, role, candidate in (((), "treatment", "Raucher"), (("--treatment", "Übungsgruppe"), "outcome", "Gehtest")):
        answer = waymint("init", "export.csv", *options, "--json")
        assert answer.code == 2
        assert answer.json()["error"].startswith(f"{role} of init must be named")
        assert f"'{candidate}'" in answer.json()["hint"]
    named = ("--treatment", "Übungsgruppe", "--outcome", "Gehtest")
    answer = waymint("init", "export.csv", *named, "--json")
    assert answer.code == 0, answer.err
    reply = answer.json()
    assert {"Pat-Nr", "Straße", "Entlassung", "Gehtest (m)", "Bemerkung"} == set(reply["left_out"])
    assert "variance" in reply["left_out"]["Gehtest (m)"]
    assert "after treatment" in reply["left_out"]["Entlassung"]
    # what is there already is not replaced
    before = (tmp_path / "export.toml").read_text()
    (tmp_path / "export.toml").write_text(before + "# edited\n")
    again = waymint("init", "export.csv", *named)
    assert (again.code, "which exists" in again.err) == (2, True)
    assert (tmp_path / "export.toml").read_text().endswith("# edited\n")
    assert waymint("init", "export.csv", *named, "--force").code == 0
    assert (tmp_path / "export.toml").read_text() == before
    wrong = waymint("init", "export.csv", "-o", "other.toml", "--treatment", "Schweregrad", "--outcome", "Gehtest")
    assert wrong.code == 2
    assert "must have two to 8 labels" in wrong.err
    assert not (tmp_path / "other.toml").exists()
