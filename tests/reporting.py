"""A table of every kind of column under hostile names, and what a report is rendered from."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.contract.columns import canonical_type
from tasks.contract.roles import Column, TableSchema, pack_field
from tasks.report.distance_plot import distance_histograms
from tasks.report.marginals import Marginals
from tasks.report.overlap_plot import arm_shares
from tasks.report.tallies import Tallies, Tally, drawn

HOSTILE = "<script>alert('x')</script> $a^2$ \"q\" & 身長"
EXTREME = 98.7654321
DAY = 86_400e6


def column(name: str, kind: str, place: int, **more: Any) -> Column:
    """Return a covariate."""
    return Column(id=f"w{place}", name=name, role="covariate", kind=kind, field=pack_field(pa.field(name, pa.float64())), **more)


def schema(outcome_kind: str = "continuous") -> TableSchema:
    """Return a schema with numbers, whole numbers, dates, levels, a flag and a constant."""
    treatment = Column(id="a", name="arm <b>", role="treatment", kind="categorical", field=pack_field(pa.field("arm <b>", pa.string())))
    kind = {"binary": "boolean", "count": "integer", "continuous": "continuous"}[outcome_kind]
    low, high = {"binary": (0.0, 1.0), "count": (0.0, 6.0), "continuous": (-1.9, 2.1)}[outcome_kind]
    outcome = Column(
        id="y", name="score & more", role="outcome", kind=kind, field=pack_field(pa.field("y", pa.float64())), low=low, high=high
    )
    covariates = (
        column(HOSTILE, "continuous", 0, low=2.3, high=61.7, missing=9),
        column("age", "integer", 1, low=18.0, high=91.0),
        column("children", "integer", 2, low=0.0, high=7.0, missing=2),
        column("visit", "datetime", 3, low=16_500 * DAY, high=19_400 * DAY),
        column(
            "country", "categorical", 4, levels=tuple(sorted(["<i>x</i>", "Österreich", *(f"level {n}" for n in range(12))])), missing=1
        ),
        column("smokes", "boolean", 5, levels=("false", "true")),
        column("always", "continuous", 6, low=1.0, high=1.0, constant=True),
    )
    return TableSchema(
        columns=(*covariates, treatment, outcome), treated="<u>drug</u>", control="none", outcome_kind=outcome_kind, rows=1000
    )


def table(like: TableSchema, rows: int, seed: int) -> pa.Table:
    """Draw canonical rows; one of them holds the extreme of the first column."""
    rng = np.random.default_rng(seed)
    arrays, names = [], []
    for each in (each for each in like.columns if not each.constant):
        if each.role == "treatment":
            values: Any = rng.integers(0, 2, rows)
        elif each.role == "outcome":
            drawn = {"binary": rng.integers(0, 2, rows), "count": rng.poisson(1.2, rows), "continuous": rng.normal(0, 1, rows)}
            values = drawn[like.outcome_kind].astype(float)
        elif each.is_category:
            values = np.array(each.levels, dtype=object)[np.minimum(rng.geometric(0.35, rows) - 1, len(each.levels) - 1)]
        else:
            values = rng.normal((each.low + each.high) / 2, (each.high - each.low) / 4, rows)
            values = np.rint(values) if each.kind == "integer" else values
        missing = rng.random(rows) < each.missing / like.rows
        if each.id == "w0" and rows:
            values[0], missing[0] = EXTREME, False
        array = pa.array(values, mask=missing if each.role == "covariate" else None)
        arrays.append(array.dictionary_encode().cast(canonical_type(each)) if each.is_category and each.role == "covariate" else array)
        names.append(each.id)
    return pa.table([array.cast(pa.int8()) if name == "a" else array for name, array in zip(names, arrays)], names=names)


def counts(like: TableSchema, rows: pa.Table) -> dict[str, Any]:
    """Count a table's marginals."""
    reduction = Marginals(like)
    return dict(reduction.visit(reduction.start(), rows))


def tally(like: TableSchema, rows: pa.Table) -> Tally:
    """Tally a table."""
    reduction = Tallies(like)
    return reduction.visit(reduction.start(), rows)


