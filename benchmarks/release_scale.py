"""Whole releases at growing sizes: rows per second, CPU seconds and peak memory of the process tree.

Run ``python -m benchmarks.release_scale`` (10,000 and 100,000 rows), ``--full`` (1,000,000 too) or ``--rows N N ...``. Every size gets
a source of 20 covariates with as many rows (benchmarks/make_source.py), a home of its own, so also a Prefect server of its own, and
is released with as many rows by two worker processes. ``--peer`` runs benchmarks/plain_script.py on the same source right after;
``--times`` takes a time to event on about 30 periods. JSON on stdout, progress on stderr.

Memory is the largest sum over the command and everything below it (workers, nannies, Prefect server and its keeper), sampled
every second; PSS counts a page that n processes share as 1/n in each. Start-up is some 20 s at any size, so ratios of small sizes flatter.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from benchmarks.bytecode import keeping_bytecode
from benchmarks.make_source import EVENT, OUTCOME, TIME, TREATMENT, make_source
from benchmarks.memory import Peak, tree

ROOT = Path(__file__).resolve().parents[1]
# at most this slope of log CPU seconds on log rows, from 100,000 rows on
SLOPE = 1.05
# of a time to event: 20 periods up to the horizon, 5 of later follow-up, and one more for each declared time
OF_TIMES = f"""
[outcomes.{TIME}]
kind = "survival"
event = "{EVENT}"
horizon = 48
times = [6, 12, 18, 24, 36]
"""
STAGE = re.compile(r"^\[ *[\d.]+ s\] (.+): done in ([\d.]+) s(?:, .+)?$")


def spec_text(source: Path, store: Path, rows: int, workers: int, extra: str = "", times: bool = False) -> str:
    """Return the SPEC (TOML) of one size: the defaults, but for what must be named."""
    return f"""
name = "scale"
seed = 1
[source]
uri = "{source}"
[roles]
treatment = "{TREATMENT}"
outcome = "{TIME if times else OUTCOME}"
{OF_TIMES if times else ""}
[release]
rows = {rows}
[store]
uri = "file://{store}"
[engine]
dask = "local"
workers = {workers}
{extra}
"""


def command(spec: Path) -> list[str]:
    """Return the command that releases a SPEC."""
    return [sys.executable, "-m", "infra.cli", "release", str(spec), "--json"]


def environment(home: Path) -> dict[str, str]:
    """Return an environment with a home, so a Prefect server, of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "WAYMINT"))}
    return keeping_bytecode(kept) | {"WAYMINT_HOME": str(home)}


