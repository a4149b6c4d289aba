"""Task of the distance step: closest real records of released rows."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from infra.cluster import coarse
from infra.workspace import Run, Workspace
from tasks.contract.errors import SourceError
from tasks.contract.frames import to_frame
from tasks.contract.refs import PartitionRef, Ref
from tasks.contract.rng import rng_for
from tasks.contract.roles import TableSchema
from tasks.distance import closest, fit_scale
from tasks.distance.coverage import coverage
from tasks.distance.isolation import approaches, most_isolated
from tasks.distance.scale import Scale

# Where more pool rows tie, the search finds the first of them; the pool's order is blind to who is a training row.
NEIGHBOURS = 4
# Most holdout rows that isolated rows are compared with.
COMPARED = 1_000


@coarse("measure coverage", "measure precision and recall")
def cover(run: Run, schema: TableSchema, training: PartitionRef, holdout: PartitionRef, drawn: PartitionRef) -> Ref:
    """Score drawn covariates by alpha-precision and beta-recall. A JSON record, ``{"refused": why}`` where rows are too few."""
    space = run.space()
    key = "checks/coverage.json"
    if (done := space.finished(key, Ref)) is not None:
        return done
    frames = [to_frame(space.table(ref), schema.modelled) for ref in (training, holdout, drawn)]
    try:
        record = coverage(frames[0], frames[1], frames[2], rng_for(run.spec.seed, "coverage")).as_dict()
    except SourceError as error:
        record = {"refused": error.message}
    return space.put_bytes(key, json.dumps(record, sort_keys=True).encode())


@coarse("measure distances", "measure distances")
def measure(
    run: Run,
    schema: TableSchema,
    training: PartitionRef,
    holdout: PartitionRef,
    pool: PartitionRef,
    drawn: PartitionRef,
    few: PartitionRef | None = None,
    groups: Sequence[PartitionRef] = (),
) -> Ref:
    """Measure drawn rows against training, holdout and pool, on the covariates, on one scale.

    Parameters
    ----------
    run : Run
        The run.
    schema : TableSchema
        The source's schema.
    training, holdout : PartitionRef
        Rows that the synthesizer saw and did not see.
    pool : PartitionRef
        Distinct rows of both.
    drawn : PartitionRef
        Released rows.
    few : PartitionRef, optional
        Fewer of them, to be compared in groups of columns.
    groups : sequence of PartitionRef
        Distinct training and holdout rows in each group's columns; each has a scale of its own.

    Returns
    -------
    Ref
        An npz file: ``training`` (n,), ``holdout`` (n,), ``holdout_to_training`` (m,), ``pool_distances`` and ``pool_rows`` (n, k); and
        ``group_distances_G`` and ``group_rows_G`` (f, k) of each group.
    """
    space = run.space()
    key = "checks/distances.npz"
    if (done := space.finished(key, Ref)) is not None:
        return done
    frames = {
        name: to_frame(space.table(ref), schema.modelled) for name, ref in (("training", training), ("holdout", holdout), ("drawn", drawn))
    }
    scale = fit_scale([frames["training"], frames["holdout"]], metric="l2")
    reference = to_frame(space.table(pool), schema.modelled)
    distances, rows = closest(frames["drawn"], reference, k=min(NEIGHBOURS, len(reference)), scale=scale)
    arrays: dict[str, Any] = {}
    partly = to_frame(space.table(few), schema.modelled) if few is not None else frames["drawn"]
    for number, ref in enumerate(groups):
        table = space.table(ref)
        columns = [column for column in schema.modelled if column.id in table.column_names]
        names, rows_of = [column.id for column in columns], to_frame(table, columns)
        group_scale = fit_scale([frames["training"][names], frames["holdout"][names]], metric="l2")
        near = closest(partly[names], rows_of, k=min(NEIGHBOURS, len(rows_of)), scale=group_scale)
        arrays[f"group_distances_{number}"], arrays[f"group_rows_{number}"] = near
    buffer = io.BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        **arrays,
        training=closest(frames["drawn"], frames["training"], scale=scale)[0][:, 0],
        holdout=closest(frames["drawn"], frames["holdout"], scale=scale)[0][:, 0],
        holdout_to_training=closest(frames["holdout"], frames["training"], scale=scale)[0][:, 0],
        pool_distances=distances,
        pool_rows=rows,
    )
    return space.put_bytes(key, buffer.getvalue())


@coarse("find isolated rows", "find isolated rows")
def isolate(run: Run, schema: TableSchema, training: PartitionRef, holdout: PartitionRef, pool: PartitionRef, counts: Ref) -> Ref:
    """Find the most isolated rows of the pool, and holdout rows to compare them with.

    Parameters
    ----------
    run, schema, training, holdout, pool
        As for :func:`measure`.
    counts : Ref
        npz: how often each pool row is a training row and a holdout row, or the cluster of each.

    Returns
    -------
    Ref
        An npz file: ``rows`` (k,), positions in the pool; ``isolated`` (k,), False for a holdout row that only serves for comparison;
        ``training`` (k,).
    """
    space = run.space()
    key = "checks/isolated.npz"
    if (done := space.finished(key, Ref)) is not None:
        return done
    scale, reference = _scale(space, schema, training, holdout), to_frame(space.table(pool), schema.modelled)
    with np.load(io.BytesIO(space.read(counts.key)), allow_pickle=False) as kept:
        arrays = dict(kept)
    if "pool_unit" in arrays:  # the rows of a cluster are on one side: the most isolated of them stands for it
        unit = arrays["pool_unit"]
        seen, copies = arrays["unit_training"][unit], np.ones(len(unit), dtype=np.int64)
    else:
        unit = np.arange(len(arrays["pool_training"]))
        seen, copies = arrays["pool_training"] > 0, arrays["pool_training"] + arrays["pool_holdout"]
    alone = most_isolated(reference, copies, scale).rows
    # the pool is ordered by content: a random sample, and only of rows that have no copy, as isolated rows have none
    single = rng_for(run.spec.seed, "isolated rows").permutation(np.flatnonzero((copies == 1) & ~seen))
    alone, single = _first_of_each(alone, unit), _first_of_each(single, unit)[:COMPARED]
    rows, buffer = np.concatenate([alone, single]), io.BytesIO()
    np.savez(buffer, allow_pickle=False, rows=rows, isolated=np.arange(len(rows)) < len(alone), training=seen[rows])
    return space.put_bytes(key, buffer.getvalue())


def _first_of_each(rows: npt.NDArray[np.int64], unit: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Keep of each unit the row that comes first."""
    return rows[np.sort(np.unique(unit[rows], return_index=True)[1])]


