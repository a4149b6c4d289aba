"""Which leaks the gates and the audit's attacks find: honest synthesizers beside ones that leak on purpose.

    python -m benchmarks.privacy covariates [--seeds 5] [--rows 1500] [--released 1500]
    python -m benchmarks.privacy canaries [--seeds 2] [--rows 1500] [--released 6000] [--canaries 150]

``covariates`` fits each synthesizer on the training rows of a simulated table (world "mixed": numbers, text, missing cells), draws a
release of covariates, and asks the distance gates and the attacks on covariates. ``fresh`` is another draw of the same law: what can't
leak. ``canaries`` runs the command itself: a table with planted coins is released with an honest and with a leaky learner, then audited.
Both print one line for each, and JSON at the end.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks import worlds
from benchmarks.closeness import distance_evidence
from tasks.audit.canaries import plant
from tasks.audit.case import Case, Outcome, Rows
from tasks.audit.finding import Finding
from tasks.checks.evidence import Evidence
from tasks.checks.methods import dcr
from tasks.contract.frames import from_frame, to_frame
from tasks.contract.registry import resolve
from tasks.contract.rng import in_holdout, rng_for
from tasks.contract.roles import ColumnRoles, TableSchema
from tasks.contract.spec import GatesSpec
from tasks.source.rows import canonical

ROOT = Path(__file__).resolve().parent.parent
LEAKY = ROOT / "tests" / "leaky"
HOLDOUT = 0.3
SYNTHESIZERS = ("fresh", "copula", "forest", "bootstrap", "leaky_copy", "leaky_copy5", "leaky_jitter", "leaky_tree")
ATTACKS = ("membership", "reconstruction", "singling_out", "linkability")
GATES = ("near_copies", "exact_copies", "closeness_z", "dcr_margin")


def failed_gates(training: pd.DataFrame, holdout: pd.DataFrame, release: pd.DataFrame) -> list[str]:
    """Return the distance gates that reject."""
    evidence = distance_evidence(training, holdout, release)
    failed = []
    for metric in dcr.build(dcr.Params()).measure(Evidence(distance=evidence), GatesSpec()):
        if metric.rule is None or metric.value is None or metric.threshold is None:
            continue
        good = metric.value >= metric.threshold if metric.rule == "at least" else metric.value <= metric.threshold
        if metric.name == "dcr_margin":
            good = good or metric.high is None or metric.high >= 1
        failed += [] if good else [metric.name]
    return failed


def case_of(synthesizer: str, rows: int, released: int, seed: int) -> Case:
    """Draw a source, fit on its training rows, draw a release of covariates."""
    rng = np.random.default_rng([seed, 1])
    table, schema = worlds.snapshot(worlds.draw("mixed", rows, rng).frame())
    held = in_holdout(table.column("key").to_numpy(), seed, HOLDOUT)
    columns = schema.modelled
    kept, out = (_part(table, schema, mask) for mask in (~held, held))
    if synthesizer == "fresh":
        other = pa.Table.from_pandas(worlds.draw("mixed", released, rng).frame(), preserve_index=False)
        drawn = to_frame(canonical(other, schema, "parquet"), columns)
    else:
        model = resolve("synthesizer", synthesizer).fit(kept.covariates, columns, rng_for(seed, "covariates"))
        drawn = model.sample(released, rng_for(seed, "draw"))
    conformed = to_frame(from_frame(drawn, columns), columns)
    blank = Rows(conformed, np.zeros(released, dtype=np.int8), np.zeros(released))
    return Case(columns, (Outcome("y", "y", "continuous"),), "hybrid", kept, out, blank, len(kept), synthesizer, {})


def _part(table: pa.Table, schema: TableSchema, mask: np.ndarray) -> Rows:
    part = table.filter(pa.array(mask))
    frame = to_frame(from_frame(to_frame(part, schema.modelled), schema.modelled), schema.modelled)
    return Rows(frame, np.array(part.column("a").to_numpy()), np.array(part.column("y").to_numpy()))


def covariates(seeds: int, rows: int, released: int, only: Iterable[str], attacks: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield, for each synthesizer, how often each gate rejects and what each attack finds."""
    for synthesizer in only:
        gates: dict[str, int] = dict.fromkeys(GATES, 0)
        found: dict[str, list[Finding]] = defaultdict(list)
        for seed in range(seeds):
            case = case_of(synthesizer, rows, released, seed)
            for gate in failed_gates(case.training.covariates, case.holdout.covariates, case.release.covariates):
                gates[gate] += 1
            for name in attacks:
                for each in resolve("attack", name).run(case, rng_for(seed, "audit", name)):
                    found[f"{each.attack}.{each.statistic}"].append(each)
        yield {"synthesizer": synthesizer, "seeds": seeds, "gates": gates, "attacks": [summary(name, each) for name, each in found.items()]}


