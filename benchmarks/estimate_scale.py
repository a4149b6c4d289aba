"""``waymint estimate`` at growing sizes: seconds, rows per second and peak memory of the process.

Run ``python -m benchmarks.estimate_scale`` (1,000,000 rows), ``--full`` (10,000,000 too) or ``--rows N N ...``. Every size gets a source
of 20 covariates (benchmarks/make_source.py) and is estimated by the command line in a process of its own. Above ``--memory-rows`` rows the
work is out of core. The source is confounded beyond its covariates: estimates are there to be compared with one another. JSON on stdout,
progress on stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.make_source import OUTCOME, TREATMENT, make_source
from benchmarks.memory import Peak

ROOT = Path(__file__).resolve().parents[1]
#: Memory that estimation may take, in MiB.
LIMIT = 4096.0


def command(source: Path, learner: str, memory_rows: int) -> list[str]:
    """Return the command that estimates a source."""
    named = ["--treatment", TREATMENT, "--outcome", OUTCOME, "--learner", learner, "--memory-rows", str(memory_rows)]
    return [sys.executable, "-m", "infra.cli", "estimate", str(source), *named, "--json"]


def measure(rows: int, learner: str, memory_rows: int, folder: Path) -> dict[str, Any]:
    """Estimate one size and return what it took.

    Parameters
    ----------
    rows : int
        Rows of the source.
    learner : str
        Name of the learner.
    memory_rows : int
        Rows beyond which work is out of core.
    folder : Path
        Scratch.

    Returns
    -------
    dict
        ``rows, seconds, cpu_seconds, rows_per_second, peak_rss_mib, peak_pss_mib, fit, estimates``.
    """
    source = make_source(folder / "source", rows)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with (folder / "stdout").open("wb") as out:
        process = subprocess.Popen(command(source, learner, memory_rows), cwd=ROOT, stdout=out)
        with Peak(process.pid, 0.5) as peak:
            process.wait()
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise RuntimeError(f"estimate of {rows} rows ended with {process.returncode}")
    reply = json.loads((folder / "stdout").read_text())
    return {
        "rows": rows,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "rows_per_second": round(rows / seconds),
        "peak_rss_mib": round(peak.rss),
        "peak_pss_mib": round(peak.pss),
        "fit": reply["fit"],
        "estimates": [{name: one[name] for name in ("estimator", "estimate", "se")} for one in reply["estimates"]],
    }


def main() -> None:
    """Measure the sizes asked for and print one JSON object; exit code 1 where memory goes beyond the limit."""
    parser = argparse.ArgumentParser(description="Time and memory of waymint estimate.")
    parser.add_argument("--full", action="store_true", help="10,000,000 rows too")
    parser.add_argument("--rows", type=int, nargs="+", help="sizes instead")
    parser.add_argument("--learner", default="glm")
    parser.add_argument("--memory-rows", type=int, default=1_000_000)
    asked = parser.parse_args()
    sizes = asked.rows or ([1_000_000, 10_000_000] if asked.full else [1_000_000])
    found = []
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="waymint-scale-") as folder:
            found.append(measure(rows, asked.learner, asked.memory_rows, Path(folder)))
        print({name: value for name, value in found[-1].items() if name != "estimates"}, file=sys.stderr, flush=True)
    machine = {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version(), "load": os.getloadavg()}
    print(json.dumps({"machine": machine, "learner": asked.learner, "memory_rows": asked.memory_rows, "sizes": found}, indent=2))
    sys.exit(0 if all(each["peak_pss_mib"] <= LIMIT for each in found) else 1)


if __name__ == "__main__":
    main()
