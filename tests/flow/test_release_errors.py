"""Bad sources, stores and SPECs: each told in one sentence, by its exit code, with nothing written and no traceback."""

from __future__ import annotations

import contextlib
import ctypes
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.releasing import Command, files, manifest, save, spec_of, table, write

_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2
SECRET = 987654.321


def _text(path: Path, change: Callable[[list[str]], None]) -> Path:
    """Write the table as CSV and change its lines."""
    lines = write(table(), path).read_text().splitlines()
    change(lines)
    path.write_text("\n".join(lines))
    return path


def _cut(path: Path) -> Path:
    write(table(), path)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def _empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _ragged(lines: list[str]) -> None:
    lines[50] += f",{SECRET},2"


def _twice(path: Path) -> Path:
    frame = table()
    return write(
        pa.table([pa.array(frame["age"])] * 2 + [pa.array(frame["drug"]), pa.array(frame["score"])], ["age", "age", "drug", "score"]), path
    )


def _with(**columns: Any) -> Callable[[Path], Path]:
    return lambda path: write(table().assign(**columns), path)


def _one(column: str, value: float) -> Callable[[Path], Path]:
    """Write the table with one cell replaced."""
    return lambda path: write(table().assign(**{column: lambda frame: frame[column].where(frame.index != 3, value)}), path)


def _many_levels(path: Path) -> Path:
    return write(table(12_000).assign(patient=[f"p{number % 10_000}" for number in range(12_000)]), path)


SOURCES: dict[str, tuple[str, Callable[[Path], Path], str, str]] = {
    "no such file": (".parquet", lambda path: path, "must be there", "Check the path"),
    "empty file": (".csv", _empty, "is empty (0 bytes)", ""),
    "a header alone": (".csv", lambda path: write(table().head(0), path), "must be at least one", ""),
    "truncated Parquet": (".parquet", _cut, "truncated or damaged", ""),
    "ragged CSV": (".csv", lambda path: _text(path, _ragged), "row 51 of", "quoted"),
    "another ending": (".xlsx", _empty, "must be a Parquet, CSV, JSON Lines or Feather file", "Save the sheet as CSV"),
    "role column missing": (
        ".parquet",
        lambda path: write(table().rename(columns={"score": "scores"}), path),
        "'score', which is not there",
        "'scores'",
    ),
    "one arm": (".parquet", _with(drug=1), "exactly two labels; got 1", "both arms"),
    "three arms": (".parquet", _with(drug=lambda frame: np.arange(len(frame)) % 3), "exactly two labels; got 3", "two arms"),
    "small arm": (".parquet", _with(drug=lambda frame: (np.arange(len(frame)) < 3).astype(int)), "must be at least 5; got 3", "folds"),
    "all-missing covariate": (".parquet", _with(bmi=np.nan), "covariate 'bmi' must have known cells", "roles.exclude"),
    "outcome of text": (
        ".parquet",
        _with(score=lambda frame: [f"grade {number % 4}" for number in range(len(frame))]),
        "outcome 'score' must be numeric or two-valued",
        "",
    ),
    "constant outcome": (".parquet", _with(score="x"), "outcome 'score' must vary; got the same value in all 800 rows", ""),
    "infinite covariate": (".parquet", _one("bmi", np.inf), "'bmi' must be finite; got fewer than 5 infinite", ""),
    "infinite outcome": (".parquet", _one("score", -np.inf), "'score' must be finite; got fewer than 5 infinite", ""),
    "missing outcome": (".parquet", _one("score", np.nan), "must be known in every row; got fewer than 5 of 800", "missing_outcome"),
    "a column twice": (".parquet", _twice, "must be distinct; got 'age' more than once", "Rename"),
    "ten thousand levels": (".parquet", _many_levels, "levels of covariate 'patient' must be at most 200", "roles.exclude"),
    "few rows": (".parquet", lambda path: write(table().head(15), path), "must be at least 20; got 15", ""),
}


