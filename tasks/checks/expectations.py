"""Great Expectations judges the table of metrics: the only file that imports it.

The import takes seconds: import this module where a verdict is due, in the flow's process, never on a worker.
Only the metrics are judged, one row each; no row of the source or of the release comes near this module.
"""

from __future__ import annotations

import functools
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import great_expectations as gx
import pandas as pd
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider

from tasks.checks.metric import Metric, tabulate
from tasks.checks.page import distil, numbers
from tasks.checks.verdict import outcome, passed, verdict_of
from tasks.contract.errors import EstimationError
from tasks.contract.gates import Decision, Rule, gate_row
from tasks.contract.results import Gate

_ROW = "table.release.metric"
#: The part of a validation page that describes the run: its time, ids and fingerprints.
_RUN_BLOCK = "section-1-content-block-3"
#: Fields that differ from run to run and carry no information about the release.
_PASSING = frozenset(
    {"id", "batch_id", "run_id", "validation_id", "checkpoint_id", "validation_time", "batch_markers", "batch_spec", "batch_parameters"}
    | {"active_batch_definition", "exception_info"}
)


class Judgement(NamedTuple):
    """What Great Expectations said.

    Attributes
    ----------
    gates : tuple of Gate
        One for each metric that a gate hangs on, in the metrics' order.
    files : dict of str to bytes
        ``results.json``, ``docs/index.html`` and ``docs/expectations.html``.
    """

    gates: tuple[Gate, ...]
    files: dict[str, bytes]


class ReleaseMetric(TableMetricProvider):  # type: ignore[misc]  # the package is not typed
    """Reads one row of the table of metrics."""

    metric_name = _ROW
    value_keys = ("metric",)

    @metric_value(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]  # the package is not typed
    def _pandas(
        cls,  # noqa: N805 - metric_value makes a class method of it
        execution_engine: Any,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        **_: Any,
    ) -> dict[str, Any]:
        table, _domain, _accessor = execution_engine.get_compute_domain(metric_domain_kwargs, domain_type=MetricDomainTypes.TABLE)
        row = table.loc[table["metric"] == metric_value_kwargs["metric"]].iloc[0]
        values: dict[str, Any] = {name: None if math.isnan(row[name]) else float(row[name]) for name in ("value", "low", "high")}
        return values | {"refused": bool(row["refused"])}


class ExpectMetricToKeepItsRule(BatchExpectation):  # type: ignore[misc]  # the package is not typed
    """Expect a metric of the release to keep its rule; :func:`tasks.checks.verdict.outcome` says whether it does."""

    metric: str
    rule: Rule
    bound: float
    decision: Decision = "value"
    strict: bool = False

    metric_dependencies: ClassVar[tuple[str, ...]] = (_ROW,)
    domain_keys: ClassVar[tuple[str, ...]] = ("batch_id", "table")
    success_keys: ClassVar[tuple[str, ...]] = ("metric", "rule", "bound", "decision", "strict")

    def _validate(self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None) -> dict[str, Any]:  # noqa: ARG002 - the package calls it so
        row = metrics[_ROW]
        answer = outcome(Metric(name=self.metric, rule=self.rule, threshold=self.bound, decision=self.decision, **row))
        success = passed(answer, self.strict) is not False
        return {"success": success, "result": {"observed_value": row["value"], "details": {"outcome": answer}}}


@functools.cache
def _kind(name: str, title: str) -> type[ExpectMetricToKeepItsRule]:
    """Return the expectation's class of a gate, under the name that Data Docs and results show."""
    return type(name, (ExpectMetricToKeepItsRule,), {"__doc__": f"{title}.", "__module__": __name__})


def expectation(metric: Metric, strict: bool = False) -> BatchExpectation:
    """Return the expectation of one gate, named by the table of gates; that of any metric for a check that brings its own rule.

    Parameters
    ----------
    metric : Metric
        With a rule and a threshold.
    strict : bool
        Whether an inconclusive answer is no success.
    """
    row = gate_row(metric.name)
    kind = _kind(row.expectation, row.title) if row is not None and row.expectation else ExpectMetricToKeepItsRule
    words = f": {row.description}" if row is not None else ""
    text = f"{metric.name} {metric.rule} {metric.threshold:g}{words}."
    return kind(metric=metric.name, rule=metric.rule, bound=metric.threshold, decision=metric.decision, strict=strict, description=text)


