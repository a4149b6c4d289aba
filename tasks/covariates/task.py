"""Task of the covariates step: fit the synthesizer on seed rows."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from infra.cluster import coarse
from infra.workspace import Run, Workspace
from tasks.contract.columns import joint_columns
from tasks.contract.errors import EstimationError
from tasks.contract.frames import joint_frame, to_frame
from tasks.contract.refs import ModelRef, PartitionRef
from tasks.contract.registry import resolve
from tasks.contract.rng import bootstrap_rows, in_holdout, rng_for
from tasks.contract.roles import TableSchema


@coarse("fit covariates", "fit covariates of copy {copy}")
def fit(run: Run, schema: TableSchema, parts: Sequence[PartitionRef], copy: int) -> ModelRef:
    """Fit the synthesizer of W, or of (W, A, Y) in mode "full", on a hash sample of the seed rows.

    In mode "hybrid" all copies share one fit: each copy's calibration meets the means of its own Bayesian bootstrap draw of the
    source, which carries the uncertainty in W. Mode "full" has no calibration: there each of several copies is fitted on its own
    bootstrap sample of the seed.
    """
    space, spec = run.space(), run.spec
    full = spec.release.mode == "full"
    draw = copy if full else 0
    key = f"covariates/copy-{draw}.model"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    synthesizer = resolve("synthesizer", spec.covariates.synthesizer, spec.covariates.params)
    table = _seed_rows(run, space, parts)
    if full and spec.release.copies > 1:
        table = table.take(pa.array(bootstrap_rows(table.column("key").to_numpy(), spec.seed, copy)))
    if not schema.modelled:
        raise EstimationError("covariates of roles must hold at least one column that varies; got none.", "Declare another covariate.")
    columns = joint_columns(schema) if full else schema.modelled
    frame = joint_frame(table, schema) if full else to_frame(table, schema.modelled)
    return space.put_model(key, synthesizer.fit(frame, columns, rng_for(spec.seed, "covariates", draw)))


def _seed_rows(run: Run, space: Workspace, parts: Sequence[PartitionRef]) -> pa.Table:
    """Read the first ``fit_rows`` seed rows: the snapshot is in hash order, so they are a random sample."""
    spec, wanted, tables = run.spec, run.spec.covariates.fit_rows, []
    for part in parts:
        table = space.table(part)
        seed = ~in_holdout(table.column("key").to_numpy(), spec.seed, spec.source.holdout)
        tables.append(table.filter(pa.array(seed)).slice(0, wanted))
        wanted -= tables[-1].num_rows
        if wanted <= 0:
            break
    return pa.concat_tables(tables, promote_options="default")
