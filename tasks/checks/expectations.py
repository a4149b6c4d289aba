"""Great Expectations judges the table of metrics: the only file that imports it.

The import takes seconds: import this module where a verdict is due, in the flow's process, never on a worker.
Only the metrics are judged, one row each; no row of the source or of the release comes near this module.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
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
from tasks.contract.errors import EstimationError
from tasks.contract.results import Gate, Outcome

_ROW = "table.release.metric"
#: The part of a validation page that tells of the run: its time, ids and fingerprints.
_RUN_BLOCK = "section-1-content-block-3"
#: What differs from run to run and says nothing about the release.
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
        found: dict[str, Any] = {name: None if math.isnan(row[name]) else float(row[name]) for name in ("value", "low", "high")}
        return found | {"refused": bool(row["refused"])}


class ExpectMetricToBeAtMost(BatchExpectation):  # type: ignore[misc]  # the package is not typed
    """Expect a metric of the release to be at most its bound; a refused metric never is."""

    metric: str
    bound: float
    strict: bool = False

    metric_dependencies: ClassVar[tuple[str, ...]] = (_ROW,)
    domain_keys: ClassVar[tuple[str, ...]] = ("batch_id", "table")
    success_keys: ClassVar[tuple[str, ...]] = ("metric", "bound", "strict")

    @staticmethod
    def _answer(row: Mapping[str, Any], bound: float) -> Outcome:
        return "pass" if row["value"] is not None and row["value"] <= bound else "fail"

    def _validate(self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None) -> dict[str, Any]:  # noqa: ARG002 - the package calls it so
        row = metrics[_ROW]
        outcome = "fail" if row["refused"] else self._answer(row, self.bound)
        success = outcome == "pass" or (outcome == "inconclusive" and not self.strict)
        return {"success": success, "result": {"observed_value": row["value"], "details": {"outcome": outcome}}}


class ExpectMetricToBeCertifiedAtMost(ExpectMetricToBeAtMost):
    """Expect all the interval of a metric to be at most its bound; where only some of it is, the data can't tell."""

    @staticmethod
    def _answer(row: Mapping[str, Any], bound: float) -> Outcome:
        if row["low"] is not None and row["low"] > bound:
            return "fail"
        return "pass" if row["high"] is not None and row["high"] <= bound else "inconclusive"


class ExpectMetricToBeAtLeast(ExpectMetricToBeAtMost):
    """Expect a metric of the release to be at least its bound; a refused metric never is."""

    @staticmethod
    def _answer(row: Mapping[str, Any], bound: float) -> Outcome:
        return "pass" if row["value"] is not None and row["value"] >= bound else "fail"


class ExpectMetricToBeEqualTo(ExpectMetricToBeAtMost):
    """Expect a metric of the release to be equal to its bound; a refused metric never is."""

    @staticmethod
    def _answer(row: Mapping[str, Any], bound: float) -> Outcome:
        return "pass" if row["value"] == bound else "fail"


class ExpectNearCopyExcessToBeAtMost(ExpectMetricToBeAtLeast):
    """Expect no more near copies of seed rows than chance explains at this p-value."""


class ExpectExactCopyExcessToBeAtMost(ExpectMetricToBeAtLeast):
    """Expect no more exact copies of seed rows than the support explains at this p-value."""


class ExpectClosestRecordShareToBeAtMost(ExpectMetricToBeAtMost):
    """Expect the share of rows closest to a seed row to lie at most this many standard deviations above its null."""


class ExpectDistanceRatioToBeAtLeast(ExpectMetricToBeAtLeast):
    """Expect the 5th percentile of distances to the seed, over that of holdout rows, not to be below the bound beyond chance."""

    @staticmethod
    def _answer(row: Mapping[str, Any], bound: float) -> Outcome:
        if row["value"] is None:
            return "fail"
        if row["value"] >= bound:
            return "pass"
        # below the margin is a failure only where the upper limit (none: unbounded) is below 1 too; else it may be chance
        return "inconclusive" if row["high"] is None or row["high"] >= 1 else "fail"


class ExpectSeedExcessToBeCertifiedAtMost(ExpectMetricToBeCertifiedAtMost):
    """Expect the share of rows that lean to the seed beyond the null to be surely at most the bound."""


class ExpectColumnGroupsToBeNoCloserToSeed(ExpectMetricToBeAtLeast):
    """Expect no group of columns in which rows are closer to the seed than relabelling explains at this p-value."""


class ExpectHoldoutToHaveBudget(ExpectMetricToBeAtLeast):
    """Expect the holdout to have been failed less often than it can bear."""


class ExpectHoldoutToAgreeWithSeed(ExpectMetricToBeAtMost):
    """Expect Thresholdout to see no difference between seed and holdout above this many standard deviations."""


class ExpectAttackToBeCertifiedAtMost(ExpectMetricToBeCertifiedAtMost):
    """Expect an attack on the release to surely gain at most this; inconclusive where only the end of its interval is above."""


class ExpectOverlapShareToBeAtMost(ExpectMetricToBeAtMost):
    """Expect the share of rows without overlap to be at most the bound."""


class ExpectEffectiveSampleShareToBeAtLeast(ExpectMetricToBeAtLeast):
    """Expect the effective share of the weaker arm to be at least the bound."""


class ExpectArmRowsToBeAtLeast(ExpectMetricToBeAtLeast):
    """Expect the smaller arm to have at least this many rows."""


