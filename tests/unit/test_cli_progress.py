"""What a command says beside its results: quiet, verbose, the time left, the next step, completion of the shell."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from infra import cli, stages
from infra.logging import PlainDisplay, QuietDisplay, open_display
from infra.pace import Pace
from infra.settings import Verbosity, verbosity
from tests.direct import DirectWork


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    for name in ("WAYMINT_VERBOSITY", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "PREFECT_LOGGING_LEVEL"):
        monkeypatch.setenv(name, "")  # taken back at the end, whatever the command sets
        monkeypatch.delenv(name)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["waymint", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return call


def test_the_next_step_follows_on_stderr_and_quiet_leaves_it_out(run) -> None:
    code, out, err = run("datasets")
    assert (code, err) == (0, "next      waymint init builtin:NAME\n")
    assert run("datasets", "--json")[2] == ""
    assert run("datasets", "--quiet") == (0, out, "")
    assert run("-q", "datasets") == (0, out, "")
    assert verbosity() is Verbosity.QUIET


def test_quiet_and_verbose_exclude_each_other(run) -> None:
    code, out, err = run("datasets", "-v", "-q")
    assert (code, out) == (2, "")
    assert "one of --quiet and --verbose must be given; got both" in err


def test_what_follows_a_double_dash_is_no_option() -> None:
    assert cli.globals_first(["work", "list", "-v"]) == ["-v", "work", "list"]
    assert cli.globals_first(["check", "--", "-v"]) == ["check", "--", "-v"]


def test_verbosity_decides_the_display(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    written = {}
    for each in Verbosity:
        monkeypatch.setenv("WAYMINT_VERBOSITY", each.value)
        with open_display() as display:
            assert isinstance(display, QuietDisplay if each is Verbosity.QUIET else PlainDisplay)
            pace = Pace(40)
            bar = display.bar("fit", pace)
            for _ in range(40):
                pace.advance()
                bar.advance()
            bar.finish()
            display.note("a note")
            display.warn("a warning")
        written[each] = capsys.readouterr().err.splitlines()
    assert written[Verbosity.QUIET] == ["warning: a warning"]
    assert len(written[Verbosity.NORMAL]) == 10 + 3
    assert len(written[Verbosity.VERBOSE]) == 40 + 3
    assert written[Verbosity.VERBOSE][0].endswith("fit: 1 of 40")


class Clock:
    """A clock that a test turns."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("total", "done", "rows", "seconds", "words"),
    [
        (4, 1, 0, 10.0, "1 of 4, about 30 s left"),
        (40, 10, 0, 100.0, "10 of 40, about 5 min left"),
        (4, 4, 50, 100.0, "4 of 4, 2 rows/s"),
        (4, 3, 250_000, 1.0, "3 of 4, 750,000 rows/s"),
        (4, 1, 123_456, 10.0, "1 of 4, 12,000 rows/s, about 30 s left"),
    ],
)
def test_the_time_left_goes_by_the_rate_so_far(total: int, done: int, rows: int, seconds: float, words: str) -> None:
    clock = Clock()
    pace = Pace(total, clock)
    for _ in range(done):
        pace.advance(rows)
    clock.now += seconds
    assert str(pace) == words


def test_the_page_of_a_run_shows_the_pace_of_the_stage_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share of the run counts parts of the stage; the text says rows a second."""
    monkeypatch.setattr(stages, "PAGE_SECONDS", 0.0)
    work = DirectWork()
    run = stages.Stages(work=work)
    run.count(2, "Release")
    run.map("draw", Doubled(), [(1,), (2,)], rows=[10, 10])
    run.map("publish", Doubled(), [(3,)])
    assert work.shares == [0.25, 0.5, 0.5, 1.0, 1.0]
    assert re.fullmatch(r"draw: 1 of 2, [0-9,]+ rows/s", work.texts[0])
    assert work.texts[-2:] == ["publish: 1 of 1", "publish"]
    assert re.search(r"draw: done in 0\.0 s, [0-9,]+ rows/s$", work.lines[0][1])


class Doubled:
    """A task."""

    fn = staticmethod(lambda number: 2 * number)


@pytest.mark.parametrize(("typed", "offered"), [("waymint rel", ["release", "releases"]), ("waymint work cl", ["clear"])])
def test_bash_completes_commands(run, monkeypatch: pytest.MonkeyPatch, typed: str, offered: list[str]) -> None:
    monkeypatch.setenv("_WAYMINT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    code, out, err = run()
    assert (code, err) == (0, "")
    assert out.split() == offered


def test_a_sound_spec_is_followed_by_its_release(run, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a,y,w\n" + "\n".join(f"{i % 2},{i * i % 97}.5,{i * 3 % 11}" for i in range(600)) + "\n")
    spec = tmp_path / "s.toml"
    text = f'name = "t"\n[source]\nuri = "{table}"\n[roles]\ntreatment = "a"\noutcome = "y"\n[store]\nuri = "{tmp_path}/store"\n'
    spec.write_text(text)
    code, _, err = run("check", spec)
    assert code == 0
    assert err.endswith(f"next      waymint release {spec}\n")
