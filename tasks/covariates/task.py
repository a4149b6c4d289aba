"""Task of the covariates step: fit the synthesizer on training rows."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from infra.cluster import coarse
from infra.metering import metered
from infra.workspace import Run, Workspace
from tasks.contract.columns import joint_columns, survey_weights, unit_keys
from tasks.contract.errors import EstimationError
from tasks.contract.frames import held, joint_frame, to_frame
from tasks.contract.refs import ModelRef, PartitionRef
from tasks.contract.registry import resolve
from tasks.contract.rng import bootstrap_weights, in_holdout, rng_for, weighted_rows
from tasks.contract.roles import TableSchema
from tasks.covariates.passengers import fit_passenger_laws
from tasks.covariates.protocol import CovariateModel, PartwiseSynthesizer
from tasks.covariates.traits.layer import fit_layered, fit_layered_parts

_REPORT_EVERY = 5.0  # seconds
_IN_MEMORY = 50_000  # rows of a table that a synthesizer is handed whole
_PARTWISE = 1_000_000  # rows of one that is read part by part: their codes are in memory together, one byte a cell


@coarse("fit covariates", "fit covariates of copy {copy}")
def fit(run: Run, schema: TableSchema, parts: Sequence[PartitionRef], copy: int) -> ModelRef:
    """Fit the synthesizer of W, or of (W, A, Y) in mode "full", on a hash sample of the training rows.

    In mode "hybrid" all copies share one fit: each copy's calibration meets the means of its own Bayesian bootstrap draw of the
    source, which carries the uncertainty in W. Mode "full" has no calibration: there each of several copies is fitted on its own
    bootstrap sample of the training rows. With survey weights every fit is on a sample drawn by them.
    """
    space, spec = run.space(), run.spec
    full = spec.release.mode == "full"
    draw = _draw(run, copy)
    key = f"covariates/copy-{draw}.model"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    synthesizer = resolve("synthesizer", spec.covariates.synthesizer, spec.covariates.params)
    if not schema.modelled:
        raise EstimationError("covariates of roles must hold at least one column that varies; got none.", "Declare another covariate.")
    columns, relations = joint_columns(schema) if full else schema.modelled, spec.roles.declared_relations
    partwise = isinstance(synthesizer, PartwiseSynthesizer)
    most = spec.covariates.fit_rows or (_PARTWISE if partwise else _IN_MEMORY)
    resampled = (full and spec.release.copies > 1) or schema.weight is not None

    def framed(tables: Iterable[pa.Table]) -> Iterator[pd.DataFrame]:
        return (joint_frame(table, schema) if full else to_frame(table, schema.modelled) for table in tables)

    def plain_rows() -> Iterator[pd.DataFrame]:
        return framed(_training_rows(run, space, parts, most))

    def rows() -> Iterator[pd.DataFrame]:
        if not resampled:
            return plain_rows()
        return (held(frame, schema.modelled) for frame in framed(_resampled_rows(run, space, parts, copy, most, schema.beside)))

    rng = rng_for(spec.seed, "covariates", draw)
    with metered() as meter:
        # rows drawn several times would look like values that many rows share
        if isinstance(synthesizer, PartwiseSynthesizer):
            model, layer = fit_layered_parts(synthesizer, rows, columns, rng, relations, plain_rows if resampled else None)
        else:
            plain = _whole(plain_rows()) if resampled else None
            journal = WorkspaceJournal(space, f"covariates/copy-{draw}")
            model, bare, layer = fit_layered(synthesizer, _whole(rows()), columns, rng, relations, journal, plain)
            _keep_training(space, f"covariates/copy-{draw}", bare)
    if layer.traits:
        space.put_record(f"covariates/copy-{draw}.traits.json", layer.described())
    space.put_record(f"covariates/copy-{draw}.cost", meter.as_dict())
    return space.put_model(key, model)


@coarse("fit passengers", "fit passengers")
def fit_passengers(run: Run, schema: TableSchema, parts: Sequence[PartitionRef]) -> ModelRef:
    """Learn the law of passengers given (W, A, Y) on training rows; all copies share it."""
    space, spec = run.space(), run.spec
    key = "covariates/passengers.model"
    if (done := space.finished(key, ModelRef)) is not None:
        return done
    varying = tuple(column for column in schema.passengers if not column.constant)
    most = spec.covariates.fit_rows or _IN_MEMORY
    weighted = schema.weight is not None
    tables = _resampled_rows(run, space, parts, 0, most, schema.beside) if weighted else _training_rows(run, space, parts, most)
    table = pd.concat([joint_frame(each, schema).join(to_frame(each, varying)) for each in tables], ignore_index=True)
    law = fit_passenger_laws(table, joint_columns(schema), varying, rng_for(spec.seed, "passengers"))
    return space.put_model(key, law)


def _whole(frames: Iterator[pd.DataFrame]) -> pd.DataFrame:
    """Return a table in one piece; its categories are the same in every part."""
    return pd.concat(frames, ignore_index=True)


def _keep_training(space: Workspace, key: str, model: CovariateModel) -> None:
    """Keep how training went, where there was one: its curve, and the layer card of a pretrained language model."""
    if (curve := getattr(model, "curve", None)) is not None:
        space.put_record(f"{key}.curve.json", curve._asdict())
    if (card := getattr(model, "card", None)) is not None:
        _tell(f"Layer card:\n{card}")
        space.put_record(f"{key}.card.json", card.as_dict())


class WorkspaceJournal:
    """A journal in the run's workspace: an interrupted run goes on from it, and others read there how far training is.

    Parameters
    ----------
    space : Workspace
    key : str
        What the names of its objects begin with.
    """

    def __init__(self, space: Workspace, key: str) -> None:
        self._space, self._key, self._reported = space, key, -math.inf
        self._figure: float | None = None

    def load(self) -> bytes | None:
        """Return the state that an interrupted run left."""
        return self._space.state(f"{self._key}.journal")

    def save(self, state: bytes) -> None:
        """Keep a state."""
        self._space.keep_state(f"{self._key}.journal", state)

    def tell(self, done: int, total: int, figure: float | None) -> None:
        """Write progress to the run's log and to the workspace, at most every five seconds."""
        now = time.monotonic()
        if now - self._reported < _REPORT_EVERY and done < total:
            return
        self._reported = now
        if figure is not None:
            self._figure = figure
        text = f"epoch {done} of at most {total}"
        if self._figure is not None:
            text += f", validation figure {self._figure:.3f}"
        self._space.put_record(f"{self._key}.progress.json", {"told": text})
        _tell(text)