def end_all(processes: Sequence[psutil.Process]) -> None:
    """End what outlives the command: the keeper of the Prefect server, and the server."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
    psutil.wait_procs(processes, timeout=20)


def measure(rows: int, workers: int, folder: Path, extra: str = "", peer: bool = False, times: bool = False) -> dict[str, Any]:
    """Release one size and return what it took.

    Parameters
    ----------
    rows : int
        Rows of the source and of the release.
    workers : int
        Worker processes.
    folder : Path
        Scratch.
    extra : str
        More TOML for the SPEC.
    peer : bool
        Whether the plain script runs too.
    times : bool
        Whether the outcome is a time to event.

    Returns
    -------
    dict
        ``rows, status, seconds, cpu_seconds, rows_per_second, peak_rss_mib, peak_pss_mib, largest_process_mib, samples, stages``,
        and ``peer`` where asked.
    """
    source = make_source(folder / "source", rows, times=times)
    spec = folder / "spec.toml"
    spec.write_text(spec_text(source, folder / "store", rows, workers, extra, times))
    variables = environment(folder / "home")
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    left: list[psutil.Process] = []
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as log:
        process = subprocess.Popen(command(spec), cwd=ROOT, env=variables, stdout=out, stderr=log)
        try:
            with Peak(process.pid) as peak:
                while process.poll() is None:
                    left = tree(psutil.Process(process.pid))[1:] or left
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(1)
        finally:
            process.terminate()
            end_all(left)
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    text = (folder / "stderr").read_text()
    if process.returncode not in (0, 3):
        raise RuntimeError(f"release of {rows} rows ended with {process.returncode}:\n{text[-2000:]}")
    reply = json.loads((folder / "stdout").read_text())
    stages = [match for line in text.splitlines() if (match := STAGE.match(line))]
    found = {
        "rows": rows,
        "status": reply["status"],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "rows_per_second": round(rows / seconds, 1),
        "peak_rss_mib": round(peak.rss),
        "peak_pss_mib": round(peak.pss),
        "largest_process_mib": round(peak.largest),
        "samples": peak.samples,
        "stages": {match[1]: float(match[2]) for match in stages},
    }
    return found | ({"peer": beside(source, found, variables)} if peer else {})


def beside(source: Path, found: dict[str, Any], variables: dict[str, str]) -> dict[str, Any]:
    """Run the plain script on the same source; return what it took, and our CPU seconds and largest process over its own."""
    script = [sys.executable, "-m", "benchmarks.plain_script", source]
    plain: dict[str, Any] = json.loads(subprocess.run(script, cwd=ROOT, env=variables, check=True, stdout=subprocess.PIPE).stdout)
    ratios = {
        "cpu_over_plain": found["cpu_seconds"] / plain["total_cpu_seconds"],
        "cpu_over_plain_cross_fit": found["cpu_seconds"] / plain["cpu_seconds"]["cross-fit"],
        "largest_process_over_plain": found["largest_process_mib"] / plain["peak_mib"],
    }
    return plain | {name: round(ratio, 2) for name, ratio in ratios.items()}


def growth(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare neighbouring sizes: the slope of log CPU seconds, and of log seconds (which say little on a machine that is shared)."""
    result = []
    by_rows = sorted(found, key=lambda each: each["rows"])
    for small, large in pairwise(by_rows):
        rows = math.log(large["rows"] / small["rows"])
        cpu, wall = (round(math.log(large[name] / small[name]) / rows, 2) for name in ("cpu_seconds", "seconds"))
        within = small["rows"] < 100_000 or cpu <= SLOPE
        result.append({"from": small["rows"], "to": large["rows"], "cpu_slope": cpu, "wall_slope": wall, "within": within})
    return result


def main() -> None:
    """Measure the sizes asked for and print one JSON object; exit code 1 where CPU seconds grow faster than allowed."""
    parser = argparse.ArgumentParser(description="Time and memory of whole releases.")
    parser.add_argument("--full", action="store_true", help="1,000,000 rows too")
    parser.add_argument("--rows", type=int, nargs="+", help="sizes instead")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--peer", action="store_true", help="the plain script too")
    parser.add_argument("--times", action="store_true", help="a time to event in place of a continuous outcome")
    parser.add_argument("--extra", default="", help="more TOML for the SPEC, e.g. '[mechanisms]\\nlearner = \"glm\"'")
    asked = parser.parse_args()
    if asked.peer and asked.times:
        parser.error("the plain script knows no times")
    sizes = asked.rows or ([10_000, 100_000, 1_000_000] if asked.full else [10_000, 100_000])
    found = []
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="waymint-scale-") as folder:
            found.append(measure(rows, asked.workers, Path(folder), asked.extra.replace("\\n", "\n"), asked.peer, asked.times))
        print({name: value for name, value in found[-1].items() if name != "stages"}, file=sys.stderr, flush=True)
    ratios = growth(found)
    machine = {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version(), "load": os.getloadavg()}
    print(json.dumps({"machine": machine, "workers": asked.workers, "sizes": found, "growth": ratios}, indent=2))
    sys.exit(0 if all(each["within"] for each in ratios) else 1)


if __name__ == "__main__":
    main()
