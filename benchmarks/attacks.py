"""Singling out and linkability: this project's attacks beside anonymeter's, on the same releases.

    python -m benchmarks.attacks [--seeds 5] [--rows 1500] [--only copula forest leaky_copy ...]

anonymeter's limits on NumPy conflict with ours, so it gets an environment of its own (build/anonymeter, made once); tables cross as CSV
files. Missing cells are filled, for both sides: numbers with the median, categories with a level of their own. Linkability cuts the columns
in two halves, the same for both. Printed are the rate of success on training rows, that on holdout rows (the control), how often each
side's lower limit of the excess is above zero, and CPU seconds. JSON at the end.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.privacy import LEAKY, ROOT, SYNTHESIZERS, case_of
from tasks.audit.case import Case
from tasks.audit.finding import Finding
from tasks.contract.registry import resolve
from tasks.contract.rng import rng_for

PINNED = "anonymeter==1.1.0"
ENVIRONMENT = ROOT / "build" / "anonymeter"
ATTACKS = 500


def interpreter() -> Path:
    """Return the interpreter of anonymeter's environment, which is made where it is missing."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists() or subprocess.run([python, "-c", "import anonymeter"], check=False, capture_output=True).returncode:
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PINNED], check=True)
    return python


def filled(case: Case) -> Case:
    """Return a case without missing cells."""
    medians = case.training.covariates.median(numeric_only=True)

    def fill(frame: pd.DataFrame) -> pd.DataFrame:
        found = {}
        for name in frame:
            column = frame[name]
            if isinstance(column.dtype, pd.CategoricalDtype):
                levels = [*column.cat.categories, "(missing)"]
                found[name] = pd.Categorical(column.astype(object).where(column.notna(), "(missing)"), categories=levels)
            else:
                found[name] = column.fillna(medians[name])
        return pd.DataFrame(found)

    parts = {
        name: replace(getattr(case, name), covariates=fill(getattr(case, name).covariates)) for name in ("training", "holdout", "release")
    }
    return replace(case, **parts)


def peers(case: Case, python: Path, halves: Sequence[Sequence[str]], seed: int) -> dict[str, Any]:
    """Run anonymeter on a case."""
    numeric = [name for name in case.training.covariates if not isinstance(case.training.covariates[name].dtype, pd.CategoricalDtype)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("training", "holdout", "release"):
            getattr(case, name).covariates.to_csv(place / f"{name}.csv", index=False)
        (place / "columns.json").write_text(json.dumps({"numeric": numeric, "halves": [list(half) for half in halves]}))
        command = [python, ROOT / "benchmarks" / "attacks_peer.py", place, str(ATTACKS), str(seed)]
        ran = subprocess.run(command, check=False, capture_output=True, text=True)
        if ran.returncode:
            raise SystemExit(f"anonymeter ended with {ran.returncode}:\n{ran.stderr}")
        found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
        return found


def own(case: Case, seed: int) -> dict[str, Finding]:
    """Run this project's attacks: as many guesses, one way of cutting the columns."""
    singling = resolve("attack", "singling_out", {"attacks": ATTACKS}).run(case, rng_for(seed, "audit", "singling_out"))
    linking = resolve("attack", "linkability", {"splits": 1, "targets": ATTACKS}).run(case, rng_for(seed, "audit", "linkability"))
    return {f"{each.attack}.{each.statistic}": each for each in [*singling, *linking]}


def halves_of(case: Case, seed: int) -> list[list[str]]:
    """Return the halves that the attack on linkability takes with the same random numbers."""
    rng, names = rng_for(seed, "audit", "linkability"), list(case.training.covariates)
    order = rng.permutation(len(names))
    return [[names[at] for at in np.sort(half)] for half in np.array_split(order, 2)]


def study(synthesizer: str, seeds: int, rows: int, python: Path) -> dict[str, Any]:
    """Compare both sides over releases of one synthesizer."""
    ours: dict[str, list[tuple[float, float, bool]]] = defaultdict(list)
    theirs: dict[str, list[tuple[float, float, bool]]] = defaultdict(list)
    seconds = {"own": 0.0, "anonymeter": 0.0}
    failed = 0
    for seed in range(seeds):
        case = filled(case_of(synthesizer, rows, rows, seed))
        began = time.process_time()
        for name, each in own(case, seed).items():
            if each.value is not None and each.control is not None:
                ours[name].append((each.value, each.control, each.verdict == "leak found"))
        seconds["own"] += time.process_time() - began
        before = _children()
        for name, found in peers(case, python, halves_of(case, seed), seed).items():
            if "failed" in found:
                failed += 1
                continue
            theirs[name].append((found["rate"], found["control"], found["ci"][0] > 0.0))
        seconds["anonymeter"] += _children() - before
    lines = [
        {"attack": name, "own": _mean(ours.get(name, [])), "anonymeter": _mean(theirs.get(name, []))} for name in sorted({*ours, *theirs})
    ]
    return {"synthesizer": synthesizer, "seeds": seeds, "attacks": lines, "cpu_seconds": seconds, "anonymeter_failed": failed}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _mean(found: list[tuple[float, float, bool]]) -> dict[str, Any] | None:
    if not found:
        return None
    rates, controls, leaks = zip(*found)
    return {"rate": float(np.mean(rates)), "control": float(np.mean(controls)), "found": int(np.sum(leaks)), "of": len(found)}


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--only", nargs="*", default=SYNTHESIZERS)
    asked = parser.parse_args()
    sys.path.insert(0, str(LEAKY))
    importlib.invalidate_caches()
    python, report = interpreter(), []
    for synthesizer in asked.only:
        report.append(study(synthesizer, asked.seeds, asked.rows, python))
        used = report[-1]["cpu_seconds"]
        print(f"{synthesizer}: CPU seconds own {used['own']:.1f}, anonymeter {used['anonymeter']:.1f}")
        for line in report[-1]["attacks"]:
            shown = [
                "–" if side is None else f"{side['rate']:.3f} (control {side['control']:.3f}) found {side['found']}/{side['of']}"
                for side in (line["own"], line["anonymeter"])
            ]
            print(f"    {line['attack']:<32} own {shown[0]:<44} anonymeter {shown[1]}", flush=True)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
