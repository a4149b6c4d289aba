"""Tasks of the report step: count marginals, render the page."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from infra.cluster import coarse
from infra.workspace import Run
from tasks.contract.reduction import reduce_parts
from tasks.contract.refs import ModelRef, PartitionRef, Ref
from tasks.contract.roles import TableSchema
from tasks.report.distance_plot import distance_histograms
from tasks.report.marginals import Counts, Marginals, paired
from tasks.report.overlap_plot import arm_shares
from tasks.report.page import render

DISTANCES = {"release to seed": "seed", "release to holdout": "holdout", "holdout to seed": "holdout_to_seed"}


@coarse("count marginals", "count marginals of {name}")
def marginals(run: Run, schema: TableSchema, parts: Sequence[PartitionRef], name: str) -> ModelRef:
    """Count binned marginals of some partitions of one table."""
    space = run.space()
    key = f"report/marginals-{name}"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    names = [column.id for column in schema.columns if not column.constant]
    return space.put_model(key, reduce_parts(Marginals(schema), (space.table(part, names) for part in parts)))


class MeasuredRefs(Protocol):
    """What is needed of the measurements."""

    @property
    def source(self) -> Ref:
        """Record of the source's effects and overlap."""
        ...

    @property
    def release(self) -> Ref:
        """Record of the release's effects and overlap."""
        ...

    @property
    def distances(self) -> Ref | None:
        """Arrays of closest-record distances, if any."""
        ...


def pictures(run: Run, schema: TableSchema, measured: MeasuredRefs, marginals: Sequence[ModelRef]) -> dict[str, Any]:
    """Gather what the report draws: marginals, overlap, distances. Binned, small cells suppressed."""
    space = run.space()
    left: Counts = space.model(marginals[0])
    right: Counts = space.model(marginals[1])
    records = {"source": measured.source, "release": measured.release}
    overlap = {name: arm_shares(json.loads(space.read(ref.key))["overlap"]) for name, ref in records.items()}
    series = {}
    if measured.distances is not None:
        with np.load(io.BytesIO(space.read(measured.distances.key)), allow_pickle=False) as arrays:
            series = {title: arrays[name] for title, name in DISTANCES.items()}
    return {
        "marginals": paired(schema, left, right),
        "overlap": overlap,
        "distances": distance_histograms(series) if series else None,
    }


def report(manifest: Mapping[str, Any], pictures: Mapping[str, Any], status: str) -> bytes:
    """Render the report page."""
    return render(manifest, pictures, status)