class ExpectEffectGapToBeAtMost(ExpectMetricToBeAtMost):
    """Expect the effect in release and source to differ by at most this many combined standard errors."""


class ExpectCalibrationRelaxationToBeAtMost(ExpectMetricToBeAtMost):
    """Expect the drawn covariates to be balanced to the source without giving up more than this share of the way."""


class ExpectCellsOutsideRangeToBeAtMost(ExpectMetricToBeAtMost):
    """Expect no more than this many released cells outside the source's levels and safe ranges."""


class ExpectColumnsToMatchSource(ExpectMetricToBeEqualTo):
    """Expect names, order and types of the columns to be those of the source."""


_OWN: Mapping[str, type[ExpectMetricToBeAtMost]] = {
    "near_copies": ExpectNearCopyExcessToBeAtMost,
    "exact_copies": ExpectExactCopyExcessToBeAtMost,
    "closeness_z": ExpectClosestRecordShareToBeAtMost,
    "dcr_margin": ExpectDistanceRatioToBeAtLeast,
    "closeness_excess": ExpectSeedExcessToBeCertifiedAtMost,
    "closeness_groups": ExpectColumnGroupsToBeNoCloserToSeed,
    "holdout_budget": ExpectHoldoutToHaveBudget,
    "holdout_query": ExpectHoldoutToAgreeWithSeed,
    "membership_tpr": ExpectAttackToBeCertifiedAtMost,
    "membership_auc": ExpectAttackToBeCertifiedAtMost,
    "attribute_advantage": ExpectAttackToBeCertifiedAtMost,
    "linkability_advantage": ExpectAttackToBeCertifiedAtMost,
    "singling_out_advantage": ExpectAttackToBeCertifiedAtMost,
    "source_overlap": ExpectOverlapShareToBeAtMost,
    "release_overlap": ExpectOverlapShareToBeAtMost,
    "source_ess": ExpectEffectiveSampleShareToBeAtLeast,
    "min_arm": ExpectArmRowsToBeAtLeast,
    "fidelity": ExpectEffectGapToBeAtMost,
    "calibration": ExpectCalibrationRelaxationToBeAtMost,
    "levels": ExpectCellsOutsideRangeToBeAtMost,
    "columns": ExpectColumnsToMatchSource,
}
_STATUS: Mapping[Outcome, str] = {"pass": "passed", "fail": "failed", "inconclusive": "inconclusive", "off": "off"}
_BY_RULE: Mapping[str, type[ExpectMetricToBeAtMost]] = {
    "at most": ExpectMetricToBeAtMost,
    "at least": ExpectMetricToBeAtLeast,
    "equal to": ExpectMetricToBeEqualTo,
}


def expectation(metric: Metric, strict: bool = False) -> BatchExpectation:
    """Return the expectation of one gate: the one of its name, or of its rule for a check from elsewhere.

    Parameters
    ----------
    metric : Metric
        With a rule and a threshold.
    strict : bool
        Whether an inconclusive answer is no success.
    """
    kind = _OWN.get(metric.name) or (ExpectMetricToBeCertifiedAtMost if metric.certified else _BY_RULE[str(metric.rule)])
    words = (kind.__doc__ or "").split(";")[0].rstrip(".")
    text = f"{metric.name} {metric.rule} {metric.threshold:g}: {words}."
    return kind(metric=metric.name, bound=metric.threshold, strict=strict, description=text)


def judge(metrics: Sequence[Metric], folder: Path, created: str, strict: bool = False) -> Judgement:
    """Let Great Expectations judge the metrics.

    The verdict of each gate is the success of its expectation. A gate that is switched off has none and says so.

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
    found = [metric.name for metric in metrics]
    if len(set(found)) != len(found):
        raise EstimationError(f"metrics of the verdict must have distinct names; got {len(found) - len(set(found))} twice.")
    judged = [metric for metric in metrics if metric.rule is not None and metric.threshold is not None]
    gated = [metric for metric in metrics if metric.rule is not None]
    if not gated:
        raise EstimationError("metrics of the verdict must hold at least one gate; got none.")
    if not judged:  # all are off: an empty suite has no pages
        return Judgement(tuple(_gate(metric, None, "off") for metric in gated), {"results.json": _results(None, metrics, created)})
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        result = _run(judged, tabulate(metrics), Path(scratch), strict)
        said = {
            item.expectation_config.kwargs["metric"]: (bool(item.success), item.result["details"]["outcome"]) for item in result.results
        }
        unsure = [name for name, (_, outcome) in said.items() if outcome == "inconclusive"]
        pages = _pages(Path(scratch), numbers(metrics, unsure), created)
    gates = tuple(_gate(metric, *said.get(metric.name, (None, "off"))) for metric in gated)
    return Judgement(gates, {"results.json": _results(result, metrics, created), **pages})


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


def _gate(metric: Metric, success: bool | None, outcome: Outcome) -> Gate:
    status = "refused" if metric.refused and success is not None else _STATUS[outcome]
    return Gate.model_validate(
        {
            "name": metric.name,
            "value": None if metric.refused else metric.value,
            "threshold": metric.threshold,
            "rule": metric.rule,
            # what the data can't tell has neither passed nor failed, unless it is asked to fail
            "passed": None if outcome == "inconclusive" and success else success,
            "status": status,
            "outcome": outcome,
            "detail": metric.detail,
            "low": metric.low,
            "high": metric.high,
        }
    )


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
