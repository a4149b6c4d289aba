"""A run: a flow's work in a workspace of its own, on a cluster that may be lost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect.runtime import deployment, flow_run

from flows.stages.announcements import announce
from flows.stages.engines import choose_engine
from flows.stages.turns import turn
from infra.cluster import outlasting, probe
from infra.faults import count_failed_requests
from infra.lineage import lineage
from infra.settings import Settings
from infra.stages import open_stages
from infra.workspace import RUN_RECORD, Run
from infra.workspaces import run_workspace
from tasks.contract.errors import EstimationError, GateFailed, SourceError, SpecError
from tasks.contract.spec import Purpose, Spec

#: What ``engine.dask`` is called on the screen.
_ENGINES = {"threads": "threads of this process", "local": "worker processes of this machine"}
#: Flows that publish versions of a name.
PUBLISHING: tuple[Purpose, ...] = ("release", "augment")


def carry_out(spec: Spec, purpose: Purpose, work: Any, *more: object, check: Callable[[Run], None] | None = None) -> dict[str, Any]:
    """Run a flow's work in its own workspace: started or resumed, on clusters that may be lost, cleared once there is nothing to resume.

    Parameters
    ----------
    spec : Spec
        The SPEC of the run.
    purpose : str
        Name of the flow. Of those that publish versions, one run of a name in a store works at a time; others wait; and
        Prefect is told of what was published.
    work : Flow
        Called with the run and ``more``, on the task runner that the SPEC's engine section asks for.
    check : callable, optional
        Tells what is wrong before any work is done.

    Returns
    -------
    dict
        What the work returns; the reply of the rejected run where a gate failed.
    """
    spec, reason = choose_engine(spec, purpose)
    publishes = purpose in PUBLISHING
    draws_anew = publishes and spec.release.seed_from == "run"
    settings = Settings()
    with contextlib.ExitStack() as stack:
        stages = stack.enter_context(open_stages(spec.engine.timeout))
        if publishes:
            stack.enter_context(turn(spec, settings, stages))
        conclude = stack.enter_context(lineage(spec, purpose, str(flow_run.id), stages.warn))
        space = stack.enter_context(run_workspace(spec, settings, purpose))
        record, new = space.load_or_create_run(_scheduled_run() if draws_anew else None)
        if not new:
            stages.note(f"resuming run {record['id']}: finished parts are kept")
        drawn = spec.drawn_anew(record["draw"] or record["id"]) if draws_anew else spec
        run = Run(spec=drawn, workspace=space.uri, id=record["id"], created=record["created"], base=str(Path.cwd()))
        if reason:
            stages.note(f"engine    {_ENGINES[spec.engine.dask]}: {reason}")
        if check is not None:
            check(run)
        space.put_record(RUN_RECORD, record)
        probe(run, stages.warn)
        with count_failed_requests() as failed_requests:
            try:
                reply: dict[str, Any] = outlasting(
                    lambda runner: work.with_options(task_runner=runner)(run, *more), spec.engine, stages.warn
                )
            except GateFailed as error:
                reply = dict(error.reply or {})
            except (SourceError, SpecError, EstimationError):
                space.clear()  # the same command can't succeed: nothing to resume, and real rows to remove
                raise
        if failed_requests.warning is not None:
            stages.warn(failed_requests.warning)
        if publishes:
            announce(reply)
        conclude(reply)
        # last, and the record at the very end: a run that is killed before is resumed, keeps its number, and tells once more
        space.clear(keep=(RUN_RECORD,))
        space.clear()
    return reply


def _scheduled_run() -> str | None:
    """Return the id of the flow run that a deployment started, which Prefect keeps over retries; None for a command."""
    return str(flow_run.id) if deployment.id else None
