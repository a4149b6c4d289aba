"""The layer between canonical covariates and a synthesizer: traits are encoded before it is fitted, decoded after it draws."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd

from tasks.contract.relations import Relation
from tasks.contract.roles import Column
from tasks.covariates.journal import Journal, Trained
from tasks.covariates.protocol import CovariateModel, PartwiseSynthesizer, Synthesizer
from tasks.covariates.traits.atoms import find_atoms
from tasks.covariates.traits.grids import find_grids
from tasks.covariates.traits.patterns import find_patterns
from tasks.covariates.traits.relations import find_relations
from tasks.numerics.threads import one_thread

HEAD_ROWS = 100_000
"""Training rows that traits are looked for in, where a table is read part by part; the others may refute them."""


KINDS = ("relations", "grids", "atoms", "missingness")
Refuted = dict[str, frozenset[str]]
"""Columns by the kind of trait that they do not have."""


class Trait(Protocol):
    """Something of a table that drawn rows keep, whatever draws them."""

    def columns(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        """Describe the encoded table."""
        ...

    def encode(self, table: pd.DataFrame) -> pd.DataFrame:
        """Encode rows for the synthesizer."""
        ...

    def decode(self, drawn: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        """Decode drawn rows."""
        ...

    def refuted(self, table: pd.DataFrame) -> set[str]:
        """Return the columns whose trait more training rows do not have; ``table`` is encoded by the traits before."""
        ...

    def described(self, names: dict[str, str]) -> list[str]:
        """Say in short texts what is kept; ``names`` holds the source's names by column id."""
        ...


