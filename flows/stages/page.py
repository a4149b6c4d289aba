"""A release in Markdown: what Prefect shows on the page of its run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks.contract.headline import built_in, main_effect, main_estimand, main_pair
from tasks.publish.layout import REPORT

_STATUS = {
    "published": "**Published.**",
    "rejected": "**Rejected.** Nothing was published.",
    "unchanged": "**Unchanged.** Nothing was published: the rows would be those of this version.",
}


def release_page(reply: Mapping[str, Any]) -> str:
    """Return the page of a release: place and version, report, effect, error ledger, gates, warnings, cost.

    Parameters
    ----------
    reply : mapping
        Of a release or an augmentation; only what its manifest says is shown, so no cell of the source is.
    """
    manifest, uri = reply["manifest"], reply["uri"]
    version = "" if reply["version"] is None else f" version {reply['version']}"
    return "\n\n".join(
        each
        for each in (
            f"# {manifest['name']}{version}",
            _STATUS[reply["status"]],
            f"- release: `{uri}`\n- report: [{uri}/{REPORT}]({uri}/{REPORT})\n- run: `{manifest['run']}`\n- seed: {manifest['seed']}",
            _effects(manifest["effects"]),
            _ledger(manifest["fidelity"].get("ledger") or []),
            _gates(manifest["gates"]),
            _warnings(manifest["warnings"]),
            _cost(manifest.get("metrics") or {}) if reply["status"] != "unchanged" else "",
        )
        if each
    )


def _effects(effects: Mapping[str, Any]) -> str:
    tables = [(name, main_effect(effects, name)) for name in effects if name != "truth"]
    rows = [(name, _number(each["estimate"]), _number(each["se"]), _interval(each), each["estimator"]) for name, each in tables if each]
    carried = built_in(effects)
    rows += [] if carried is None else [("built into the release", _number(carried.value), "", "", "exact")]
    title = ", ".join(each for each in (main_estimand(effects).upper(), main_pair(effects)) if each)
    return _section(f"Effect ({title})", ("", "estimate", "SE", "95 % interval", "estimator"), rows)


def _interval(estimate: Mapping[str, Any]) -> str:
    return f"{_number(estimate['ci_low'])} to {_number(estimate['ci_high'])}"


def _ledger(terms: Sequence[Mapping[str, Any]]) -> str:
    rows = [(each["name"].replace("_", " "), _number(each["value"]), _number(each["se"])) for each in terms]
    return _section("Error of the effect by step", ("step", "error", "SE"), rows)


def _gates(gates: Sequence[Mapping[str, Any]]) -> str:
    first = {"failed": 0, "refused": 0, "inconclusive": 1}
    rows = [
        (f"**{gate['status']}**" if gate["status"] in first else gate["status"], gate["name"], _number(gate["value"]), _limit(gate))
        for gate in sorted(gates, key=lambda gate: first.get(gate["status"], 2))
    ]
    return _section("Gates", ("", "gate", "value", "limit"), rows)


def _limit(gate: Mapping[str, Any]) -> str:
    return "" if gate["threshold"] is None else f"{gate['rule']} {_number(gate['threshold'])}"


def _warnings(warnings: Sequence[str]) -> str:
    return "## Warnings\n\n" + "\n".join(f"- {_cell(text)}" for text in warnings) if warnings else ""


def _cost(metrics: Mapping[str, Any]) -> str:
    if not metrics:
        return ""
    rows = [(each["stage"], f"{each['seconds']:.1f}") for each in metrics["stages"]]
    total = f"{metrics['seconds']:.1f} s, {metrics['rows_per_second']:,.0f} rows/s, peak memory {metrics['peak_mib']:,.0f} MiB"
    return f"{_section('Cost', ('stage', 'seconds'), rows)}\n\n{total}"


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a titled table; nothing where it has no row."""
    return "\n".join([f"## {title}\n", _row(head), _row("---" for _ in head), *map(_row, rows)]) if rows else ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    """Return text that ends no cell and begins no markup."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
