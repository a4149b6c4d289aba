"""Task of the distance step: closest real records of the released rows."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from infra.cluster import coarse
from infra.workspace import Run, Workspace
from tasks.contract.frames import to_frame
from tasks.contract.refs import PartitionRef, Ref
from tasks.contract.rng import in_holdout, rng_for
from tasks.contract.roles import TableSchema
from tasks.distance import closest, fit_scale

# More pool rows than this may tie; the search then finds a choice of them that is blind to who is seed.
NEIGHBOURS = 4


@coarse("measure distances", "measure distances")
def measure(run: Run, schema: TableSchema, source: Sequence[PartitionRef], release: Sequence[PartitionRef], rows_total: int) -> Ref:
    """Measure released rows against seed and holdout rows, on the covariates.

    An npz file with the arrays of ``tasks.checks.evidence.DistanceEvidence``; of each table at most
    ``gates.distance_rows`` rows are taken: the first in hash order of the source, evenly from the parts of the release.
    """
    space, spec = run.space(), run.spec
    key = "checks/distances.npz"
    if (done := space.finished(key, Ref)) is not None:
        return done
    limit = spec.gates.distance_rows
    seed = _source_rows(run, space, schema, source, limit, held_out=False)
    holdout = _source_rows(run, space, schema, source, limit, held_out=True)
    drawn = _release_rows(space, schema, release, limit)
    arrays = {"n_seed": np.array(len(seed)), "n_holdout": np.array(len(holdout)), "rows_total": np.array(rows_total)}
    if len(seed) and len(holdout):
        arrays |= _search(seed, holdout, drawn, rng_for(spec.seed, "pool order"))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return space.put_bytes(key, buffer.getvalue())


def _search(seed: pd.DataFrame, holdout: pd.DataFrame, drawn: pd.DataFrame, rng: np.random.Generator) -> dict[str, npt.NDArray[np.generic]]:
    scale = fit_scale([seed, holdout], metric="l2")
    pool = pd.concat([seed, holdout], ignore_index=True)
    # ties go to the first row of the reference: its order must not tell seed from holdout
    order = rng.permutation(len(pool))
    distances, rows = closest(drawn, pool.iloc[order], k=min(NEIGHBOURS, len(pool)), scale=scale)
    identical = drawn.groupby(list(drawn.columns), dropna=False, observed=True).size().to_numpy()
    return {
        "seed": closest(drawn, seed, scale=scale)[0][:, 0],
        "holdout": closest(drawn, holdout, scale=scale)[0][:, 0],
        "holdout_to_seed": closest(holdout, seed, scale=scale)[0][:, 0],
        "pool_distances": distances,
        "pool_rows": order[rows],
        "release_pairs": np.array(int((identical * (identical - 1) // 2).sum())),
    }


def _source_rows(
    run: Run, space: Workspace, schema: TableSchema, parts: Sequence[PartitionRef], limit: int, held_out: bool
) -> pd.DataFrame:
    names, found, wanted = ["key", *(column.id for column in schema.modelled)], [], limit
    for part in parts:
        table = space.table(part, names)
        chosen = in_holdout(table.column("key").to_numpy(), run.spec.seed, run.spec.source.holdout) == held_out
        found.append(table.filter(pa.array(chosen)).slice(0, wanted))
        wanted -= found[-1].num_rows
        if wanted <= 0:
            break
    return to_frame(pa.concat_tables(found), schema.modelled)


def _release_rows(space: Workspace, schema: TableSchema, parts: Sequence[PartitionRef], limit: int) -> pd.DataFrame:
    """Take rows evenly from the parts of all copies."""
    share = -(-limit // len(parts))
    tables = [space.table(part, [column.id for column in schema.modelled]).slice(0, share) for part in parts]
    return to_frame(pa.concat_tables(tables).slice(0, limit), schema.modelled)
