"""Tasks of the source step: plan, inspect, scatter, settle."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from infra.cluster import coarse
from infra.store import filesystem
from infra.workspace import Run, Workspace
from tasks.contract.frames import to_frame
from tasks.contract.refs import PartitionRef, Ref
from tasks.contract.roles import TableSchema
from tasks.source.builtin import BUILTIN, load_builtin
from tasks.source.fragments import Fragment, SourcePlan
from tasks.source.inspection import Inspected, Inspection
from tasks.source.locate import require_unchanged
from tasks.source.plan import plan_source
from tasks.source.read import read_batches
from tasks.source.rows import bucket_of, canonical, content_hash, settle

BUILTIN_KEY = "source/builtin.parquet"


class Source(NamedTuple):
    """The source as a run sees it: how it is read, what it holds, its rows in hash order by partitions."""

    plan: SourcePlan
    described: Inspected
    parts: tuple[PartitionRef, ...]


@coarse("plan source", "plan source")
def plan(run: Run) -> SourcePlan:
    """List the source's fragments and take its fingerprint; a built-in source is first written to the workspace."""
    spec, space = run.spec, run.space()
    uri = spec.source.uri
    if uri.startswith(BUILTIN):
        written = space.put_table(BUILTIN_KEY, load_builtin(uri.removeprefix(BUILTIN)))
        fs, path = filesystem(f"{space.uri}/{written.key}")
        planned = plan_source(fs, path, uri, spec.source.partition_rows, wishes=spec.source)
        return planned.model_copy(update={"stamps": {}})  # the run's own file: its time of change says nothing
    fs, path = filesystem(run.absolute(uri))
    return plan_source(fs, path, uri, spec.source.partition_rows, wishes=spec.source)


def shards(source: SourcePlan, rows: int) -> list[tuple[Fragment, ...]]:
    """Pack fragments into shards of about ``rows`` rows: few, coarse tasks."""
    packed: list[list[Fragment]] = []
    filled = rows
    for fragment in source.fragments:
        size = fragment.rows if fragment.rows is not None else rows
        if filled + size > rows:
            packed.append([])
            filled = 0
        packed[-1].append(fragment)
        filled += size
    return [tuple(shard) for shard in packed]


def shard_rows(shards: Sequence[Sequence[Fragment]]) -> list[int]:
    """Return the rows of each shard, as far as they are known before it is read."""
    return [sum(fragment.rows or 0 for fragment in shard) for shard in shards]


@coarse("inspect source", "inspect shard {shard}")
def inspect(run: Run, source: SourcePlan, fragments: Sequence[Fragment], shard: int) -> Ref:
    """Collect type evidence, counts and the profile of one shard."""
    space = run.space()
    key = f"source/inspection-{shard:05d}"
    if (done := space.finished(key, Ref)) is not None:
        return done
    inspection = Inspection(run.spec.declared_roles, source.index)
    state = inspection.start()
    for batch in _batches(run, source, fragments, list(inspection.columns(source.names))):
        state = inspection.visit(state, batch)
    return space.put_bytes(key, pickle.dumps(state, protocol=pickle.HIGHEST_PROTOCOL))


def describe(run: Run, source: SourcePlan, states: Sequence[Ref]) -> Inspected:
    """Merge the shards' evidence into the table's schema and profile (in the flow process: it is small)."""
    space, inspection = run.space(), Inspection(run.spec.declared_roles, source.index)
    state = inspection.start()
    for ref in states:
        state = inspection.merge(state, space.unpickle(ref))
    described = inspection.finish(state, run.spec.declared_roles, folds=run.spec.mechanisms.folds, source_format=source.format)
    return described._replace(warnings=(*source.notes, *described.warnings))


@coarse("scatter rows", "scatter shard {shard}")
def scatter(
    run: Run, source: SourcePlan, schema: TableSchema, fragments: Sequence[Fragment], shard: int, buckets: int
) -> list[PartitionRef]:
    """Type and hash one shard's rows; write them grouped by bucket, a row group for each bucket."""
    space = run.space()
    names = [column.name for column in schema.columns]
    refs = []
    for number, batch in enumerate(_batches(run, source, fragments, names)):
        key = f"source/scattered-{shard:05d}-{number:05d}.parquet"
        done = space.finished(key, PartitionRef)
        refs.append(done if done is not None else _scatter(space, key, canonical(batch, schema, source.format), buckets))
    return refs


def _scatter(space: Workspace, key: str, table: pa.Table, buckets: int) -> PartitionRef:
    hashes = content_hash(table)
    bucket = bucket_of(hashes, buckets)
    order = bucket.argsort(kind="stable")
    table = table.append_column("hash", pa.array(hashes)).take(pa.array(order))
    sink = pa.BufferOutputStream()
    present, counts = np.unique(bucket, return_counts=True)
    groups = {int(value): number for number, value in enumerate(present)}
    schema = table.schema.with_metadata({b"buckets": json.dumps(groups).encode()})
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        start = 0
        for count in counts.tolist():
            writer.write_table(table.slice(start, count).replace_schema_metadata(schema.metadata), row_group_size=count)
            start += count
    return space.put_encoded(key, bytes(sink.getvalue().to_pybytes()), rows=table.num_rows)


@coarse("settle partition", "settle partition {bucket}")
def settle_bucket(run: Run, pieces: Sequence[PartitionRef], bucket: int) -> PartitionRef:
    """Bring one bucket's rows into their final order and give each its key."""
    space = run.space()
    key = f"snapshot/part-{bucket:05d}.parquet"
    if (done := space.finished(key, PartitionRef)) is not None:
        return done
    tables = [table for piece in pieces if (table := space.tagged_row_group(piece, "buckets", bucket)) is not None]
    return space.put_table(key, settle(pa.concat_tables(tables)) if tables else pa.table({"key": []}), part=bucket)


class Selected(NamedTuple):
    """The rows of one partition that meet the run's condition, and how many of them are in each arm."""

    part: PartitionRef
    arms: tuple[int, ...]


@coarse("select rows", "select rows of partition {part.part}")
def select(run: Run, schema: TableSchema, part: PartitionRef) -> Selected:
    """Keep the rows of one partition that meet ``release.where``."""
    space, condition = run.space(), run.spec.release.condition
    assert condition is not None  # asked for by flows that have one
    rows = space.table(part)
    chosen = rows.filter(pa.array(condition.holds(to_frame(rows, schema.modelled), schema.modelled)))
    arms = np.bincount(chosen.column("a").to_numpy(), minlength=len(schema.arms))
    return Selected(space.put_table(f"condition/part-{part.part:05d}.parquet", chosen, part=part.part), tuple(arms.tolist()))


def _batches(run: Run, source: SourcePlan, fragments: Sequence[Fragment], columns: list[str]) -> Iterator[pa.Table]:
    uri = run.spec.source.uri
    fs, _ = filesystem(f"{run.workspace}/{BUILTIN_KEY}" if uri.startswith(BUILTIN) else run.absolute(uri))
    for fragment in fragments:
        yield from read_batches(fs, source, fragment, columns)
    if not uri.startswith(BUILTIN):
        require_unchanged(fs, source.stamps, sorted({fragment.path for fragment in fragments}), uri)