def summary(name: str, found: list[Finding]) -> dict[str, Any]:
    """Return mean, standard error, mean control, and how often a leak was found."""
    values = [each.value for each in found if each.value is not None]
    controls = [each.control for each in found if each.control is not None]
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return {
        "statistic": name,
        "value": float(np.mean(values)) if values else None,
        "mcse": error,
        "ci_low": float(np.mean([each.ci_low for each in found if each.ci_low is not None])) if values else None,
        "ci_high": float(np.mean([each.ci_high for each in found if each.ci_high is not None])) if values else None,
        "control": float(np.mean(controls)) if controls else None,
        "leaks": sum(each.verdict == "leak found" for each in found),
        "cleared": sum(each.verdict == "none found at this size" for each in found),
        "of": len(found),
    }


def canaries(seeds: int, rows: int, released: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield what the mechanism attack finds in releases of planted tables, by learner and by world."""
    for world in ("moderate", "continuous"):
        for learner in ("stack", "leaky_forest"):
            found: dict[str, list[Finding]] = defaultdict(list)
            for seed in range(seeds):
                for each in _released(world, learner, rows, released, count, seed):
                    found[each.statistic].append(each)
            yield {"world": world, "learner": learner, "seeds": seeds, "attacks": [summary(name, each) for name, each in found.items()]}


def _released(world: str, learner: str, rows: int, released: int, count: int, seed: int) -> list[Finding]:
    """Plant, release and audit by the command."""
    table = worlds.draw(world, rows, np.random.default_rng([seed, 2])).frame()
    names = tuple(name for name in table if name not in ("a", "y"))
    planted = plant(table, ColumnRoles(treatment="a", outcome="y", covariates=names), count, np.random.default_rng([seed, 3]))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        planted.table.to_parquet(place / "source.parquet")
        planted.canaries.to_parquet(place / "canaries.parquet")
        spec = {
            "name": "planted",
            "seed": seed,
            "source": {"uri": str(place / "source.parquet")},
            "roles": {"treatment": "a", "outcome": "y"},
            # the treatment as the source assigns it, so that it can leak at all
            "mechanisms": {"learner": learner, "treatment": "fitted"},
            "release": {"rows": released},
            "gates": {"fidelity": False, "calibration": False, "source_overlap": False, "release_overlap": False, "source_ess": False},
            "store": {"uri": str(place / "store")},
            "engine": {"dask": "threads", "workspace": str(place / "work")},
        }
        (place / "spec.yaml").write_text(json.dumps(spec))
        _command("release", place / "spec.yaml")
        answer = _command(
            "audit",
            f"{place}/store/planted",
            "--source",
            place / "spec.yaml",
            "--attacks",
            "mechanism",
            "--canaries",
            place / "canaries.parquet",
        )
        return [Finding.model_validate(each) for each in answer["attacks"]]


def _command(*arguments: object) -> Any:
    """Run the command with the leaky plug-ins on its path."""
    program = f"import sys; sys.path.insert(0, {str(LEAKY)!r}); from infra.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments), "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise SystemExit(f"{arguments[0]} ended with {ran.returncode}:\n{ran.stderr}\n{ran.stdout[-2000:]}")
    return json.loads(ran.stdout)


def main() -> None:
    """Run one study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=("covariates", "canaries"))
    parser.add_argument("--seeds", type=int, default=None)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--released", type=int, default=None)
    parser.add_argument("--canaries", type=int, default=150)
    parser.add_argument("--only", nargs="*", default=SYNTHESIZERS, help="synthesizers of the study 'covariates'")
    parser.add_argument("--attacks", nargs="*", default=ATTACKS, help="attacks of the study 'covariates'")
    asked = parser.parse_args()
    sys.path.insert(0, str(LEAKY))
    importlib.invalidate_caches()
    if asked.study == "covariates":
        lines = covariates(asked.seeds or 5, asked.rows, asked.released or asked.rows, asked.only, asked.attacks)
    else:
        lines = canaries(asked.seeds or 2, asked.rows, asked.released or 4 * asked.rows, asked.canaries)
    report = []
    for line in lines:
        report.append(line)
        print(*(f"{key} {value}" for key, value in line.items() if key != "attacks"))
        for each in line["attacks"]:
            told = " ".join("–" if each[key] is None else f"{each[key]:.3f}" for key in ("value", "ci_low", "ci_high", "control"))
            print(f"    {each['statistic']:<44}{told}  leaks {each['leaks']} of {each['of']}, cleared {each['cleared']}", flush=True)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
