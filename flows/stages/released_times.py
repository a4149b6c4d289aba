"""Estimates of a time to event on a published release, combined over its copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from flows.stages.inputs import PublishedRelease
from flows.stages.released_estimates import released_parts
from flows.stages.survival import survival_roles
from flows.stages.tables import strata_of
from tasks.contract.columns import clusters_of, decode
from tasks.contract.errors import SpecError
from tasks.contract.labels import Label, match_label
from tasks.contract.roles import TableSchema
from tasks.estimation.combine import Combined, combine
from tasks.estimation.survival.analysis import SurvivalAnalysis, analyse_survival
from tasks.estimation.survival.answer import survival_answer
from tasks.estimation.survival.estimates import SurvivalEstimate
from tasks.estimation.survival.table import read_survival
from tasks.publish.manifest import Manifest, plain


def holds_times(release: PublishedRelease) -> bool:
    """Return whether a release's outcome is a time to event."""
    return TableSchema.model_validate(release.manifest.table).survival is not None


def estimate_released_times(release: PublishedRelease, options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Estimate survival probabilities and restricted means on every copy of a release and combine.

    Parameters
    ----------
    release : PublishedRelease
        Whose outcome is a time to event; its manifest says horizon and times where ``options`` don't.
    options : dict
        As for :func:`flows.stages.survival.estimate_times`; where causes compete, the one of interest is the SPEC's unless ``cause`` names
        another.

    Raises
    ------
    SpecError
        If a cause is named that the release does not have.
    """
    if options.get("propensity") is not None:
        raise SpecError("--propensity must be left out for a survival outcome; got a value.", "It is estimated.")
    manifest, options = release.manifest, options | {"cause": _cause(release, options.get("cause"))}
    analyses = [_copy(release, copy, options) for copy in range(manifest.spec["release"]["copies"])]
    first = analyses[0]
    reply, lines = survival_answer(first, (), {"learner": options["learner"], "periods": len(first.curves[0].times)})
    combined = [
        _combined(manifest, options["cause"], list(each)) for each in zip(*(analysis.estimates for analysis in analyses), strict=True)
    ]
    reply["combined"] = [entry for entry in combined if entry is not None]
    count = f"{len(analyses)} {'copy' if len(analyses) == 1 else 'copies'}"
    lines += ["", f"valid for the source's population ({count}; the release's own intervals above leave out the source's sampling error):"]
    lines += [
        f"{entry['estimand']:<21}{_arms(entry):<14}{entry['time']:>8g}  {entry['estimator']:<7}{entry['estimate']:>10.4g}"
        f"{entry['se']:>10.3g}{entry['ci_low']:>11.4g} to {entry['ci_high']:<9.4g}"
        for entry in reply["combined"]
    ]
    return plain(reply), lines


def _cause(release: PublishedRelease, wanted: Label | None) -> str | None:
    """Return the label of the cause that is estimated; None where an event has one cause."""
    outcome = TableSchema.model_validate(release.manifest.table).survival
    causes = () if outcome is None else outcome.causes
    if wanted is None:
        return causes[0] if causes else None
    label = match_label(wanted, causes) if causes else None
    if label is None:
        listed = ", ".join(f"'{each}'" for each in causes) or "none: its events have one cause"
        raise SpecError(f"--cause must be one of the causes of the release ({listed}); got {wanted!r}.", "Leave it out.")
    return label


def _copy(release: PublishedRelease, copy: int, options: dict[str, Any]) -> SurvivalAnalysis:
    schema = TableSchema.model_validate(release.manifest.table)
    assert schema.survival is not None  # the caller looked
    assert schema.event is not None
    rows, weights, _, _ = (list(column) for column in zip(*released_parts(release, schema, copy, options | {"propensity": None})))
    frame = decode(schema, pa.concat_tables(rows).unify_dictionaries()).to_pandas()
    given = None if weights[0] is None else np.concatenate(weights)
    clusters = None if schema.cluster is None else np.concatenate([clusters_of(part) for part in rows])
    roles, strata = survival_roles(schema, schema.event.name, options["cause"]), strata_of(frame, rows, schema)
    table = read_survival(frame, roles, given, clusters, strata=strata)
    chosen = {key: options[key] for key in ("estimators", "seed", "learner", "folds", "repeats") if options.get(key) is not None}
    return analyse_survival(
        table, options.get("horizon") or schema.survival.horizon, options.get("times") or schema.survival.times, **chosen
    )


def _combined(manifest: Manifest, cause: str | None, copies: Sequence[SurvivalEstimate]) -> dict[str, Any] | None:
    """Combine one number over copies with the variance that the manifest gives for the source; None where it gives none."""
    first = copies[0]
    wanted = (first.estimand, first.arm, first.control, first.time)
    record = manifest.effects["source"]["survival"]
    if cause is not None:
        record = next(each for each in record["causes"] if each["cause"] == cause)
    source = record["estimates"]
    same = [each for each in source if (each["estimand"], each["arm"], each["control"], each["time"]) == wanted]
    if not same or first.estimator not in ("aipw", "tmle"):
        return None
    combined: Combined = combine(
        [each.estimate for each in copies],
        [each.se**2 for each in copies],
        first.n,
        int(manifest.source["rows"]),
        source_variance=same[0]["se"] ** 2,
        proper=len(copies) > 1,
        same_design=manifest.spec["mechanisms"]["treatment"] == "fitted",
        balanced=manifest.spec["release"].get("draws") == "balanced",
    )
    named = {"estimand": first.estimand, "estimator": first.estimator, "arm": first.arm, "control": first.control, "time": first.time}
    return {**named, **combined._asdict()}


def _arms(entry: dict[str, Any]) -> str:
    return entry["arm"] if entry["control"] is None else f"{entry['arm']} - {entry['control']}"
