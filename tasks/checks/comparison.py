"""Laws and support of a release beside its source's: from canonical tables to evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tasks.checks.laws import Gap, LawEvidence, Units, level_gap, ordered_gap, unit_gap, weighted_gap
from tasks.checks.support import Support, SupportEvidence, natural_support, support_of_instants
from tasks.contract.columns import clusters_of, survey_weights
from tasks.contract.frames import to_frame
from tasks.contract.roles import Column, TableSchema

Float64 = npt.NDArray[np.float64]
#: Fewest rows of an arm, in source and release, whose outcomes are compared.
FEWEST = 20

Design = Literal["randomized", "fitted", "tilted", "joint"]


def design_weights(a: npt.NDArray[np.int8], propensities: Sequence[Float64], bound: float, design: Design, tilt: float) -> Float64:
    """Return weights under which an arm of the source has the covariates that it has in the release.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0, ..., K - 1.
    propensities : sequence of K ndarray of float64, shape (n,)
        Of the source: P(A = k | W) of every arm.
    bound : float
        They are kept in [bound, 1 - bound].
    design : str
        Of the release. ``"randomized"``: 1 / g of the own arm. ``"tilted"``: the tilted propensity over g. ``"fitted"`` and ``"joint"``:
        the release assigns as the source does, so 1.
    tilt : float
        Factor on logit g, of more than two arms power of each g.

    Returns
    -------
    ndarray of float64, shape (n,)
        Up to a factor of each arm.
    """
    if design in ("fitted", "joint"):
        return np.ones(len(a))
    least = max(bound, 1e-12)
    p = [np.clip(each, least, 1 - least) for each in propensities]
    chance = np.choose(a, p)
    if design == "randomized":
        return np.asarray(1 / chance, dtype=np.float64)
    tilted = [each**tilt for each in p]
    return np.asarray(np.choose(a, tilted) / np.sum(tilted, axis=0) / chance, dtype=np.float64)


def arm_names(schema: TableSchema) -> tuple[str, ...]:
    """Return how the gates call the arms, the control first: by their labels where there are more than two."""
    return ("control", "treated") if len(schema.arms) == 2 else tuple(f"'{label}'" for label in schema.arms)


def law_evidence(
    schema: TableSchema,
    source: pa.Table,
    weight: Float64,
    release: pa.Table,
    rng: np.random.Generator,
    chances: Sequence[Float64 | None] = (),
) -> LawEvidence:
    """Compare outcomes by arm, covariates one by one, and joint patterns of missing cells.

    Parameters
    ----------
    schema : TableSchema
        Of the source.
    source, release : pyarrow.Table
        Canonical rows with covariates, ``a`` and outcomes.
    weight : ndarray of float64
        Of the source's rows, for the outcome; see :func:`design_weights`.
    rng : numpy.random.Generator
        Draws the null distributions.
    chances : sequence of ndarray of float64 or None
        Of each outcome that is complete in the release and not in the source, the chance of the source's rows to be known in their arm.
    """
    units = None if not schema.beside else (_units(source), _units(release))
    outcome: list[tuple[str, Gap]] = []
    for number, column in enumerate(schema.outcomes):
        chance = chances[number] if chances else None
        seen = weight if chance is None else weight / np.maximum(chance, 1e-3)
        named = f"outcome '{column.name}', " if len(schema.outcomes) > 1 else ""
        outcome += [(named + arm, gap) for arm, gap in _outcome(schema, column.id, source, seen, release, rng, units)]
    frames = to_frame(source, schema.modelled), to_frame(release, schema.modelled)
    margins = [(column.name, _margin(column, frames[0][column.id], frames[1][column.id], rng, units)) for column in schema.modelled]
    margins += _passengers(schema, source, release, weight, rng)
    gaps = tuple((name, gap) for name, gap in margins if gap is not None)
    missing = [("", _missing(*frames, rng, units)), *_outcomes_missing(schema, source, weight, release, rng)]
    patterns = [(name, gap) for name, gap in missing if gap is not None]
    where, worst = max(patterns, key=lambda each: (each[1].excess, each[1].distance), default=("", None))
    return LawEvidence(tuple(outcome), len(schema.arms) * len(schema.outcomes), gaps, worst, where)


def _outcome(
    schema: TableSchema,
    name: str,
    source: pa.Table,
    weight: Float64,
    release: pa.Table,
    rng: np.random.Generator,
    units: tuple[Units, Units] | None,
) -> list[tuple[str, Gap]]:
    """Compare the known cells of one outcome, arm by arm."""
    (a, y), (b, z) = ((table.column("a").to_numpy(), numbers(table, name)) for table in (source, release))
    gaps = []
    for label, arm in reversed([*enumerate(arm_names(schema))]):
        here, there = (a == label) & ~np.isnan(y), (b == label) & ~np.isnan(z)
        if min(here.sum(), there.sum()) >= FEWEST and weight[here].sum() > 0:
            if units is None:
                gaps.append((arm, weighted_gap(y[here], weight[here], z[there], rng)))
            else:
                designed = units[0]._replace(weight=units[0].weight * weight)
                gaps.append((arm, unit_gap(y[here], z[there], designed.take(here), units[1].take(there), rng)))
    return gaps


def _outcomes_missing(
    schema: TableSchema, source: pa.Table, weight: Float64, release: pa.Table, rng: np.random.Generator
) -> list[tuple[str, Gap | None]]:
    """Compare the joint patterns of missing outcomes, arm by arm: who is in an arm is weighted to what the release has there."""
    names = [column.id for column in schema.outcomes if column.missing]
    if not names:
        return []
    masks = [np.column_stack([np.isnan(numbers(table, name)) for name in names]) for table in (source, release)]
    if not masks[1].any():
        return []  # the release was asked for complete outcomes
    codes = np.unique(np.concatenate(masks), axis=0, return_inverse=True)[1].ravel().astype(np.float64)
    here, there = codes[: source.num_rows], codes[source.num_rows :]
    units, drawn = _units(source), _units(release)
    designed = units._replace(weight=units.weight * weight)
    a, b = source.column("a").to_numpy(), release.column("a").to_numpy()
    gaps: list[tuple[str, Gap | None]] = []
    for label, arm in enumerate(arm_names(schema)):
        x, z = a == label, b == label
        if min(x.sum(), z.sum()) >= FEWEST:
            gap = unit_gap(here[x], there[z], designed.take(x), drawn.take(z), rng, ordered=False)
            gaps.append((f"missing outcomes of the {arm} arm", gap))
    return gaps


def _passengers(
    schema: TableSchema, source: pa.Table, release: pa.Table, weight: Float64, rng: np.random.Generator
) -> list[tuple[str, Gap | None]]:
    """Compare passengers, which follow the treatment: the source's arms are weighted to what they are in the release."""
    varying = tuple(column for column in schema.passengers if not column.constant)
    if not varying:
        return []
    units, drawn = _units(source), _units(release)
    designed, a, b = units.weight * weight, source.column("a").to_numpy(), release.column("a").to_numpy()
    for arm in range(len(schema.arms)):
        designed[a == arm] *= float(np.mean(b == arm)) / max(float(designed[a == arm].sum()), 1e-300)
    frames, of = (to_frame(source, varying), to_frame(release, varying)), (units._replace(weight=designed), drawn)
    return [(column.name, _margin(column, frames[0][column.id], frames[1][column.id], rng, of)) for column in varying]


