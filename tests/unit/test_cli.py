"""The command line's own answers: usage, help, schema, SPEC errors, exit codes."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra import cli
from infra.cli.replies import visible
from tasks.contract.spec import Spec

ROOT = Path(__file__).parents[2]
HEAVY = (
    "rich",
    "pydantic_settings",
    "prefect",
    "great_expectations",
    "sklearn",
    "pandas",
    "scipy",
    "dask",
    "distributed",
    "matplotlib",
    "boto3",
)
SPEC = 'name = "trial"\n[source]\nuri = "x.parquet"\n[roles]\ntreatment = "a"\noutcome = "y"\n'


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["waymint", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return call


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mint"], "No such command 'mint'"),
        (["release"], "Missing argument 'SPEC'"),
        (["release", "a", "b"], "unexpected extra argument"),
        (["release", "a", "--fast"], "No such option: --fast"),
        (["releases", "pull", "x/y"], "Missing option '--to'"),
        (["releases", "gc", "x/y", "--older-than", "-1"], "Invalid value for '--older-than'"),
        (["more", "x/y", "--rows", "0"], "Invalid value for '--rows'"),
    ],
)
def test_a_wrong_command_line(run, arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    code, out, _ = run(*arguments, "--json")
    assert code == 2
    assert json.loads(out)["status"] == "error"


@pytest.mark.parametrize("arguments", [[], ["releases"]])
def test_a_bare_command_prints_its_help(run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert "Usage" in out + err
    assert "error:" not in err


def test_help_names_every_command(run) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for command in ("release", "releases", "estimate", "schema", "datasets"):
        assert f" {command} " in out


def test_the_version_is_the_packages(run) -> None:
    assert run("--version") == (0, f"waymint {importlib.metadata.version('waymint')}\n", "")


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert visible("a\x1b[2Jb\u202e\tc\n") == "a\\x1b[2Jb\\u202e\tc\n"


def test_schema_is_the_specs(run) -> None:
    code, out, err = run("schema")
    assert (code, err) == (0, "")
    assert json.loads(out) == Spec.model_json_schema()


def test_datasets(run) -> None:
    code, out, _ = run("datasets", "--json")
    assert code == 0
    names = {entry["name"] for entry in json.loads(out)}
    assert {"nhefs", "nsw"} <= names
    assert all(f"builtin:{name}" in run("datasets")[1] for name in names)


@pytest.mark.parametrize("setting", ["release.rows=0", "release.rows=-1", "releas.rows=5", "mechanisms.folds=1"])
def test_a_spec_error_in_both_forms(run, tmp_path: Path, setting: str) -> None:
    (tmp_path / "spec.toml").write_text(SPEC)
    code, out, err = run("release", tmp_path / "spec.toml", "--set", setting)
    assert (code, out) == (2, "")
    told, hint = err.splitlines()
    assert told.startswith("error: ")
    assert hint.startswith("hint: ")
    code, out, again = run("release", tmp_path / "spec.toml", "--set", setting, "--json")
    assert json.loads(out) == {"status": "error", "code": 2, "error": told.removeprefix("error: "), "hint": hint.removeprefix("hint: ")}
    assert again == err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["releases", "show", "{folder}/store/none"], 5),
        (["releases", "verify", "{folder}/store/none@3"], 5),
        (["releases", "show", "{folder}/store/none@x"], 2),
        (["releases", "diff", "{folder}/store/none", "{folder}/store/none"], 5),
        (["more", "{folder}/store/none", "--rows", "5"], 5),
        (["releases", "pull", "{folder}/store/none", "--to", "{folder}/copy"], 5),
        (["releases", "export", "{folder}/store/none", "--to", "{folder}/none.zip"], 5),
        (["releases", "export", "{folder}/store/none", "--to", "{folder}/none.tar"], 2),
        (["releases", "gc", "{folder}/store/none@1"], 2),
        (["releases", "list", "ftp://there"], 2),
    ],
)
def test_releases_that_are_not_there(run, tmp_path: Path, arguments: list[str], code: int) -> None:
    found, out, err = run(*(argument.format(folder=tmp_path) for argument in arguments))
    assert found == code
    assert out == ""
    assert err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_has_no_releases(run, tmp_path: Path) -> None:
    assert run("releases", "list", tmp_path, "--json")[:2] == (0, "[]\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, None])
def test_an_interrupt_ends_with_130(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: type[BaseException] | None) -> None:
    """Whoever meets the interrupt first, this command or the library that parses it."""
    (tmp_path / "spec.toml").write_text(SPEC)

    def interrupted(*_: object, **__: object) -> int:
        if error is None:
            return 130
        raise error

    monkeypatch.setattr(cli, "app", interrupted)
    code, out, err = run("release", tmp_path / "spec.toml")
    assert (code, out) == (130, "")
    assert err == "interrupted: the same command resumes where this one stopped.\n"


@pytest.mark.parametrize("arguments", [["--help"], ["release", "SPEC", "--set", "release.row=5"], ["schema"], ["release", "none.toml"]])
def test_what_needs_no_machinery_loads_none(tmp_path: Path, arguments: list[str]) -> None:
    """A wrong SPEC is told at once: none of what takes seconds to import is imported."""
    (tmp_path / "spec.toml").write_text(SPEC)
    code = (
        "import sys\nfrom infra import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        f"sys.stderr.write('\\nloaded:' + ','.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    arguments = [str(tmp_path / "spec.toml") if argument == "SPEC" else argument for argument in arguments]
    ended = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stderr.splitlines()[-1] == "loaded:"


def test_the_installed_command_answers() -> None:
    command = Path(sys.executable).parent / "waymint"
    ended = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "Causally faithful" in ended.stdout
