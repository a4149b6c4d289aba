"""From a table of a source to drawn covariates in the source's own types, without a flow."""

from __future__ import annotations

from collections.abc import Mapping
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


def drawn(
    frame: pd.DataFrame | pa.Table, synthesizer: str, rows: int = 3000, params: Mapping[str, Any] | None = None, **roles: Any
) -> Drawn:
    """Fit on all rows of a table and draw covariates, rounded and in the source's types."""
    schema, table, spec = inspected(frame, **roles)
    built = resolve("synthesizer", synthesizer, params or QUICK.get(synthesizer))
    rng = np.random.default_rng(1)
    model, _, layer = fit_layered(built, to_frame(table, schema.modelled), schema.modelled, rng, spec.declared_relations)
    return Drawn(*released(schema, model.sample(rows, np.random.default_rng(2))), layer)


def released(schema: TableSchema, cells: pd.DataFrame) -> tuple[pd.DataFrame, pa.Table]:
    """Return drawn canonical covariates in the source's types."""
    table = from_frame(cells, schema.modelled)
    own = schema.model_copy(update={"columns": schema.modelled})
    back = decode(own, table)
    return back.to_pandas(), back


def everything(rows: int = 600) -> pd.DataFrame:
    """A table with one trait of each kind."""
    frame, rng = base(30, rows)
    frame["visit"] = pd.Timestamp("2019-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), "D")
    frame["grade"] = pd.Categorical(rng.choice(["severe", "mild", "acute"], rows), ["mild", "acute", "severe", "fatal"], ordered=True)
    for k in range(3):
        frame[f"lab{k}"] = (rng.normal(size=rows) + 0.3 * frame["x"]).round(2)
    frame.loc[rng.random(rows) < 0.4, [f"lab{k}" for k in range(3)]] = np.nan
    frame["x_again"] = frame["x"]
    frame["start"] = rng.integers(0, 100, rows)
    frame["end"] = frame["start"] + rng.integers(0, 60, rows)
    town = rng.integers(0, 6, rows)
    frame["town"] = [f"town {k}" for k in town]
    frame["region"] = [f"region {k // 3}" for k in town]
    frame["drugs"], frame["ward"] = rng.gamma(2, 30, rows).round(2), rng.gamma(2, 50, rows).round(2)
    frame["total"] = (frame["drugs"] + frame["ward"]).round(2)
    frame["bmi"] = np.where(rng.random(rows) < 0.05, -9, (27 + 4 * frame["x"] + rng.normal(size=rows)).round(1))
    return frame


def faults(source: pd.DataFrame, found: pd.DataFrame) -> dict[str, int]:
    """Count the rows of a release of :func:`everything` that lack a trait, by trait."""
    labs = found[["lab0", "lab1", "lab2"]].isna()
    least = source["bmi"][source["bmi"] > -9].min()
    number = found["town"].astype(str).str.removeprefix("town ").astype(int)
    rows = {
        "midnight": found["visit"] != found["visit"].dt.normalize(),
        "panel": labs.any(axis=1) & ~labs.all(axis=1),
        "copy": found["x"] != found["x_again"],
        "order": found["end"] < found["start"],
        "within": found["region"].astype(str) != pd.Series([f"region {k // 3}" for k in number], index=found.index),
        "sum": found["total"] != (found["drugs"] + found["ward"]).round(2),
        "gap": (found["bmi"] > -9) & (found["bmi"] < least),
    }
    return {name: int(wrong.sum()) for name, wrong in rows.items()} | {
        "grade": int(list(found["grade"].cat.categories) != ["mild", "acute", "severe", "fatal"] or not found["grade"].cat.ordered)
    }
