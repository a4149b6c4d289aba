"""The journal in the workspace: state, progress and curve where others find them."""

from __future__ import annotations

import io
import time

import pytest

from infra.stages import Stages
from infra.workspace import Run
from tasks.contract.errors import StoreUnavailable
from tasks.contract.spec import parse_spec
from tasks.covariates.task import WorkspaceJournal, curve, progress


@pytest.fixture
def run(tmp_path) -> Run:
    spec = parse_spec({"name": "t", "source": {"uri": "builtin:nhefs"}, "roles": {"treatment": "qsmk", "outcome": "wt82_71"}})
    return Run(spec=spec, workspace=f"file://{tmp_path}", id="1", created="2026-01-01T00:00:00+00:00")


def test_a_state_outlives_the_process_that_saved_it(run) -> None:
    journal = WorkspaceJournal(run.space(), "covariates/copy-0")
    assert journal.load() is None
    journal.save(b"one")
    journal.save(b"two")
    assert WorkspaceJournal(run.space(), "covariates/copy-0").load() == b"two"
    assert WorkspaceJournal(run.space(), "covariates/copy-1").load() is None


def test_progress_is_told_first_and_last_and_not_all_the_time(run) -> None:
    assert progress(run, 0) is None
    journal = WorkspaceJournal(run.space(), "covariates/copy-0")
    journal.tell(1, 30, 0.75)
    journal.tell(2, 30, None)
    assert progress(run, 0) == "epoch 1 of at most 30, validation figure 0.750"
    journal.tell(30, 30, 0.6)
    # in mode "hybrid" all copies share one fit
    assert progress(run, 3) == "epoch 30 of at most 30, validation figure 0.600"


def test_the_curve_is_the_one_that_was_kept(run) -> None:
    assert curve(run) is None
    run.space().put_record("covariates/copy-0.curve.json", {"epochs": (1, 2), "figures": (0.7, 0.6), "kept": 2})
    assert curve(run) == {"epochs": [1, 2], "figures": [0.7, 0.6], "kept": 2}


def test_a_stage_shows_progress_once_for_each_change(capsys) -> None:
    answers = iter([None, "half", "half", StoreUnavailable("store of the run must answer; got nothing."), "whole"])
    heard = io.StringIO()

    def told() -> str | None:
        answer = next(answers, "whole")
        heard.write(f"{answer};")
        if isinstance(answer, StoreUnavailable):
            raise answer
        return answer

    with Stages().stage("fit") as stage, stage.following(told, every=0.005):
        while heard.getvalue().count("whole") < 2:
            time.sleep(0.001)
    lines = capsys.readouterr().err
    assert lines.count("fit: half") == 1
    assert lines.count("fit: whole") == 1
