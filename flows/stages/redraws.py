"""The proof that models are those of a release: its first rows come out again."""

from __future__ import annotations

from collections.abc import Sequence

import tasks.mechanisms.task as mechanisms
from flows.stages.copies import part_sizes
from flows.stages.streams import WAY_OUT, Original
from infra.stages import Stages
from infra.workspace import Run
from tasks.contract.errors import EstimationError
from tasks.contract.roles import TableSchema
from tasks.mechanisms.task import Models


def check_models(run: Run, stages: Stages, schema: TableSchema, models: Sequence[Models], original: Original) -> None:
    """Draw the first part of each copy of the release again: only the same models give its bytes.

    Raises
    ------
    EstimationError
        If they give others.
    """
    release = original.spec.release
    again = run.model_copy(update={"spec": run.spec.model_copy(update={"release": release})})
    rows = part_sizes(release.rows, release.part_rows)[0]
    drawing = [(again, schema, each, number, 0, rows) for number, each in enumerate(models)]
    drawn = stages.map("draw first part of the release again", mechanisms.draw, drawing)
    if tuple(part.released.sha256 for part in drawn) != original.parts:
        raise EstimationError(
            f"models of more must be those of {original.parent.name} version {original.parent.version}; its rows come out otherwise.",
            f"Code or packages differ from those that 'waymint releases show' names. {WAY_OUT}",
        )