@coarse("approach isolated rows", "approach isolated rows, part {part} of copy {copy}")
def approach(
    run: Run,
    schema: TableSchema,
    training: PartitionRef,
    holdout: PartitionRef,
    pool: PartitionRef,
    watched: Ref,
    drawn: PartitionRef,
    copy: int,
    part: int,
) -> Ref:
    """Measure how near the rows of one drawn part come to the rows of :func:`isolate`; an npz file with ``distances`` (k, NEAREST)."""
    space = run.space()
    key = f"checks/approach-{copy}-{part:05d}.npz"
    if (done := space.finished(key, Ref)) is not None:
        return done
    with np.load(io.BytesIO(space.read(watched.key)), allow_pickle=False) as kept:
        chosen = kept["rows"]
    rows = to_frame(space.table(pool), schema.modelled).iloc[chosen].reset_index(drop=True)
    frame = to_frame(space.table(drawn, [column.id for column in schema.modelled]), schema.modelled)
    buffer = io.BytesIO()
    distances = approaches(rows, frame, _scale(space, schema, training, holdout))
    np.savez(buffer, allow_pickle=False, distances=distances)
    return space.put_bytes(key, buffer.getvalue())


def _scale(space: Workspace, schema: TableSchema, training: PartitionRef, holdout: PartitionRef) -> Scale:
    """Return the scale of all distances between rows."""
    return fit_scale([to_frame(space.table(ref), schema.modelled) for ref in (training, holdout)], metric="l2")
