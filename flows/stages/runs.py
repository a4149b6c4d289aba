"""A run: a flow's work in a workspace of its own, on a cluster that may be lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.cluster import outlasting, probe
from infra.faults import count_failed_requests
from infra.settings import Settings
from infra.stages import open_stages
from infra.workspace import RUN_RECORD, Run
from infra.workspaces import run_workspace
from tasks.contract.errors import EstimationError, SourceError, SpecError
from tasks.contract.spec import Purpose, Spec


def carry_out(spec: Spec, purpose: Purpose, work: Any, *more: object, check: Callable[[Run], None] | None = None) -> dict[str, Any]:
    """Run a flow's work in its own workspace: started or resumed, on clusters that may be lost, cleared once there is nothing to resume.

    Parameters
    ----------
    spec : Spec
        The SPEC of the run.
    purpose : str
        Name of the flow.
    work : Flow
        Called with the run and ``more``, on the task runner that the SPEC's engine section asks for.
    check : callable, optional
        Tells what is wrong before any work is done.

    Returns
    -------
    dict
        What the work returns.
    """
    with run_workspace(spec, Settings(), purpose) as space, open_stages(spec.engine.timeout) as stages:
        record, new = space.load_or_create_run()
        if not new:
            stages.note(f"resuming run {record['id']}: finished parts are kept")
        run = Run(spec=spec, workspace=space.uri, id=record["id"], created=record["created"], base=str(Path.cwd()))
        if check is not None:
            check(run)
        space.put_record(RUN_RECORD, record)
        probe(run, stages.warn)
        try:
            with count_failed_requests() as failed_requests:
                reply: dict[str, Any] = outlasting(
                    lambda runner: work.with_options(task_runner=runner)(run, *more), spec.engine, stages.warn
                )
            if failed_requests.warning is not None:
                stages.warn(failed_requests.warning)
        except (SourceError, SpecError, EstimationError):
            space.clear()  # the same command can't succeed: nothing to resume, and real rows to remove
            raise
        space.clear()
    return reply
