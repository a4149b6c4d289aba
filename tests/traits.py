"""From a table of a source to drawn covariates in the source's own types, without a flow."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.contract.columns import decode
from tasks.contract.frames import from_frame, to_frame
from tasks.contract.registry import resolve
from tasks.contract.roles import TableSchema
from tasks.contract.spec import RolesSpec
from tasks.covariates.traits.layer import Layer, fit_layered
from tasks.source.inspection import Inspection
from tasks.source.rows import canonical

ROWS = 1200
#: Fast enough for every test; a trait has to be kept however little was learnt.
QUICK: dict[str, dict[str, Any]] = {"forest": {"trees": 10}}


class Drawn(NamedTuple):
    """Drawn covariates as a release holds them, and what was kept."""

    frame: pd.DataFrame
    table: pa.Table
    layer: Layer


def base(seed: int, rows: int = ROWS) -> tuple[pd.DataFrame, np.random.Generator]:
    """A confounder, a second covariate, treatment, outcome."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows).round(2)
    a = (rng.random(rows) < 1 / (1 + np.exp(-0.9 * x))).astype(int)
    y = (a + 1.2 * x + rng.normal(size=rows)).round(3)
    return pd.DataFrame({"x": x, "z": rng.normal(size=rows).round(2), "a": a, "y": y}), rng


def inspected(frame: pd.DataFrame | pa.Table, **roles: Any) -> tuple[TableSchema, pa.Table, RolesSpec]:
    """Read a table as the source step does."""
    table = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
    spec = RolesSpec(**({"treatment": "a", "outcome": "y"} | roles))
    inspection = Inspection(spec)
    found = inspection.finish(inspection.visit(inspection.start(), table), spec, folds=5, source_format="parquet")
    return found.table, canonical(table, found.table, "parquet"), spec


def drawn(frame: pd.DataFrame | pa.Table, synthesizer: str, rows: int = 3000, **roles: Any) -> Drawn:
    """Fit on all rows of a table and draw covariates, rounded and in the source's types."""
    schema, table, spec = inspected(frame, **roles)
    built = resolve("synthesizer", synthesizer, QUICK.get(synthesizer))
    rng = np.random.default_rng(1)
    model, _, layer = fit_layered(built, to_frame(table, schema.modelled), schema.modelled, rng, spec.declared_relations)
    return Drawn(*released(schema, model.sample(rows, np.random.default_rng(2))), layer)


def released(schema: TableSchema, cells: pd.DataFrame) -> tuple[pd.DataFrame, pa.Table]:
    """Return drawn canonical covariates in the source's types."""
    table = from_frame(cells, schema.modelled)
    own = schema.model_copy(update={"columns": schema.modelled})
    back = decode(own, table)
    return back.to_pandas(), back