def overlap(rows: int, seed: int) -> dict[str, Any]:
    """Return an overlap record as the estimation step writes it."""
    rng = np.random.default_rng(seed)
    cells = {f"histogram{arm}": np.histogram(rng.beta(2, 3, rows // 2), 20, (0, 1))[0].tolist() for arm in (0, 1)}
    hidden = {name: [None if 0 < cell < 5 else cell for cell in row] for name, row in cells.items()}
    more = {"arm0": rows // 2, "arm1": rows // 2, "ess0": 0.9, "ess1": 0.8, "outside": 0.01}
    return {"n": rows, "bound": 0.02, **hidden, **more, "calibration": {"slope": None, "ci_low": None, "ci_high": None}}


def estimate(estimand: str, estimator: str, point: float, se: float, n: int) -> dict[str, Any]:
    """Return one estimate as the manifest holds it."""
    ends = {"ci_low": point - 1.96 * se, "ci_high": point + 1.96 * se}
    return {"estimand": estimand, "estimator": estimator, "estimate": point, "se": se, **ends, "n": n, "ess": 0.8 * n, "clipped": 0.0}


def section(point: float, se: float, n: int) -> dict[str, Any]:
    """Return the estimates of one table."""
    names = [("ate", "or"), ("ate", "ipw"), ("ate", "aipw"), ("ate", "tmle"), ("att", "aipw"), (f"gate[{HOSTILE}=<b>]", "aipw")]
    every = [estimate(estimand, name, point + place / 50, se, n) for place, (estimand, name) in enumerate(names)]
    return {"ate": every[3], "all": every}


def gate(name: str, status: str = "passed", detail: str = "") -> dict[str, Any]:
    """Return one gate."""
    passed = {"passed": True, "off": None}.get(status, False)
    value = None if status in ("off", "refused") else 0.5
    ends = {"low": None, "high": None, "detail": detail}
    return {
        "name": name,
        "value": value,
        "threshold": None if status == "off" else 0.4,
        "rule": "at least",
        "passed": passed,
        "status": status,
        **ends,
    }


def manifest(like: TableSchema, **changes: Any) -> dict[str, Any]:
    """Return a manifest's values with hostile names in them."""
    term = {"value": 0.1, "se": 0.2, "ci_low": -0.3, "ci_high": 0.5}
    unknown = {"value": None, "se": 0.3, "ci_low": None, "ci_high": None}
    names = ("contrast", "covariate_law", "monte_carlo", "gap")
    values = {
        "name": "trial",
        "version": 3,
        "created": "2026-11-05T07:08:09+00:00",
        "run": "20261105T070809Z-abc",
        "spec": {
            "roles": {"treatment": "arm <b>", "outcome": "score & more"},
            "release": {"rows": 2000, "copies": 1, "mode": "hybrid", "draws": "iid"},
            "covariates": {"synthesizer": "forest"},
            "mechanisms": {"treatment": "randomized", "probability": 0.5, "tilt": 1.0, "learner": "stack", "folds": 5},
        },
        "source": {"uri": "/data/<img src=x>.csv", "rows": 1000, "fingerprint": "f" * 64, "profile": {"dropped": 0}},
        "code": {"version": "0.1.0", "commit": None},
        "packages": {"numpy": "2.4.6"},
        "seed": 1,
        "schema": like.model_dump(mode="json"),
        "effects": {"source": section(1.2, 0.1, 1000), "release": section(1.25, 0.05, 2000), "truth": {"ate": 1.21, "mc_se": 0.002}},
        "fidelity": {
            "ledger": [{"name": "sampling", **unknown}, *({"name": name, **term} for name in names)],
            "tstr": [{"metric": "rmse", "tstr": term, "trtr": term, "difference": term}],
        },
        "overlap": {"source": overlap(1000, 1), "release": overlap(2000, 2)},
        "gates": [gate("near_copies"), gate("fidelity", detail=f"seen in {HOSTILE}"), gate("of_a_plugin")],
        "warnings": [],
    }
    return {**values, **changes}


def pictures(like: TableSchema, rows: int = 1000, seed: int = 5) -> dict[str, Any]:
    """Return what the report draws."""
    rng = np.random.default_rng(seed)
    near = {
        name: rng.gamma(4, 0.3, size)
        for name, size in (("release to training rows", 2000), ("release to holdout", 2000), ("holdout to training rows", 300))
    }
    return {
        **drawn(like, tally(like, table(like, rows, seed)), tally(like, table(like, 2000, seed + 1))),
        "overlap": {"source": arm_shares(overlap(1000, 1)), "release": arm_shares(overlap(2000, 2))},
        "distances": distance_histograms(near),
    }


class Page(HTMLParser):
    """A parsed page: its tags, attributes and visible words."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        """Note words, styles left out."""
        if self.tags[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        """All visible words."""
        return " ".join(" ".join(self.words).split())
