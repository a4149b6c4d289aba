"""Models that a release keeps: sealed where it is minted, opened where it gets further rows."""

from __future__ import annotations

from collections.abc import Sequence

import tasks.keeping.task as keeping
from infra.stages import Stages
from infra.workspace import Run
from tasks.keeping.task import Kept
from tasks.mechanisms.task import FittedCopy
from tasks.publish.kept import sealed_files
from tasks.publish.layout import sealed_path, version_folder
from tasks.publish.manifest import Manifest


def seal_models(run: Run, stages: Stages, copies: Sequence[FittedCopy]) -> None:
    """Seal every copy's models in the workspace, where the SPEC says to keep them: publishing takes them from there."""
    if run.spec.release.keep_models:
        sealing = [(run, copy.models, copy.targeting, number, sealed_path(number)) for number, copy in enumerate(copies)]
        stages.map("seal models", keeping.seal, sealing)


def open_models(run: Run, stages: Stages, manifest: Manifest) -> list[Kept]:
    """Open the models that a release kept, one for each copy."""
    folder = version_folder(manifest.name, manifest.version)
    opening = [(run, folder, file, copy) for copy, file in enumerate(sealed_files(manifest))]
    opened: list[Kept] = stages.map("open the models that the release kept", keeping.unlock, opening)
    return opened
