"""Entry point of ``waymint more``: further rows of a release, from the same models, gated and published as a version of their own."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.release import describe as describe_release
from flows.release import early_checks, mint
from flows.stages.endings import Ending, ending
from flows.stages.runs import carry_out
from flows.stages.streams import Original, check_stream
from infra.workspace import Run
from tasks.checks.rejection import rejection
from tasks.contract.spec import Spec


@flow(name="more", flow_run_name="more {spec.name}", validate_parameters=False)
def more(spec: Spec, original: Original) -> Ending:
    """Draw further rows of a release; the arguments are those of :func:`flows.stages.streams.compose`.

    The models are fitted again, not kept: they hold cells of the source, which no release may. Since the same SPEC, source and code
    give the same models, that is checked by drawing the release's first parts again.

    Returns
    -------
    dict
        The reply of a release.

    Raises
    ------
    GateFailed
        If a gate failed; nothing was published.
    WaymintError
        See :func:`flows.release.release`; EstimationError if the models are not those of the release.
    """
    return ending(carry_out(spec, "release", mint, original, check=_early_checks), rejection)


def _early_checks(run: Run) -> None:
    early_checks(run)
    check_stream(run)


def describe(reply: dict[str, Any]) -> list[str]:
    """Return the lines a user reads at the end."""
    lines = describe_release(reply)
    parents = reply["manifest"]["parents"]
    return [*lines, *(f"further rows of {parent['name']} v{parent['version']:06d}: read both versions as one table" for parent in parents)]