def _tell(text: str) -> None:
    """Write to the run's log, where there is a run."""
    with contextlib.suppress(MissingContextError):  # called as a plain function
        get_run_logger().info(text)


def progress(run: Run, copy: int) -> str | None:
    """Return in a few words how far the training of a copy's synthesizer is, None where it is not trained by epochs."""
    record = run.space().record(f"covariates/copy-{_draw(run, copy)}.progress.json")
    return None if record is None else str(record["told"])


def curve(run: Run, copy: int = 0) -> dict[str, Any] | None:
    """Return the curve of a copy's synthesizer (``epochs``, ``figures``, ``kept``), None where it was not trained by epochs."""
    return run.space().record(f"covariates/copy-{_draw(run, copy)}.curve.json")


def card(run: Run, copy: int = 0) -> dict[str, Any] | None:
    """Return the layer card of a copy's synthesizer, None where it adapted no pretrained language model."""
    return run.space().record(f"covariates/copy-{_draw(run, copy)}.card.json")


def kept(run: Run, copy: int = 0) -> dict[str, list[str]]:
    """Return by kind what a copy's rows keep of the table (relations, grids, atoms, missingness); empty where nothing special is."""
    record: dict[str, list[str]] | None = run.space().record(f"covariates/copy-{_draw(run, copy)}.traits.json")
    return record or {}


def _draw(run: Run, copy: int) -> int:
    """Return which fit a copy uses: in mode "hybrid" all share one."""
    return copy if run.spec.release.mode == "full" else 0


def _training_rows(
    run: Run, space: Workspace, parts: Sequence[PartitionRef], most: int, columns: list[str] | None = None
) -> Iterator[pa.Table]:
    """Read the first training rows, partition by partition: the snapshot is in hash order, so they are a random sample."""
    spec, wanted = run.spec, most
    for part in parts:
        table = space.table(part, columns)
        training = ~in_holdout(unit_keys(table), spec.split_seed, spec.source.holdout)
        table = table.filter(pa.array(training)).slice(0, wanted)
        yield table
        wanted -= table.num_rows
        if wanted <= 0:
            break


def _resampled_rows(
    run: Run, space: Workspace, parts: Sequence[PartitionRef], copy: int, most: int, beside: tuple[str, ...] = ()
) -> Iterator[pa.Table]:
    """Read a copy's sample of the training rows by weight: weights are normalised over all of them, so their keys are read ahead."""
    spec = run.spec
    keyed = pa.concat_tables(_training_rows(run, space, parts, most, ["key", *beside]))
    weights = survey_weights(keyed)
    if spec.release.mode == "full" and spec.release.copies > 1:
        drawn = bootstrap_weights(unit_keys(keyed), spec.seed, copy)
        weights = drawn if weights is None else weights * drawn
    assert weights is not None  # nothing else asks for a sample
    chosen, first = weighted_rows(weights, rng_for(spec.seed, "bootstrap rows", copy)), 0
    for table in _training_rows(run, space, parts, most):
        low, high = np.searchsorted(chosen, [first, first + table.num_rows])
        yield table.take(pa.array(chosen[low:high] - first))
        first += table.num_rows
