"""OpenLineage events of a run: START, then COMPLETE, FAIL or ABORT, with what it read and what it published.

Only where the environment configures a transport (``OPENLINEAGE_URL``, ``OPENLINEAGE_CONFIG`` or ``OPENLINEAGE__TRANSPORT__...``),
and with the extra ``waymint[lineage]``. A catalogue that is down never fails a run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from infra.provenance import package_versions
from infra.settings import lineage_configured
from infra.store import absolute_uri
from tasks.contract.errors import WaymintError
from tasks.contract.spec import Purpose, Spec

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import RunFacet

NAMESPACE = "waymint"
PRODUCER = "https://pypi.org/project/waymint"
#: What a transport raises where its file or its server fails, and what a wrong configuration raises.
FAILURES = (OSError, RuntimeError, ValueError, KeyError, TypeError, ImportError)
_OUTCOMES = {"pass": "pass", "fail": "fail", "inconclusive": "fail", "off": "skip"}


@contextlib.contextmanager
def lineage(spec: Spec, purpose: Purpose, run: str, warn: Callable[[str], None]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Tell a catalogue of a run, for the length of the block.

    Parameters
    ----------
    spec : Spec
        The SPEC of the run.
    purpose : str
        Name of the flow.
    run : str
        UUID of the flow run; the lineage run has the same.
    warn : callable
        Called with a line of text where no event could be sent.

    Yields
    ------
    callable
        To be called with the reply of the run: COMPLETE where it published or skipped, FAIL where a gate failed.
    """
    teller = _open(spec, purpose, run, warn) if lineage_configured() else None
    if teller is None:
        yield lambda _reply: None
        return
    teller.tell("START")
    with contextlib.ExitStack() as stack:
        stack.push(teller.end)
        yield teller.conclude


def _open(spec: Spec, purpose: Purpose, run: str, warn: Callable[[str], None]) -> _Teller | None:
    if importlib.util.find_spec("openlineage") is None:
        warn("no lineage is sent: install waymint[lineage], or unset the variables OPENLINEAGE_*")
        return None
    from openlineage.client import OpenLineageClient

    try:
        return _Teller(OpenLineageClient(), spec, purpose, run, warn)
    except FAILURES as error:
        warn(f"no lineage is sent: its configuration can't be used ({type(error).__name__})")
        return None


