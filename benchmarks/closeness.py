"""How far an honest synthesizer leans to its training rows: the closeness share on real tables, six splits each.

    python -m benchmarks.closeness [--splits 6] [--rows 10000]

The gate's z against a null of zero (margin 0) and against the default margin, and the p-value of the largest z over groups of columns
(default margin), for every synthesizer of the registry, or for those named.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.checks.evidence import DistanceEvidence, Evidence, GroupEvidence
from tasks.checks.groups import column_groups
from tasks.checks.joint import joint_closeness, single_counts
from tasks.checks.methods.dcr import Params, build
from tasks.checks.pool import distinct, gather, identical_pairs
from tasks.contract.frames import from_frame, to_frame
from tasks.contract.registry import names, resolve
from tasks.contract.rng import in_holdout, rng_for
from tasks.contract.roles import TableSchema
from tasks.contract.spec import GatesSpec, RolesSpec
from tasks.distance import closest, fit_scale
from tasks.source.builtin import load_builtin
from tasks.source.inspection import Inspection
from tasks.source.rows import canonical, content_hash, settle

HOLDOUT = 0.3
GROUP_ROWS = 5_000
NHEFS = ["sex", "age", "race", "education", "school", "smokeintensity", "smokeyrs", "exercise", "active", "wt71", "ht"]
ACTG = [
    "age",
    "wtkg",
    "hemo",
    "homo",
    "drugs",
    "karnof",
    "oprior",
    "z30",
    "zprior",
    "preanti",
    "race",
    "gender",
    "str2",
    "strat",
    "symptom",
    "cd40",
    "cd80",
]


def snapshot(table: pa.Table, roles: RolesSpec) -> tuple[pa.Table, TableSchema]:
    """Bring a table into hash order, as a run does."""
    inspection = Inspection(roles)
    schema = inspection.finish(inspection.visit(inspection.start(), table), roles, folds=5, source_format="parquet").table
    rows = canonical(table, schema, "parquet")
    return settle(rows.append_column("hash", pa.array(content_hash(rows)))), schema


def tables() -> dict[str, tuple[pa.Table, TableSchema]]:
    """Return NHEFS, and arms 1 and 2 of ACTG175."""
    nhefs = RolesSpec(treatment="qsmk", outcome="wt82_71", covariates=tuple(NHEFS), missing_outcome="drop")
    trial = pd.read_csv(Path(__file__).parent.parent / "tests" / "data" / "actg175.csv")
    trial = trial[trial["arms"].isin([1, 2])].assign(a=lambda frame: (frame["arms"] == 2).astype(int))
    actg = RolesSpec(treatment="a", outcome="cd420", covariates=tuple(ACTG))
    frame = pa.Table.from_pandas(trial[[*ACTG, "a", "cd420"]], preserve_index=False)
    return {"nhefs": snapshot(load_builtin("nhefs").select([*NHEFS, "qsmk", "wt82_71"]), nhefs), "actg175": snapshot(frame, actg)}


def distance_evidence(training: pd.DataFrame, holdout: pd.DataFrame, release: pd.DataFrame) -> DistanceEvidence:
    """Measure what the distance gates judge."""
    pool, scale = gather(training, holdout), fit_scale([training, holdout])
    distances, found = closest(release, pool.rows, k=4, scale=scale)
    return DistanceEvidence(
        training=closest(release, training, scale=scale)[0][:, 0],
        holdout_to_training=closest(holdout, training, scale=scale)[0][:, 0],
        pool_training=pool.training,
        pool_holdout=pool.holdout,
        pool_distances=distances,
        pool_rows=found,
        release_pairs=identical_pairs(release),
    )


def group_evidence(training: pd.DataFrame, holdout: pd.DataFrame, release: pd.DataFrame, state: int) -> GroupEvidence:
    """Measure what the gate on groups of columns judges, on at most 5,000 rows of each table."""
    training, holdout, release = training[:GROUP_ROWS], holdout[:GROUP_ROWS], release[:: -(-len(release) // GROUP_ROWS)]
    both = pd.concat([training, holdout], ignore_index=True)
    groups, counts = column_groups(distinct(both)[0], rng_for(state, "column groups")), []
    for group in groups:
        names = list(group.columns)
        rows, of = distinct(both[names])
        near, at = closest(release[names], rows, k=min(4, len(rows)), scale=fit_scale([training[names], holdout[names]]))
        counts.append(single_counts(near, at, of))
    told = tuple(group.name for group in groups), tuple(group.columns for group in groups)
    return GroupEvidence(*told, np.column_stack(counts), np.arange(len(both)) < len(training), state)


def closeness(rows: pa.Table, schema: TableSchema, synthesizer: str, split: int, drawn: int) -> tuple[float, float, float]:
    """Return the gate's z for one split, with margin 0 and with the default margin, and the p-value over groups of columns."""
    held = in_holdout(rows.column("key").to_numpy(), split, HOLDOUT)
    frame = to_frame(rows, schema.modelled)
    training = frame[~held].reset_index(drop=True)
    model = resolve("synthesizer", synthesizer).fit(training, schema.modelled, rng_for(split, "covariates"))

    def conformed(part: pd.DataFrame) -> pd.DataFrame:
        return to_frame(from_frame(part.reset_index(drop=True), schema.modelled), schema.modelled)

    kept, out, release = conformed(frame[~held]), conformed(frame[held]), conformed(model.sample(drawn, rng_for(split, "draw")))
    evidence = distance_evidence(kept, out, release)
    judged = [build(Params()).measure(Evidence(distance=evidence), gates) for gates in (GatesSpec(closeness_margin=0.0), GatesSpec())]
    plain, allowed = (next(metric.value for metric in metrics if metric.name == "closeness_z") for metrics in judged)
    seen = group_evidence(kept, out, release, split)
    joint = joint_closeness(seen.counts, seen.training, GatesSpec().closeness_margin, np.random.default_rng(split))
    return float(plain or 0.0), float(allowed or 0.0), joint.p


def main() -> None:
    """Print one line for each table and synthesizer, and JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=6)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--synthesizers", nargs="*", default=names("synthesizer"))
    asked = parser.parse_args()
    report = []
    for table, (rows, schema) in tables().items():
        for synthesizer in asked.synthesizers:
            every = np.array([closeness(rows, schema, synthesizer, split, asked.rows) for split in range(asked.splits)])
            found, groups = every[:, :2], np.sort(every[:, 2])
            error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
            rejected = (found > GatesSpec().closeness_z).mean(axis=0)
            report.append(
                {
                    "table": table,
                    "synthesizer": synthesizer,
                    "splits": asked.splits,
                    "z": [round(value, 2) for value in found.mean(axis=0).tolist()],
                    "z_mcse": [round(value, 2) for value in error.tolist()],
                    "rejected": rejected.round(2).tolist(),
                    "groups_p": groups.tolist(),
                    "groups_rejected": round(float(np.mean(groups < GatesSpec().closeness_groups)), 2),
                }
            )
            print(table, synthesizer, "mean z (margin 0, default):", report[-1]["z"], "rejected:", report[-1]["rejected"], end=" ")
            print("p over groups:", report[-1]["groups_p"], "rejected:", report[-1]["groups_rejected"], flush=True)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