def judge(metrics: Sequence[Metric], folder: Path, created: str, strict: bool = False) -> Judgement:
    """Let Great Expectations judge the metrics.

    Each expectation asks :func:`tasks.checks.verdict.outcome`. A gate that is switched off has no expectation and says so.

    Parameters
    ----------
    metrics : sequence of Metric
        With distinct names, at least one gate among them.
    folder : Path
        Existing folder for scratch files, left as it was.
    created : str
        When the release was made, as its manifest says; shown in the files.
    strict : bool
        Whether a gate that is inconclusive fails.

    Returns
    -------
    Judgement
        The same for the same metrics and ``created``, byte for byte.

    Raises
    ------
    EstimationError
        If there is nothing to judge, a name comes twice, or an expectation could not be evaluated.
    """
    names = [metric.name for metric in metrics]
    if len(set(names)) != len(names):
        raise EstimationError(f"metrics of the verdict must have distinct names; got {len(names) - len(set(names))} twice.")
    judged = [metric for metric in metrics if metric.rule is not None and metric.threshold is not None]
    gated = [metric for metric in metrics if metric.rule is not None]
    if not gated:
        raise EstimationError("metrics of the verdict must hold at least one gate; got none.")
    gates = tuple(verdict_of(metric, strict) for metric in gated)
    if not judged:  # all are off: an empty suite has no pages
        return Judgement(gates, {"results.json": _results(None, metrics, created)})
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        result = _run(judged, tabulate(metrics), Path(scratch), strict)
        _compare(result, gates)
        pages = _pages(Path(scratch), numbers(metrics, [gate.name for gate in gates if gate.outcome == "inconclusive"]), created)
    return Judgement(gates, {"results.json": _results(result, metrics, created), **pages})


def _compare(result: Any, gates: Sequence[Gate]) -> None:
    """Refuse to go on where Great Expectations received another number than the verdict: its table is not that of the metrics then."""
    answers = {item.expectation_config.kwargs["metric"]: item.result["details"]["outcome"] for item in result.results}
    differing = [gate.name for gate in gates if gate.outcome != answers.get(gate.name, "off")]
    if differing:
        raise EstimationError(f"verdicts of the release must be those of Great Expectations; got others for {', '.join(differing)}.")


def _run(judged: Sequence[Metric], table: pd.DataFrame, scratch: Path, strict: bool) -> Any:
    """Run the checkpoint and write its Data Docs below ``scratch``; return the validation result."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(scratch / "site")}
    context.add_data_docs_site(
        site_name="release",
        site_config={
            "class_name": "SiteBuilder",
            "store_backend": backend,
            "show_how_to_buttons": False,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        },
    )
    asset = context.data_sources.add_pandas("release").add_dataframe_asset("metrics")
    suite = context.suites.add(gx.ExpectationSuite(name="gates", expectations=[expectation(metric, strict) for metric in judged]))
    definition = gx.ValidationDefinition(name="gates", data=asset.add_batch_definition_whole_dataframe("all"), suite=suite)
    checkpoint = gx.Checkpoint(
        name="gates",
        validation_definitions=[context.validation_definitions.add(definition)],
        actions=[gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["release"])],
        # the table holds aggregates only, so the observed value may be shown
        result_format="SUMMARY",
    )
    outcome = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": table})
    result = next(iter(outcome.run_results.values()))
    for item in result.results:
        fault = item.exception_info or {}
        if fault.get("raised_exception") or any(isinstance(part, dict) and part.get("raised_exception") for part in fault.values()):
            name = item.expectation_config.kwargs.get("metric")
            raise EstimationError(f"gate '{name}' of the release must be judged; got an error from Great Expectations.")
    if len(result.results) != len(judged):
        raise EstimationError(f"gates of the release must all be judged; got {len(result.results)} verdicts for {len(judged)} gates.")
    return result


def _pages(scratch: Path, table: str, created: str) -> dict[str, bytes]:
    site = scratch / "site"
    validation = next((site / "validations").rglob("*.html"))
    index = validation.read_text("utf-8")
    suite = (site / "expectations" / "gates.html").read_text("utf-8")
    here, there = {"gates.html": "expectations.html"}, {"index.html": "index.html"}
    return {
        "docs/index.html": distil(index, "Gates of this release", created, here, _RUN_BLOCK, table),
        "docs/expectations.html": distil(
            suite, "What the gates expect", created, there, more='<p><a href="index.html">Gates of this release</a></p>'
        ),
    }


def _results(result: Any, metrics: Sequence[Metric], created: str) -> bytes:
    body = {} if result is None else _lasting(result.to_json_dict())
    body["created"] = created
    body["metrics"] = [metric._asdict() for metric in metrics]
    return (json.dumps(body, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _lasting(value: Any) -> Any:
    """Return a result without what differs from run to run."""
    if isinstance(value, dict):
        return {key: _lasting(part) for key, part in value.items() if key not in _PASSING}
    return [_lasting(part) for part in value] if isinstance(value, list) else value