class Layer(NamedTuple):
    """Traits in the order in which they are encoded.

    Attributes
    ----------
    traits : dict of str to Trait
        By kind: relations, grids, atoms, missingness.
    outer : tuple of Column
        The table's own columns.
    """

    traits: dict[str, Trait]
    outer: tuple[Column, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that the synthesizer is given."""
        columns = self.outer
        for trait in self.traits.values():
            columns = trait.columns(columns)
        return columns

    def encode(self, table: pd.DataFrame) -> pd.DataFrame:
        """Encode rows for the synthesizer, its columns in their order."""
        for trait in self.traits.values():
            table = trait.encode(table)
        return table[[column.id for column in self.columns]]

    def decode(self, drawn: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        """Decode drawn rows into the table's own columns."""
        for trait in reversed(self.traits.values()):
            drawn = trait.decode(drawn, rng)
        return drawn[[column.id for column in self.outer]]

    def described(self) -> dict[str, list[str]]:
        """Say by kind what is kept."""
        names = {column.id: column.name for column in self.outer}
        return {kind: trait.described(names) for kind, trait in self.traits.items()}


class LayeredModel(NamedTuple):
    """A fitted law of encoded rows, and the layer that decodes them."""

    model: CovariateModel
    layer: Layer

    def sample(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw ``n`` rows; see :class:`tasks.covariates.protocol.CovariateModel`."""
        drawn = self.model.sample(n, rng)
        with one_thread():
            return self.layer.decode(drawn, rng)


def find_layer(
    table: pd.DataFrame, columns: tuple[Column, ...], relations: tuple[Relation, ...] = (), without: Refuted | None = None
) -> Layer:
    """Learn the traits of a table.

    Parameters
    ----------
    table : pandas.DataFrame, shape (n, d)
        Training rows, canonical.
    columns : tuple of Column
        Their descriptions; treatment and outcome are left as they are.
    relations : tuple of Relation
        Declared ones; others are looked for.
    without : dict of str to frozenset of str, optional
        Columns (of a relation: the derived one) that are not to have a trait of a kind.

    Returns
    -------
    Layer
        Without traits where the table has none.

    Raises
    ------
    SpecError, EstimationError
        See :func:`tasks.covariates.traits.declared.plan_declared`.
    """
    refuted = without or {}

    def related(table: pd.DataFrame, columns: tuple[Column, ...]) -> Trait | None:
        return find_relations(table, columns, relations, refuted.get("relations", frozenset()))

    finders: dict[str, Callable[[pd.DataFrame, tuple[Column, ...]], Trait | None]] = dict(
        zip(KINDS, (related, find_grids, find_atoms, find_patterns), strict=True)
    )
    layer = Layer({}, columns)
    with one_thread():
        for kind, find in finders.items():
            shown = tuple(column for column in layer.columns if column.id not in refuted.get(kind, ()) or kind == "relations")
            trait = find(table, shown)
            if trait is not None:
                layer, table = layer._replace(traits=layer.traits | {kind: trait}), trait.encode(table)
    return layer


def fit_layered(
    synthesizer: Synthesizer,
    table: pd.DataFrame,
    columns: tuple[Column, ...],
    rng: np.random.Generator,
    relations: tuple[Relation, ...] = (),
    journal: Journal | None = None,
    plain: pd.DataFrame | None = None,
) -> tuple[CovariateModel, CovariateModel, Layer]:
    """Fit a synthesizer on a table in memory, with the table's traits kept.

    Parameters
    ----------
    synthesizer : Synthesizer
    table, columns, rng
        As of :meth:`tasks.covariates.protocol.Synthesizer.fit`.
    relations : tuple of Relation
        Declared relations.
    journal : Journal or None
        Where long training keeps its state.
    plain : pandas.DataFrame or None
        Where traits are looked for instead, if ``table`` is a bootstrap sample of it.

    Returns
    -------
    model : CovariateModel
        What to draw from.
    bare : CovariateModel
        What the synthesizer itself returned; the same where the table has no traits.
    layer : Layer
        What is kept.
    """
    layer = find_layer(table if plain is None else plain, columns, relations)
    encoded = layer.encode(table) if layer.traits else table
    if journal is not None and isinstance(synthesizer, Trained):
        bare: CovariateModel = synthesizer.train(encoded, layer.columns, rng, journal)
    else:
        bare = synthesizer.fit(encoded, layer.columns, rng)
    return (LayeredModel(bare, layer) if layer.traits else bare), bare, layer


def fit_layered_parts(
    synthesizer: PartwiseSynthesizer,
    parts: Callable[[], Iterable[pd.DataFrame]],
    columns: tuple[Column, ...],
    rng: np.random.Generator,
    relations: tuple[Relation, ...] = (),
    plain: Callable[[], Iterable[pd.DataFrame]] | None = None,
) -> tuple[CovariateModel, Layer]:
    """Fit a synthesizer on a table that is read part by part, with the table's traits kept.

    Traits are looked for in the first rows. Where there are any, the other rows are read once more ahead: a trait that they do not keep
    is no trait.

    Parameters
    ----------
    synthesizer : PartwiseSynthesizer
    parts : callable
        Returns the parts anew.
    columns, rng
        As of :meth:`tasks.covariates.protocol.PartwiseSynthesizer.fit_parts`.
    relations : tuple of Relation
        Declared relations.
    plain : callable or None
        Where traits are looked for instead, if ``parts`` are a bootstrap sample.

    Returns
    -------
    model : CovariateModel
    layer : Layer
    """
    looked_at = plain or parts
    waiting = iter(looked_at())
    head: list[pd.DataFrame] = []
    while sum(map(len, head)) < HEAD_ROWS and (part := next(waiting, None)) is not None:
        head.append(part)
    table = pd.concat(head, ignore_index=True)
    layer = find_layer(table, columns, relations)
    if not layer.traits:
        return synthesizer.fit_parts(itertools.chain(head, waiting) if plain is None else parts(), columns, rng), layer
    without: Refuted = {}
    while any((refuted := _refuted(layer, itertools.islice(looked_at(), len(head), None))).values()):
        without = {kind: without.get(kind, frozenset()) | names for kind, names in refuted.items()}
        layer = find_layer(table, columns, relations, without)
    encoded = map(layer.encode, parts()) if layer.traits else parts()
    model = synthesizer.fit_parts(encoded, layer.columns, rng)
    return (LayeredModel(model, layer) if layer.traits else model), layer


def _refuted(layer: Layer, parts: Iterable[pd.DataFrame]) -> Refuted:
    """Return by kind the columns whose trait some of the training rows do not have."""
    refuted: Refuted = dict.fromkeys(KINDS, frozenset())
    for part in parts:
        for kind, trait in layer.traits.items():
            refuted[kind] |= trait.refuted(part)
            part = trait.encode(part)
    return refuted
