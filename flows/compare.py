"""The comparison flow: every chosen synthesizer, hybrid and full, over several seeds, and what each does to the effect."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from prefect import flow

import tasks.checks.task as checks
import tasks.comparison.task as comparison
import tasks.covariates.task as covariates
import tasks.mechanisms.task as mechanisms
import tasks.publish.task as publishing
from flows.stages.copies import fit_beside, fit_mechanisms, part_sizes
from flows.stages.measures import measure
from flows.stages.precheck import check_sizes
from flows.stages.runs import carry_out
from flows.stages.source import read_source
from infra.stages import Stages
from infra.workspace import Run
from tasks.comparison.reading import lines, row_line
from tasks.comparison.row import Row, refused_row
from tasks.comparison.variants import Variant, seed_folder, seed_spec, seeds, variant_spec, variants
from tasks.contract.errors import EstimationError
from tasks.contract.registry import resolve
from tasks.contract.spec import Spec
from tasks.mechanisms.task import Copy, Learnt, Models
from tasks.publish.layout import comparison_key
from tasks.source.profile import profile_line
from tasks.source.task import Source


@flow(name="compare", flow_run_name="compare {spec.name}", log_prints=False)
def compare(spec: Spec) -> dict[str, Any]:
    """Compare synthesizers on one source; keep the comparison beside the releases.

    Parameters
    ----------
    spec : Spec
        ``compare`` says what takes part; all else is as for a release.

    Returns
    -------
    dict
        ``{"uri", "rows", "summary", "recommendation"}``; see docs/compare.md.

    Raises
    ------
    WaymintError
        SpecError, SourceError, StoreError, and EstimationError where no variant could be made.
    """
    return carry_out(spec, "compare", contest, check=_early_checks)


def _early_checks(run: Run) -> None:
    """Tell what is wrong with names, parameters and store before any work is done."""
    for candidate in run.spec.compare.synthesizers:
        resolve("synthesizer", candidate.name, candidate.params)
    resolve("learner", run.spec.mechanisms.learner, run.spec.mechanisms.params)
    publishing.check_store(run)


@flow(name="contest", flow_run_name="contest {run.spec.name}", validate_parameters=False)
def contest(run: Run) -> dict[str, Any]:
    """Do the work of one comparison on the run's task runner; returns the reply."""
    stages = Stages.current()
    source_read = read_source(run, stages, "compare")
    schema = source_read.described.table
    cautions = check_sizes(run.spec, schema.units, source_read.described.profile.arms, "compare")
    stages.note(profile_line(source_read.described.profile, schema))
    for warning in (*source_read.described.warnings, *cautions):
        stages.warn(warning)
    # Great Expectations takes 10 s to import: meanwhile the workers fit
    threading.Thread(target=checks.load_judge, daemon=True).start()
    count, rows = _row_counter(run, stages), []
    for seed in seeds(run.spec):
        rows += _of_seed(run, stages, source_read, seed, count)
    source = {"uri": run.spec.source.uri, "fingerprint": source_read.plan.fingerprint, "rows": schema.rows}
    record = comparison.answers(run, schema, source, seed_spec(run.spec, run.spec.seed).release.rows, rows)
    folder = comparison_key(run.spec.name, run.id, "compare.json").rpartition("/")[0]
    with stages.stage("keep comparison"):
        uri = comparison.keep(run.spec.store.uri, folder, record)
    return {"uri": uri, **{name: record[name] for name in ("rows", "summary", "recommendation")}}


def _row_counter(run: Run, stages: Stages) -> Callable[[Variant, Row], None]:
    """Show how many rows of the comparison are finished; return what is called with each."""
    done, total = 0, run.spec.compare.seeds * len(run.spec.compare.synthesizers) * len(run.spec.compare.modes)
    meter = stages.meter(f"Comparison {run.spec.name}, run {run.id}")

    def count(variant: Variant, row: Row) -> None:
        nonlocal done
        done += 1
        meter(done / total, str(variant))
        stages.note(f"{done} of {total}: {row_line(row)}")

    return count


def _of_seed(run: Run, stages: Stages, source_read: Source, seed: int, count: Callable[[Variant, Row], None]) -> list[Row]:
    """Make every variant of one seed; they share the mechanisms, which no synthesizer has a part in."""
    schema, rows = source_read.described.table, {}
    runs = {
        variant: run.model_copy(update={"spec": variant_spec(run.spec, variant), "folder": variant.folder})
        for variant in variants(run.spec, seed)
    }
    for variant, variant_run in runs.items():
        done = comparison.finished_row(variant_run)
        if done is not None:
            rows[variant] = done
            count(variant, done)
    missing = {variant: variant_run for variant, variant_run in runs.items() if variant not in rows}
    if missing:
        # synthesizers first: the slow ones train while the mechanisms are fitted
        fitting = {
            variant: stages.submit(covariates.fit, variant_run, schema, source_read.parts, 0) for variant, variant_run in missing.items()
        }
        shared = run.model_copy(update={"spec": seed_spec(run.spec, seed), "folder": seed_folder(seed)})
        learnt = fit_mechanisms(shared, stages, schema, source_read.parts, 0)
        for variant, variant_run in missing.items():
            try:
                row = _measured(variant_run, stages, source_read, variant, learnt, fitting[variant])
            except EstimationError as error:
                row = refused_row(variant, str(error))
            rows[variant] = comparison.keep_row(variant_run, row)
            count(variant, row)
    return [rows[variant] for variant in runs]


def _measured(run: Run, stages: Stages, source_read: Source, variant: Variant, learnt: Learnt, fitting: Any) -> Row:
    """Draw one variant's release and measure it as a release is measured, and a little more."""
    schema = source_read.described.table
    model = stages.wait(f"{variant}: fit synthesizer", [fitting], progress=lambda: covariates.progress(run, 0))[0]
    weighing = stages.submit(comparison.weigh_drawing, run, model, run.spec.release.rows)
    models = fit_beside(run, stages, schema, source_read.parts, Models(model, learnt.mechanisms, None), learnt)
    if variant.mode == "hybrid":
        weighted = (run, schema, learnt.fitted.table, model, learnt.mechanisms, learnt.anchored, models.clusters)
        models = models._replace(balance=stages.run(f"{variant}: calibrate covariates", mechanisms.calibrate, *weighted))
    sizes = part_sizes(run.spec.release.rows, run.spec.release.part_rows)
    drawing = [(run, schema, models, 0, part, rows) for part, rows in enumerate(sizes)]
    drawn_parts = stages.map(f"{variant}: draw", mechanisms.draw, drawing, sizes)
    copy = Copy(learnt.fitted, learnt.anchored, models, drawn_parts, learnt.targeting)
    measured, _ = measure(run, stages, source_read, [copy])
    sides = measured.sample
    telling = stages.submit(comparison.tell_apart, run, schema, sides.training, sides.holdout, sides.drawn)
    apart, drawn = stages.wait(f"{variant}: tell apart, weigh drawing", [telling, weighing])
    with stages.stage(f"{variant}: judge (Great Expectations)"):
        gates = checks.judge(run, measured, run.spec.main).gates
    effects = {"source": measured.source, "release": measured.release}
    return comparison.conclude(run, variant, effects, measured.fidelity, measured.people, apart, drawn, gates, measured.together)


def describe(reply: Mapping[str, Any]) -> list[str]:
    """Return the lines a user reads at the end of a comparison."""
    return lines(reply)