@pytest.mark.parametrize("case", SOURCES)
def test_a_source_that_can_not_be_used(case: str, waymint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ending, make, message, hint = SOURCES[case]
    source = make(tmp_path / f"source{ending}")
    store, work = tmp_path / "store", tmp_path / "work"
    answer = waymint("release", save(spec_of(source, store, engine__workspace=str(work)), tmp_path / "spec.yaml"), "--json")
    assert answer.code == 4, answer.err
    reply = answer.json()
    assert (reply["status"], reply["code"]) == ("error", 4)
    assert message in reply["error"]
    assert hint in reply["hint"]
    assert f"error: {reply['error']}" in answer.err
    assert "Traceback" not in answer.err
    assert str(SECRET) not in answer.out + answer.err
    assert files(store) == []
    assert not work.exists() or not list(work.iterdir())


WISHES: dict[str, tuple[int, dict[str, Any], str, str]] = {
    "unknown synthesizer": (2, {"covariates__synthesizer": "forst"}, "synthesizer of SPEC must be one of", "'forest'"),
    "unknown parameter": (2, {"covariates__params": {"depth": 1}}, "depth of synthesizer 'copula'", "shrinkage"),
    "subgroup that is none": (2, {"roles__subgroups": ["height"]}, "got 'height', which is none", "'age'"),
    "store of another scheme": (2, {"store__uri": "gs://bucket/x"}, "must start with file:// or s3://", ""),
    "treated is no label": (4, {"roles__treated": "yes"}, "treated of roles must be one of the two labels", ""),
}


@pytest.mark.parametrize("case", WISHES)
def test_a_wish_that_can_not_be_met(case: str, waymint, source: Path, tmp_path: Path) -> None:
    code, wish, message, hint = WISHES[case]
    values = spec_of(source, tmp_path / "store", **wish)
    answer = waymint("release", save(values, tmp_path / "spec.yaml"))
    assert answer.code == code, answer.err
    assert answer.out == ""
    assert message in answer.err
    assert hint in answer.err
    assert files(tmp_path / "store") == []


def test_the_command_tells_an_error_without_the_machinerys_lines(command: Command, tmp_path: Path) -> None:
    source = write(table().assign(drug=1), tmp_path / "source.parquet")
    answer = command.run("release", save(spec_of(source, tmp_path / "store"), tmp_path / "spec.yaml"))
    assert (answer.code, answer.out) == (4, "")
    first, *rest = answer.err.splitlines()
    assert first.startswith("waymint release 'trial': starting")
    assert [line.partition(":")[0] for line in rest if not line.startswith("[")] == ["error", "hint"]
    assert all("read source" in line for line in rest[:-2])


def test_a_store_that_is_a_file(waymint, source: Path, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    answer = waymint("release", save(spec_of(source, tmp_path / "store"), tmp_path / "spec.yaml"))
    assert answer.code == 5
    assert "must be a folder" in answer.err
    assert (tmp_path / "store").read_text() == "mine"


def _without_privilege() -> None:
    """Take from root what lets it write where it may not."""
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def test_a_store_that_refuses_access(command: Command, source: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir(mode=0o500)
    spec = save(spec_of(source, store, engine__workspace=str(tmp_path / "work")), tmp_path / "spec.yaml")
    answer = command.run("release", spec, preexec=_without_privilege)
    store.chmod(0o700)
    assert answer.code == 5, answer.err
    assert "Traceback" not in answer.err
    assert "access to store" in answer.err
    assert "read source" not in answer.err  # told before any work
    assert list(store.iterdir()) == []


@contextlib.contextmanager
def _room(size: int) -> Iterator[None]:
    """Let no file of this process and its children grow beyond some bytes for the length of the block, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_store_that_fills_up(waymint, command: Command, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts fit, the rest does not: nothing stays readable, and with room again the run publishes under its number."""
    import tasks.publish.task as publishing

    store, work = tmp_path / "store", tmp_path / "work"
    spec = save(spec_of(source, store, engine__workspace=str(work)), tmp_path / "spec.yaml")
    with contextlib.ExitStack() as full:
        claim = publishing.claim

        def claim_the_last_room(*arguments: Any) -> int:
            version: int = claim(*arguments)
            full.enter_context(_room(9_000))
            return version

        monkeypatch.setattr(publishing, "claim", claim_the_last_room)
        answer = waymint("release", spec)
    assert answer.code == 5, answer.err
    assert "space of store" in answer.err
    assert "Traceback" not in answer.err
    assert [path for path in files(store) if "/claims/" not in path and not path.startswith("_holdouts/")] == []
    again = command.run("release", spec, "--json")  # another process, which has room
    assert again.code == 0, again.err
    assert again.json()["version"] == 1
    assert f"resuming run {manifest(store)['run']}" in again.err
    assert not list(work.iterdir())


def test_a_temporary_folder_that_is_full(waymint, command: Command, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tasks.checks.task as checks

    judge = checks.judge

    def judge_without_room(*arguments: Any) -> Any:
        with _room(9_000):
            return judge(*arguments)

    monkeypatch.setattr(checks, "judge", judge_without_room)
    answer = waymint("release", save(spec_of(source, tmp_path / "store", engine__workspace=str(tmp_path / "work")), tmp_path / "spec.yaml"))
    assert answer.code == 1, answer.err
    assert "space of this machine" in answer.err
    assert files(tmp_path / "store") == []


def test_one_name_is_one_table(waymint, source: Path, tmp_path: Path) -> None:
    """A second table under the name is refused before any fitting, and the first release stays what it was."""
    store = tmp_path / "store"
    assert waymint("release", save(spec_of(source, store), tmp_path / "spec.yaml")).code == 0
    before = {path: (store / path).read_bytes() for path in files(store)}
    other = write(table().rename(columns={"bmi": "body mass"}), tmp_path / "other.parquet")
    answer = waymint("release", save(spec_of(other, store), tmp_path / "spec.yaml"))
    assert answer.code == 2, answer.err
    assert "same table" in answer.err
    assert "'trial'" in answer.err
    assert "fit " not in answer.err
    assert {path: (store / path).read_bytes() for path in files(store)} == before


@pytest.mark.slow
def test_two_tables_race_for_one_name(command: Command, source: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    other = write(table().rename(columns={"bmi": "body mass"}), tmp_path / "other.parquet")
    specs = [save(spec_of(uri, store), tmp_path / f"{number}.yaml") for number, uri in enumerate((source, other))]
    racing = [command.start("release", spec, "--json") for spec in specs]
    answers = [process.communicate(timeout=500) for process in racing]
    assert sorted(process.returncode for process in racing) == [0, 2], answers
    columns = set(pd.read_parquet(store / "trial" / "v000001" / "data").columns)
    assert columns in ({"age", "sex", "bmi", "drug", "score"}, {"age", "sex", "body mass", "drug", "score"})
    assert {path.name for path in (store / "trial").iterdir()} == {"claims", "v000001"}
