"""The HTML report: one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.contract.gates import gate_rows as catalogue
from tasks.pages.numbers import decimals_of, fixed, interval, number, percent
from tasks.pages.svg import clipped
from tasks.pages.template import fill
from tasks.report.associations import pair_scatter, pair_table
from tasks.report.balance_plot import BALANCED, MOST_ROWS, balance_plot
from tasks.report.cate import person_panel
from tasks.report.distance_plot import distance_plot
from tasks.report.effects import copies_table, effect_table, truth_rows
from tasks.report.features import MOST_COLUMNS
from tasks.report.glossary import DESIGNS, KINDS, LEARNERS, MODES
from tasks.report.layers import layer_panel
from tasks.report.ledger import ledger_table, targeting_sentence, transfer_table
from tasks.report.marginal_plot import marginal_plot
from tasks.report.missing import missing_plot
from tasks.report.outcomes import outcomes_panel
from tasks.report.overlap_plot import overlap_plot
from tasks.report.survival import survival_panel
from tasks.report.training import training_panel
from tasks.report.uses import population_remark, remarks, uses
from tasks.report.verdict import gap_sentence, gate_rows, summary, verdict

MOST_MARGINALS = 60
_ORDER = {"treatment": 0, "outcome": 1}
#: What the page's contents name, in its order.
_SECTIONS = {
    "effect": "Effect",
    "outcomes": "Outcomes",
    "gates": "Gates",
    "ledger": "Error by step",
    "survival": "Survival",
    "people": "Single effects",
    "balance": "Balance",
    "overlap": "Overlap",
    "marginals": "Columns",
    "pairs": "Pairs",
    "arms": "Outcome by arm",
    "missing": "Missing values",
    "distances": "Closeness",
    "audits": "Audits",
    "provenance": "Provenance",
}


def render(manifest: Mapping[str, Any], pictures: Mapping[str, Any], status: str) -> bytes:
    """Render the report.

    Parameters
    ----------
    manifest : mapping
        The manifest, as JSON values; ``version`` is None for a rejected release.
    pictures : mapping
        What :func:`tasks.report.tallies.drawn` returns; ``overlap`` ({"source", "release"}, each of
        :func:`tasks.report.overlap_plot.arm_shares`), ``distances`` (of :func:`tasks.report.distance_plot.distance_histograms`, or None).
        May hold ``training``: the curve of a synthesizer that is trained by epochs; and ``layers``: the card of an adapted language model.
    status : str
        ``"published"`` or ``"rejected"``.

    Returns
    -------
    bytes
        UTF-8 HTML without any reference to another file or host; the same bytes for the same arguments.
    """
    panels: dict[str, Any] = {
        "survival": survival_panel(manifest["effects"], _horizon(manifest), clipped(manifest["spec"]["roles"]["outcome"], 30)),
        "outcomes": outcomes_panel(manifest),
        "people": person_panel(manifest["fidelity"]),
        "ledger": ledger_table(manifest["fidelity"], "error of the effect, in units of the effect"),
        "balance": _balance(pictures["balance"]),
        "pairs": _pairs(pictures["associations"], manifest["schema"]["columns"]),
        "distances": distance_plot(**pictures["distances"]) if pictures["distances"] else None,
    }
    if status != "published":
        panels["audits"] = None
    absent = {name for name, panel in panels.items() if not panel} | (set() if panels["ledger"]["rows"] else {"ledger"})
    return fill(
        Path(__file__).parent,
        "report.html.j2",
        **panels,
        sections=[(name, words) for name, words in _SECTIONS.items() if name not in absent],
        manifest=manifest,
        spec=manifest["spec"],
        status=status,
        verdict=verdict(manifest["gates"], status),
        uses=uses(manifest) if status == "published" else [],
        remarks=remarks(manifest),
        population_remark=population_remark(manifest),
        mode_meaning=MODES.get(manifest["spec"]["release"]["mode"], ""),
        learner_meaning=LEARNERS.get(manifest["spec"]["mechanisms"]["learner"], ""),
        gates=_gates(manifest["gates"]),
        attacks=_attacks(manifest["gates"]),
        tiles=summary(manifest),
        gap=gap_sentence(manifest),
        unit=_unit(manifest),
        design=_design(manifest["spec"], manifest["schema"]),
        effects=effect_table(manifest["effects"], _unit(manifest)),
        copies=copies_table(manifest["effects"]),
        transfer=transfer_table(manifest["fidelity"]),
        training=training_panel(pictures.get("training")),
        layers=layer_panel(pictures.get("layers")),
        targeting=targeting_sentence(manifest["fidelity"]),
        others=truth_rows(manifest["effects"]),
        overlap=[_overlap(where, manifest["overlap"].get(where), arms) for where, arms in pictures["overlap"].items()],
        arms=[{**row, "plot": marginal_plot(row)} for row in pictures["arms"]],
        missing=_missing(pictures["missing"]),
        **_marginals(pictures["marginals"]),
    )


def _horizon(manifest: Mapping[str, Any]) -> float | None:
    """Return the horizon of a time to event; None of other outcomes."""
    return (manifest["schema"].get("survival") or {}).get("horizon")


def _unit(manifest: Mapping[str, Any]) -> str:
    outcome = clipped(manifest["spec"]["roles"]["outcome"], 30)
    return KINDS[manifest["schema"]["outcome_kind"]].format(outcome=outcome)


def _design(spec: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    if spec["release"]["mode"] != "hybrid":
        return "drawn jointly with the rest"
    asked = spec["mechanisms"]
    if asked["treatment"] == "randomized" and asked.get("shares"):
        return f"randomized, {', '.join(f'{label}: {percent(share)}' for label, share in asked['shares'].items())}"
    if asked["treatment"] == "randomized" and len(table.get("arms", ())) > 2:
        return "randomized, equal shares"
    return DESIGNS[asked["treatment"]].format(probability=percent(asked["probability"]), tilt=number(asked["tilt"]))


def _overlap(where: str, record: Mapping[str, Any] | None, arms: Mapping[str, Any]) -> dict[str, Any]:
    found = record or {}
    slope = found.get("calibration") or {}
    decimals = decimals_of((slope["ci_high"] - slope["ci_low"]) / 4) if slope.get("ci_low") is not None else 2
    known = slope.get("slope") is not None
    return {
        "where": where,
        "plot": overlap_plot(where, arms),
        "bound": number(arms["bound"], 2),
        "outside": percent(found.get("outside")),
        **_arms(found),
        "slope": f"{fixed(slope['slope'], decimals)} ({interval(slope['ci_low'], slope['ci_high'], decimals)})" if known else "–",
    }


def _arms(record: Mapping[str, Any]) -> dict[str, str]:
    """Return rows and effective shares of the arms as text."""
    if "arms" in record:
        rows = ", ".join(f"{arm['arm']}: {number(arm['rows'])}" for arm in record["arms"])
        return {"arms": rows, "effective": ", ".join(f"{arm['arm']}: {percent(arm['ess'])}" for arm in record["arms"])}
    return {
        "arms": f"{number(record.get('arm1'))} treated, {number(record.get('arm0'))} control",
        "effective": f"{percent(record.get('ess1'))} of treated, {percent(record.get('ess0'))} of control",
    }


def _gates(gates: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, str]]]:
    """Part gates that passed, which are folded, from all others."""
    rows = gate_rows(gates)
    return {"open": [row for row in rows if row["status"] != "passed"], "passed": [row for row in rows if row["status"] == "passed"]}


def _attacks(gates: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the gates on attacks that were on."""
    names = {row.name for row in catalogue() if row.family == "attack"}
    return [row for row in gate_rows(gates) if row["name"] in names and row["status"] != "off"]


def _balance(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if not rows:
        return None
    beyond = {where: sum(abs(row[where] or 0.0) > BALANCED for row in rows) for where in ("source", "release")}
    more = max(0, len(rows) - MOST_ROWS)
    return {"plot": balance_plot(rows), "rows": len(rows), "limit": number(BALANCED), **beyond, "left_out": more}


def _pairs(rows: Sequence[Mapping[str, Any]], columns: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if not rows:
        return None
    far = sum(abs(row["source"] - row["release"]) > row["chance"] for row in rows)
    left_out = sum(not column["constant"] for column in columns) - 1 - MOST_COLUMNS
    return {"table": pair_table(rows), "plot": pair_scatter(rows), "number": len(rows), "far": far, "left_out": max(0, left_out)}


def _missing(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if found is None else {**found, "plot": missing_plot(found)}


def _marginals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Draw treatment and outcome first, then the covariates that differ most."""
    ordered = sorted(rows, key=lambda row: (_ORDER.get(row["role"], 2), -row["distance"]))
    drawn = [{**row, "plot": marginal_plot(row), "differs": percent(row["distance"])} for row in ordered[:MOST_MARGINALS]]
    return {"marginals": drawn, "marginals_left_out": max(0, len(rows) - MOST_MARGINALS)}
