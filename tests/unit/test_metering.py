"""What a run costs: its stages, and the memory of it and its workers together."""

from __future__ import annotations

import subprocess
import sys
import time

from infra.metering import Costs
from infra.stages import Stages
from tests.direct import DirectWork

MIB = 2**20
HOLD = "import sys; held = bytearray(200 * 2**20); held[::4096] = b'x' * 51200; print('ready', flush=True); sys.stdin.readline()"


def test_memory_of_children_counts_and_that_of_other_sessions_does_not() -> None:
    costs, alone = Costs(), Costs().peak_mib  # with whatever children earlier tests of this process left

    def held(own_session: bool) -> float:
        child = subprocess.Popen(
            [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=own_session
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        peak = costs.peak_mib
        child.communicate("\n")
        return peak

    assert held(own_session=True) < alone + 150
    assert held(own_session=False) > alone + 150
    assert costs.peak_mib > alone + 150  # a peak stays


def test_a_short_peak_is_seen_while_the_run_is_watched() -> None:
    costs = Costs()
    before = costs.peak_mib
    with costs.watched():
        rows = bytearray(300 * MIB)
        rows[::4096] = b"x" * len(rows[::4096])
        time.sleep(1.5)
        del rows
    assert costs.peak_mib > before + 200


def test_stages_are_kept_with_their_parts_and_add_up() -> None:
    work = DirectWork()
    stages = Stages(work=work)
    with stages.measured():
        for name, parts in (("read", 3), ("draw", 1)):
            with stages.stage(name, parts):
                time.sleep(0.01)
        metrics = stages.metrics(rows=100)
    assert [(each["stage"], each["parts"]) for each in metrics["stages"]] == [("read", 3), ("draw", 1)]
    assert 0.02 <= sum(each["seconds"] for each in metrics["stages"]) <= metrics["seconds"]
    assert metrics["rows_per_second"] > 0
    assert work.tables["stages"] == metrics["stages"]
    assert [text.split(":")[0] for _, text in work.lines] == ["read", "draw"]
