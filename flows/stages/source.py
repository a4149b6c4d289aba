"""Reading a table into the workspace: typed, in hash order, cut into partitions."""

from __future__ import annotations

import tasks.source.task as source
from flows.stages.arms import arm_faults, arm_notes
from flows.stages.relations import relation_faults
from flows.stages.study import role_faults, study_notes, visit_faults
from infra.stages import Stages
from infra.workspace import RUN_RECORD, Run
from tasks.contract.refs import PartitionRef
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Purpose
from tasks.source.dependence import MOST_ROWS, near_functions
from tasks.source.fragments import SourcePlan
from tasks.source.survival import with_periods
from tasks.source.task import Source


def read_source(run: Run, stages: Stages, command: Purpose = "release", plan: SourcePlan | None = None) -> Source:
    """Bring the source of a command into the workspace: typed, hashed, in hash order, cut into partitions; ``plan`` where there is one."""
    spec = run.spec
    plan = plan or read_plan(run, stages)
    _forget_other_source(run, plan)
    shards = source.shards(plan, spec.source.partition_rows)
    inspecting = [(run, plan, shard, number) for number, shard in enumerate(shards)]
    states = stages.map("read source: inspect", source.inspect, inspecting, source.shard_rows(shards))
    described = source.describe(run, plan, states)
    schema = described.table
    buckets = -(-schema.rows // spec.source.partition_rows)
    parts = read_rows(run, stages, plan, schema, buckets)
    rows = run.space().first_rows(parts, MOST_ROWS)
    schema = with_periods(schema, rows, spec.outcome)
    declared = (*relation_faults(rows, schema, spec.roles), *visit_faults(rows, schema, spec.roles))
    for fault in (*arm_faults(schema, spec), *role_faults(schema, command), *declared):
        raise fault
    warnings = (*described.warnings, *near_functions(rows, schema), *study_notes(schema), *arm_notes(schema, spec))
    return Source(plan, described._replace(table=schema, warnings=warnings), parts)


def read_plan(run: Run, stages: Stages, name: str = "source") -> SourcePlan:
    """List a table's fragments and take its fingerprint; ``name`` is what the stage calls the table."""
    plan: SourcePlan = stages.run(f"read {name}: plan", source.plan, run)
    return plan


def read_rows(
    run: Run, stages: Stages, plan: SourcePlan, schema: TableSchema, buckets: int, name: str = "source"
) -> tuple[PartitionRef, ...]:
    """Bring a table's rows into canonical form and hash order, cut into so many partitions; empty ones are left out."""
    shards = source.shards(plan, run.spec.source.partition_rows)
    scattering = [(run, plan, schema, shard, number, buckets) for number, shard in enumerate(shards)]
    pieces = [ref for refs in stages.map(f"read {name}: hash rows", source.scatter, scattering, source.shard_rows(shards)) for ref in refs]
    parts = stages.map(f"read {name}: settle", source.settle_bucket, [(run, pieces, bucket) for bucket in range(buckets)])
    return tuple(part for part in parts if part.rows)


def another_table(run: Run, name: str, uri: str) -> Run:
    """Return the run that reads another table than its source; what it writes lies in a folder of that name."""
    where = run.spec.source.model_copy(update={"uri": uri})
    return run.model_copy(update={"spec": run.spec.model_copy(update={"source": where}), "folder": name})


def _forget_other_source(run: Run, plan: SourcePlan) -> None:
    """Start over if the source has changed since a killed run read it."""
    space = run.space()
    seen = space.record("source.json")
    if seen is not None and seen["fingerprint"] != plan.fingerprint:
        space.clear(keep=(RUN_RECORD, "claim.json", source.BUILTIN_KEY, f"{source.BUILTIN_KEY}.receipt"))
    space.put_record("source.json", {"fingerprint": plan.fingerprint})
