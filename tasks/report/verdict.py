"""The verdict: what a reader should know who reads one paragraph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tasks.checks.verdict import advice
from tasks.contract.headline import built_in, combined_effect, main_effect, main_pair
from tasks.contract.results import Gate
from tasks.pages.numbers import fixed, interval, number
from tasks.report.effects import effect_decimals
from tasks.report.glossary import explained_gate


class Verdict(NamedTuple):
    """What stands at the top of the page.

    Attributes
    ----------
    headline : str
        Whether it was published, in one sentence.
    off : tuple of str
        Titles of gates that were switched off.
    failed : tuple of dict
        Gates that failed or refused; see :func:`gate_rows`.
    """

    headline: str
    off: tuple[str, ...]
    failed: tuple[dict[str, str], ...]


def verdict(gates: Sequence[Mapping[str, Any]], status: str) -> Verdict:
    """Return the verdict of a run.

    Parameters
    ----------
    gates : sequence of mapping
        Of the manifest.
    status : str
        ``"published"`` or ``"rejected"``.
    """
    rows = gate_rows(gates)
    off = tuple(row["title"] for row in rows if row["status"] == "off")
    failed = tuple(row for row, gate in zip(rows, gates) if gate["passed"] is False)
    unsure = sum(row["status"] == "inconclusive" for row in rows)
    on = len(rows) - len(off)
    if status == "published":
        if on == 0:
            headline = "Published without a check: all gates were switched off."
        elif unsure:
            can_not = "is inconclusive: the data can't tell." if unsure == 1 else "are inconclusive: the data can't tell."
            headline = f"Published: {on - unsure} of {on} gates {'that were on ' if off else ''}passed, {unsure} {can_not}"
        else:
            headline = (
                "Published: the gate that was on passed."
                if on == 1
                else f"Published: all {on} gates {'that were on ' if off else ''}passed."
            )
    else:
        headline = f"Rejected: {len(failed)} of {on} gates failed. Nothing was published and no synthetic row was kept."
    return Verdict(headline, off, failed)


def gate_rows(gates: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the gates in words.

    Returns
    -------
    list of dict
        ``name``, ``title``, ``meaning``, ``value``, ``limits``, ``rule``, ``status``, ``detail``, ``advice`` (of gates that failed).
    """
    rows = []
    for gate in gates:
        entry, low, high = explained_gate(gate["name"]), gate.get("low"), gate.get("high")
        rows.append(
            {
                "name": gate["name"],
                "title": entry.title,
                "meaning": entry.meaning,
                "value": "too little data" if gate["status"] == "refused" and gate["value"] is None else number(gate["value"]),
                "limits": "" if low is None and high is None else f"limits {number(low)} to {number(high)}",
                "rule": "switched off" if gate["threshold"] is None else f"{gate['rule']} {number(gate['threshold'])}",
                "status": gate["status"],
                "detail": gate["detail"],
                "advice": advice(Gate.model_validate(gate)) if gate["passed"] is False else "",
            }
        )
    return rows


def summary(manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the effect in a few numbers: source, built into the release, estimated on the release.

    Returns
    -------
    list of dict
        ``label``, ``value``, ``note``.
    """
    effects = manifest["effects"]
    decimals, carried = effect_decimals(effects), built_in(effects)
    source, release = main_effect(effects, "source"), main_effect(effects, "release")
    pair, tiles = main_pair(effects), []
    compared = f", {pair}" if pair else ""
    if source:
        reference = manifest["source"].get("reference")
        label = f"Effect in version {reference['version']}, in place of the real rows" if reference else "Effect in the real rows"
        tiles.append({"label": label + compared, **_tile(source, decimals), "where": "source"})
    if carried is not None:
        error = carried.mc_se
        note = "exact, by construction" if error is None else f"known exactly for its rows; Monte-Carlo error {number(error, 1)}"
        tiles.append(
            {
                "label": f"Effect built into the release{compared}",
                "value": fixed(carried.value, decimals + 1),
                "note": note,
                "where": "release",
            }
        )
    if release:
        tile, whole = _tile(release, decimals), combined_effect(effects)
        if whole and not effects["release"].get("copies"):
            span = interval(whole["ci_low"], whole["ci_high"], decimals)
            tile["note"] += f" for the release's own effect; {span} with the source's sampling error"
        tiles.append({"label": f"Effect estimated on the release{compared}", **tile, "where": "release"})
    return tiles


def gap_sentence(manifest: Mapping[str, Any]) -> str:
    """Say how far release and source are apart, in units of the outcome and in standard errors; empty where one is missing."""
    effects = manifest["effects"]
    source, release = main_effect(effects, "source"), main_effect(effects, "release")
    if not source or not release or source["se"] is None or release["se"] is None:
        return ""
    gap = release["estimate"] - source["estimate"]
    error = math.hypot(source["se"], release["se"])
    errors = f", {number(abs(gap) / error, 2)} of their combined standard error" if error > 0 else ""
    return f"Release and source differ by {fixed(gap, effect_decimals(effects))}{errors}."


def _tile(estimate: Mapping[str, Any], decimals: int) -> dict[str, str]:
    span = interval(estimate["ci_low"], estimate["ci_high"], decimals)
    return {"value": fixed(estimate["estimate"], decimals), "note": f"95 % interval {span}"}