class _Teller:
    """Sends the events of one run."""

    def __init__(self, client: OpenLineageClient, spec: Spec, purpose: Purpose, run: str, warn: Callable[[str], None]) -> None:
        self._client, self._spec, self._purpose, self._run, self._warn = client, spec, purpose, run, warn

    def conclude(self, reply: Mapping[str, Any]) -> None:
        """Tell how a run that ended by itself has ended."""
        manifest = reply.get("manifest")
        if reply.get("status") == "rejected":
            failed = [gate["name"] for gate in reply["manifest"]["gates"] if gate["outcome"] == "fail"]
            self.tell("FAIL", manifest, error=f"gates failed: {', '.join(failed)}")
        else:
            self.tell("COMPLETE", manifest, published=reply.get("status") == "published")

    def end(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None) -> None:
        """Tell that a run was ended by an error. Only messages of our own errors are quoted: others may hold a cell."""
        if error is not None:
            text = error.message if isinstance(error, WaymintError) else type(error).__name__
            self.tell("FAIL" if isinstance(error, Exception) else "ABORT", error=text)

    def tell(self, kind: str, manifest: Mapping[str, Any] | None = None, *, error: str = "", published: bool = False) -> None:
        """Send one event."""
        from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
        from openlineage.client.facet_v2 import job_type_job

        about = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="WAYMINT", jobType="RELEASE")
        event = RunEvent(
            eventType=RunState[kind],
            eventTime=datetime.now(UTC).isoformat(),
            run=Run(str(uuid.UUID(self._run)), facets=_run_facets(manifest, error)),
            job=Job(NAMESPACE, f"{self._purpose}.{self._spec.name}", facets={"jobType": about}),
            producer=PRODUCER,
            inputs=[self._source(manifest)],
            outputs=[self._release(manifest)] if manifest is not None and published else [],
        )
        try:
            self._client.emit(event)
        except FAILURES as fault:
            self._warn(f"no lineage event {kind} was sent ({type(fault).__name__})")

    def _source(self, manifest: Mapping[str, Any] | None) -> InputDataset:
        """Return the source: its place; once it was read its columns, rows, missing cells, and its fingerprint as version."""
        from openlineage.client.event_v2 import InputDataset
        from openlineage.client.facet_v2 import data_quality_metrics_input_dataset as quality
        from openlineage.client.facet_v2 import dataset_version_dataset as version

        place = _place(self._spec.source.uri)
        if manifest is None:
            return InputDataset(*place)
        source, columns = manifest["source"], manifest["schema"]["columns"]
        missing = {column["name"]: quality.ColumnMetrics(nullCount=column.get("missing")) for column in columns}
        metrics = quality.DataQualityMetricsInputDatasetFacet(columnMetrics=missing, rowCount=source["rows"])
        facets = {"version": version.DatasetVersionDatasetFacet(datasetVersion=source["fingerprint"]), "schema": _schema(columns)}
        return InputDataset(*place, inputFacets={"dataQualityMetrics": metrics}, facets=facets)

    def _release(self, manifest: Mapping[str, Any]) -> OutputDataset:
        """Return the release: its place without the version, which is a facet; columns, rows and bytes."""
        from openlineage.client.event_v2 import OutputDataset
        from openlineage.client.facet_v2 import data_quality_metrics_dataset as quality
        from openlineage.client.facet_v2 import dataset_version_dataset as version
        from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

        parts = [file for file in manifest["files"] if file["path"].startswith("data/")]
        rows, size = sum(file["rows"] or 0 for file in parts), sum(file["bytes"] for file in parts)
        written = statistics.OutputStatisticsOutputDatasetFacet(rowCount=rows, size=size, fileCount=len(parts))
        facets = {
            "version": version.DatasetVersionDatasetFacet(datasetVersion=str(manifest["version"])),
            "schema": _schema(manifest["schema"]["columns"]),
            "dataQualityMetrics": quality.DataQualityMetricsDatasetFacet(columnMetrics={}, rowCount=rows, bytes=size, fileCount=len(parts)),
        }
        place = _place(f"{self._spec.store.uri.rstrip('/')}/{self._spec.name}")
        return OutputDataset(*place, outputFacets={"outputStatistics": written}, facets=facets)


def _run_facets(manifest: Mapping[str, Any] | None, error: str) -> dict[str, RunFacet]:
    from openlineage.client.facet_v2 import error_message_run, processing_engine_run, test_run

    facets: dict[str, RunFacet] = {
        "processing_engine": processing_engine_run.ProcessingEngineRunFacet(version=package_versions()["prefect"], name="Prefect")
    }
    if error:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message=error, programmingLanguage="PYTHON")
    if manifest is not None:
        gates = [
            test_run.TestExecution(
                name=gate["name"],
                status=_OUTCOMES[gate["outcome"]],
                severity="warn" if gate["status"] == "inconclusive" else "error",
                expected="" if gate["threshold"] is None else f"{gate['rule']} {gate['threshold']}",
                actual="" if gate["value"] is None else str(gate["value"]),
            )
            for gate in manifest["gates"]
        ]
        facets["test"] = test_run.TestRunFacet(tests=gates)
    return facets


def _schema(columns: Any) -> Any:
    from openlineage.client.facet_v2 import schema_dataset

    fields = [schema_dataset.SchemaDatasetFacetFields(name=column["name"], type=column["kind"]) for column in columns]
    return schema_dataset.SchemaDatasetFacet(fields=fields)


def _place(uri: str) -> tuple[str, str]:
    """Return namespace and name of a table or a folder, as OpenLineage names datasets."""
    if uri.startswith("builtin:"):
        return "waymint", uri.removeprefix("builtin:")
    scheme, mark, path = absolute_uri(uri).partition("://")
    if not mark or scheme == "file":
        return "file", path or scheme
    bucket, _, key = path.partition("/")
    return f"{scheme}://{bucket}", key
