"""Every HTML page of the product, rendered from made-up records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tasks.audit.page as audit
import tasks.augmentation.page as augmentation
import tasks.comparison.page as comparison
import tasks.publish.catalogue.pages as catalogue
import tasks.report.page as report
import tasks.simulation.page as simulation
from tasks.checks.metric import Metric
from tasks.checks.page import distil, numbers
from tasks.publish.catalogue.shelf import Rejected, Shelf
from tasks.publish.descriptions.codebook import as_html, codebook
from tests.augmented import manifest as augmented
from tests.comparing import record_of
from tests.publishing import OLD_MANIFEST, old_manifest
from tests.reporting import gate, manifest, pictures, schema
from tests.simulated import record as simulated

#: As Great Expectations renders a page, in short.
DATA_DOCS = """<html><head><script>alert(1)</script></head><body><div class="alert alert-secondary"><h5>Overview</h5></div>
<h6>Statistics</h6><table class="table table-sm"><thead><tr><th></th><th></th></tr></thead>
<tbody><tr><td>Evaluated</td><td>16</td></tr></tbody></table>
<h5>Expectations</h5><table class="table">
<thead><tr><th>Status</th><th>Expectation</th><th>Observed Value</th></tr></thead>
<tbody><tr><td><i class="fas text-success"></i></td><td>near_copies at least 0.01</td><td>1</td></tr>
<tr><td><i class="fas text-danger"></i></td><td>closeness_z at most 2.33</td><td>3</td></tr></tbody></table>
<ul><li><a href="x/gates.html">gates</a></li><li><hr></li></ul></body></html>"""


def released() -> bytes:
    """Render the report of a published release with every kind of remark."""
    values = manifest(schema(), warnings=["outcome has two values"])
    values["effects"]["truth"]["ate"] = 1.05
    values["gates"] = [gate("near_copies"), gate("fidelity", "inconclusive", "seen"), gate("min_arm", "off")]
    return report.render(values, pictures(schema()), "published")


def rejected() -> bytes:
    """Render the report of a rejected release."""
    gates = [gate("near_copies"), gate("fidelity", "failed", "ATE 3 against 1"), gate("min_arm", "refused")]
    return report.render(manifest(schema("binary"), version=None, gates=gates), pictures(schema("binary")), "rejected")


def finding(attack: str, statistic: str, verdict: str, value: float | None) -> dict[str, Any]:
    """Return one statistic of an audit."""
    ends = (None, None) if value is None else (value - 0.05, value + 0.05)
    return {
        "attack": attack, "statistic": statistic, "value": value, "ci_low": ends[0], "ci_high": ends[1], "baseline": 0.5, "control": 0.49,
        "verdict": verdict, "excess": None if value is None else value - 0.5, "excess_low": None if value is None else value - 0.55,
        "excess_high": None if value is None else value - 0.45, "tolerance": 0.05, "confidence": 0.975, "targets": 1, "controls": 400,
        "detail": "nearest released row",
    }  # fmt: skip


def audited() -> bytes:
    """Render an audit that found a leak, none, and could not tell."""
    attacks = [
        finding("membership", "advantage_of_distance", "leak found", 0.7),
        finding("membership", "canaries", "none found at this size", 0.5),
        finding("linkability", "joined", "inconclusive", None),
        finding("of_a_plugin", "score", "none found at this size", 1.4),
    ]
    record = {
        "created": "2026-11-05T07:08:09+00:00", "id": "x", "seed_rows": 1096, "attacks": attacks,
        "release": {"name": "trial <b>", "version": 2}, "rows": {"release": 2000, "seed": 500, "holdout": 470, "canaries": 1},
    }  # fmt: skip
    return audit.render(record)


def checked() -> bytes:
    """Distil a page of Data Docs."""
    metrics = [Metric("near_copies", 1.0), Metric("closeness_share", 0.7, low=0.6, high=0.8, detail="expected 0.7")]
    return distil(
        DATA_DOCS, "Gates of this release", "2026-11-05T07:08:09+00:00", {"gates.html": "expectations.html"}, more=numbers(metrics)
    )


def described() -> bytes:
    """Render a codebook with labels, and a count that is too small to be shown."""
    record = old_manifest(labels={"x": {"label": "Body mass", "unit": "kg"}, "site": {"values": {"north": "North"}}})
    return as_html(codebook(record), record)


def shelved() -> tuple[Shelf, ...]:
    """Return a store with three versions, a version that can't be read, and rejected runs."""
    later = {"effects": {**OLD_MANIFEST["effects"], "truth": {"ate": 0.2}}, "warnings": ("one",)}
    versions = (old_manifest(), old_manifest(version=2), old_manifest(version=3, **later))
    failed = (Rejected("20261127T000000Z-a", "2026-11-27T00:00:00+00:00", ("fidelity",), True), Rejected("other", "", (), False))
    return (Shelf("empty", (), (), failed[:1]), Shelf("trial", versions, ((4, "its manifest <is> damaged"),), failed))


def catalogued(path: str) -> bytes:
    """Render a page of a catalogue."""
    return catalogue.pages("s3://bucket/<prefix>", shelved())[path]


PAGES: Mapping[str, Callable[[], bytes]] = {
    "release": released,
    "rejected": rejected,
    "audit": audited,
    "compare": lambda: comparison.render(record_of(3)),
    "simulate": lambda: simulation.render(simulated()),
    "augment": lambda: augmentation.render(augmented(), "published"),
    "checks": checked,
    "codebook": described,
    "catalogue": lambda: catalogued("index.html"),
    "history": lambda: catalogued("trial/index.html"),
}
