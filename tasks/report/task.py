"""Tasks of the report step: count marginals, render the page."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from infra.cluster import coarse
from infra.workspace import Run
from tasks.checks.measured import Measured
from tasks.contract.reduction import reduce_parts
from tasks.contract.refs import ModelRef, PartitionRef
from tasks.contract.roles import TableSchema
from tasks.report.distance_plot import distance_histograms
from tasks.report.overlap_plot import arm_shares
from tasks.report.page import render
from tasks.report.tallies import Tallies, Tally, drawn

DISTANCES = {"release to training rows": "training", "release to holdout": "holdout", "holdout to training rows": "holdout_to_training"}


@coarse("count marginals", "count marginals of {name}")
def marginals(run: Run, schema: TableSchema, parts: Sequence[PartitionRef], name: str) -> ModelRef:
    """Count what the report draws of some partitions of one table: a :class:`Tally`."""
    space = run.space()
    key = f"report/marginals-{name}"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    # a release has a weight of one in every row, which is no canonical column of it
    weighed = [schema.weight.id] if schema.weight is not None and name.startswith("source") else []
    names = [*(column.id for column in schema.drawn), *weighed]
    return space.put_model(key, reduce_parts(Tallies(schema), (space.table(part, names) for part in parts)))


def pictures(run: Run, schema: TableSchema, measured: Measured, marginals: Sequence[ModelRef]) -> dict[str, Any]:
    """Gather what the report draws: binned, small cells merged or left out."""
    space = run.space()
    source: Tally = space.model(marginals[0])
    release: Tally = space.model(marginals[1])
    records = {"source": measured.source, "release": measured.release}
    overlap = {name: arm_shares(json.loads(space.read(ref.key))["overlap"]) for name, ref in records.items()}
    series = {}
    if measured.distances is not None:
        with np.load(io.BytesIO(space.read(measured.distances.key)), allow_pickle=False) as arrays:
            series = {title: arrays[name] for title, name in DISTANCES.items()}
    return {**drawn(schema, source, release), "overlap": overlap, "distances": distance_histograms(series) if series else None}


def report(manifest: Mapping[str, Any], pictures: Mapping[str, Any], status: str) -> bytes:
    """Render the report page."""
    return render(manifest, pictures, status)