def _units(table: pa.Table) -> Units:
    """Return how rows count: their survey weights and clusters, as far as there are."""
    clusters, given = clusters_of(table), survey_weights(table)
    place = np.arange(table.num_rows) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    return Units(np.ones(table.num_rows) if given is None else given, place.astype(np.int64))


def _margin(
    column: Column, source: pd.Series, release: pd.Series, rng: np.random.Generator, units: tuple[Units, Units] | None = None
) -> Gap | None:
    """Compare the known cells of one column; None where one side has none, which the patterns of missing cells show."""
    here, there = source.dropna(), release.dropna()
    if here.empty or there.empty:
        return None
    if units is not None:
        of = units[0].take(source.notna().to_numpy()), units[1].take(release.notna().to_numpy())
        x, z = (np.asarray(each.cat.codes if column.is_category else each, dtype=np.float64) for each in (here, there))
        return unit_gap(x, z, *of, rng, ordered=not column.is_category)
    if column.is_category:
        return level_gap(np.asarray(here.cat.codes, dtype=np.int64), np.asarray(there.cat.codes, dtype=np.int64), rng)
    return ordered_gap(here.to_numpy(dtype=np.float64), there.to_numpy(dtype=np.float64), rng)


def _missing(source: pd.DataFrame, release: pd.DataFrame, rng: np.random.Generator, units: tuple[Units, Units] | None = None) -> Gap | None:
    """Compare the joint patterns of missing cells; None where none is missing."""
    masks = np.concatenate([frame.isna().to_numpy() for frame in (source, release)])
    if not masks.any():
        return None
    codes = np.unique(masks, axis=0, return_inverse=True)[1].ravel().astype(np.int64)
    here, there = codes[: len(source)], codes[len(source) :]
    if units is not None:
        return unit_gap(here.astype(np.float64), there.astype(np.float64), *units, rng, ordered=False)
    return level_gap(here, there, rng)


def supports(schema: TableSchema, source: pa.Table, ranges: Mapping[str, tuple[float, float] | None]) -> dict[str, Support]:
    """Read the natural support of every column of numbers, dates or times, by its id; see :mod:`tasks.checks.support`.

    ``ranges`` holds the declared range of outcomes by the name of their column.
    """
    limits = {column.id: _support(column, numbers(source, column.id)) for column in schema.modelled if not column.is_category}
    for column, kind in zip(schema.outcomes, schema.outcome_kinds, strict=True):
        if kind != "binary":
            limits[column.id] = natural_support(numbers(source, column.id), ranges.get(column.name))
    return limits


def _support(column: Column, values: Float64) -> Support:
    if column.kind != "datetime":
        return natural_support(values)
    kind = column.arrow().type
    return support_of_instants(values, kind.tz if pa.types.is_timestamp(kind) else None)


def outside(schema: TableSchema, limits: Mapping[str, Support], release: pa.Table) -> SupportEvidence:
    """Count released cells outside the supports of their columns."""
    names = {column.id: column.name for column in schema.columns}
    cells = [
        (f"{names[key]} ({trait})", count)
        for key, support in limits.items()
        for trait, count in support.violations(numbers(release, key)).items()
    ]
    return SupportEvidence(release.num_rows, tuple(sorted(cells)))


def numbers(table: pa.Table, name: str) -> Float64:
    """Return a canonical column as float64, NaN where missing."""
    return np.asarray(table.column(name).cast(pa.float64()).to_numpy(), dtype=np.float64)
