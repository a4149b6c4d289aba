"""The report of an augmentation: where support is missing, what rows buy and cost, what else could be done, what the effects became."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tasks.augmentation.plot import curve_plot
from tasks.contract.gates import gate_row
from tasks.pages.axis import spanning
from tasks.pages.numbers import number, percent, plural
from tasks.pages.svg import circle, diamond, drawing, line
from tasks.pages.template import fill

NAMES: Mapping[str, str] = {
    "augment": "augmenting",
    "nothing": "doing nothing",
    "overlap": "overlap weights",
    "trimming": "trimming",
    "pooling": "pooling the other table",
}
ESTIMATORS: Mapping[str, str] = {
    "or": "Outcome regression",
    "ipw": "Inverse weighting",
    "aipw": "Augmented weighting (AIPW)",
    "tmle": "Targeted likelihood (TMLE)",
    "ato": "Overlap-weighted effect (another estimand)",
}


def render(manifest: Mapping[str, Any], status: str) -> bytes:
    """Render the report.

    Parameters
    ----------
    manifest : mapping
        The manifest, as JSON values; ``version`` is None for an augmentation that was not published.
    status : str
        ``"published"`` or ``"rejected"``.

    Returns
    -------
    bytes
        UTF-8 HTML without any reference to another file or host; the same bytes for the same arguments.
    """
    told = manifest["augmentation"]
    # planned until rows are drawn: one number for one thing
    added = told["chosen"]["rows"] if told["rows"] is None else told["rows"]
    return fill(
        Path(__file__).parent,
        "augmentation.html.j2",
        manifest=manifest,
        told=told,
        status=status,
        added=added,
        share=percent(added / (added + manifest["source"]["rows"])),
        headline=headline(manifest, status),
        effects=_effects(told["estimates"]),
        effect_heading=_effect_heading(told["estimates"]),
        rivals=_rivals(told["rivals"], added),
        rival_heading=_rival_heading(told["rivals"]),
        gates=[_gate(each) for each in manifest["gates"]],
        failed=[each["name"] for each in manifest["gates"] if each["passed"] is False],
        regions=[each["sentence"] for each in told["regions"]],
        region_heading=_region_heading(told["regions"]),
        errors=curve_plot(told["curve"], added, _error_lines(told), "estimated squared error of the effect"),
        gains=curve_plot(told["curve"], added, {"gain": "gain"}, "gain in squared error", around_zero=True),
        shifts=curve_plot(told["curve"], added, {"shift": "shift"}, "shift of the effect", around_zero=True),
        conflict=_conflict(told["conflict"]),
    )


def headline(manifest: Mapping[str, Any], status: str) -> str:
    """Say what was found: whether rows were added, and what that is expected to be worth."""
    told, failed = manifest["augmentation"], [each["name"] for each in manifest["gates"] if each["passed"] is False]
    if status == "published":
        return f"{plural(told['rows'], 'row was', 'rows were')} added. {verdict(told)}"
    if failed in ([], ["worth"]):
        return f"No row was added: it is not worth it. {verdict(told)}"
    titles = ", ".join(_title(name) for name in failed)
    return f"Nothing was published: {plural(len(failed), 'gate')} failed ({titles})."


def verdict(told: Mapping[str, Any]) -> str:
    """Say in a sentence what the augmentation is expected to be worth.

    Parameters
    ----------
    told : mapping
        The manifest's section ``augmentation``.
    """
    mine, *others = told["rivals"]
    known = sorted((each for each in others if each["error"] is not None), key=lambda each: each["error"])
    if not known:
        return f"Expected squared error {number(mine['error'])}; nothing else could be done."
    best = known[0]
    relation = "less than" if mine["error"] < best["error"] else "no less than"
    errors = _apart(mine["error"], best["error"])
    of = f"the least of {len(known)} other ways" if len(known) > 1 else "the only other way"
    return f"Augmenting is expected to err {relation} {NAMES[best['name']]}: squared error {errors[0]} against {errors[1]}, {of}."


def _apart(left: float, right: float) -> tuple[str, str]:
    """Write two numbers with as many digits as tell them apart, three at least."""
    texts = [(number(left, digits), number(right, digits)) for digits in range(3, 9)]
    return next((pair for pair in texts if pair[0] != pair[1]), texts[0])


def _title(name: str) -> str:
    row = gate_row(name)
    return name.replace("_", " ") if row is None else row.title


def _gate(each: Mapping[str, Any]) -> dict[str, Any]:
    rule = "switched off" if each["threshold"] is None else f"{each['rule']} {number(each['threshold'])}"
    return {**each, "title": _title(each["name"]), "value": number(each["value"]), "rule": rule}


def _region_heading(found: Sequence[Mapping[str, Any]]) -> str:
    if not found:
        return "No region lacks an arm"
    return f"{plural(len(found), 'region lacks', 'regions lack')} an arm"


def _rival_heading(found: Sequence[Mapping[str, Any]]) -> str:
    known = [each for each in found if each["error"] is not None]
    return f"Least expected error: {NAMES[min(known, key=lambda each: each['error'])['name']]}"


def _effect_heading(found: Mapping[str, Any]) -> str:
    pairs = {_name(each): each for each in found["after"] or []}
    before = next((each for each in found["before"] if _name(each) == "tmle"), None)
    if before is None or "tmle" not in pairs:
        return "Effects of the source"
    texts = [f"{number(each['estimate'])} (SE {number(each['se'])})" for each in (before, pairs["tmle"])]
    return f"TMLE moves from {texts[0]} to {texts[1]}"


def _error_lines(told: Mapping[str, Any]) -> dict[str, str]:
    lines = {"error": "all of it", "noise": "noise of the source's outcomes", "borrowed": "error of borrowed predictions"}
    return lines | ({"conflict": "disagreement"} if any(point["conflict"] > 0 for point in told["curve"]) else {})


def _rivals(found: Sequence[Mapping[str, Any]], added: int) -> list[dict[str, Any]]:
    least = min(each["error"] for each in found if each["error"] is not None)
    rows = [{**each, "title": NAMES[each["name"]], "best": each["error"] == least} for each in found]
    rows[0]["detail"] = f"{plural(added, 'row')} added"
    return rows


def _effects(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Put each estimator's estimates before and after side by side, with the drawing of both intervals."""
    after = {_name(each): each for each in found["after"] or []}
    rows = [{"name": _name(each), "before": each, "after": after.get(_name(each))} for each in found["before"]]
    ends = [value for row in rows for each in (row["before"], row["after"]) if each for value in (each["ci_low"], each["ci_high"])]
    axis = spanning([value for value in ends if value is not None], 6.0, 294.0)
    for row in rows:
        row["title"] = ESTIMATORS[row["name"]]
        parts = [line(axis.at(0.0), 0.0, axis.at(0.0), 28.0, "guide")] if axis.low < 0.0 < axis.high else []
        for where, y, each in (("source", 9.0, row["before"]), ("release", 20.0, row["after"])):
            if each:
                place = axis.at(each["estimate"])
                parts.append(line(axis.at(each["ci_low"]), y, axis.at(each["ci_high"]), y, f"limits {where}"))
                parts.append(circle(place, y, 4.0, where) if where == "source" else diamond(place, y, 5.0, where))
        row["plot"] = drawing(300.0, 28.0, f"{row['title']}: before and after", parts) if ends else Markup("")
    return rows


def _name(estimate: Mapping[str, Any]) -> str:
    return "ato" if estimate["estimand"] == "ato" else str(estimate["estimator"])


def _conflict(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    tested = f"p = {found['chance']:.2g}"
    put_right = "putting the borrowed predictions right by the source's own outcomes would move the effect by"
    words = f"{put_right} {number(found['change'])} (SE {number(found['se'])})"
    if found["squared"] > 0:
        return f"The two tables disagree ({tested}): {words}. Augmenting is charged with it."
    return f"The two tables agree as far as the source can tell ({tested}): {words}."
