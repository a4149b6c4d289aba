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
    section = manifest["augmentation"]
    # planned until rows are drawn: one number for one thing
    added = section["chosen"]["rows"] if section["rows"] is None else section["rows"]
    return fill(
        Path(__file__).parent,
        "augmentation.html.j2",
        manifest=manifest,
        told=section,
        status=status,
        added=added,
        share=percent(added / (added + manifest["source"]["rows"])),
        headline=headline(manifest, status),
        effects=_effects(section["estimates"]),
        effect_heading=_effect_heading(section["estimates"]),
        rivals=[row for each in _by_outcome(section) for row in _rivals(each, added)],
        first=_name_of(_by_outcome(section)[0]),
        rival_heading=_rival_heading(section["rivals"]),
        gates=[_gate(each) for each in manifest["gates"]],
        failed=[each["name"] for each in manifest["gates"] if each["passed"] is False],
        regions=[each["sentence"] for each in section["regions"]],
        region_heading=_region_heading(section["regions"]),
        errors=curve_plot(section["curve"], added, _error_lines(section), "estimated squared error of the effect"),
        gains=curve_plot(section["curve"], added, {"gain": "gain"}, "gain in squared error", around_zero=True),
        shifts=curve_plot(section["curve"], added, {"shift": "shift"}, "shift of the effect", around_zero=True),
        conflict=" ".join(_conflict(each["conflict"], _name_of(each)) for each in _by_outcome(section)),
        lacking=_lacking(section),
        several="arms" in section,
        arms_line=None if section["rows"] is None else arms_line(section),
    )


def _name_of(of_outcome: Mapping[str, Any]) -> str | None:
    """Return the outcome's name; None where there is one: the section's "outcome" then says where outcomes come from."""
    name = of_outcome.get("outcome")
    return name if isinstance(name, str) else None


def arms_line(section: Mapping[str, Any]) -> str:
    """Say which arms the added rows are of: "12 of them treated", of more than two arms "12 'high', 3 'low', 0 'none'"."""
    if not section.get("added"):
        return f"{section['treated']:,} of them treated"
    return ", ".join(f"{rows:,} '{label}'" for label, rows in section["added"].items())


def effect_name(estimate: Mapping[str, Any]) -> str:
    """Name an estimate by its estimator, of more than two arms with its pair."""
    name = "ato" if estimate["estimand"] == "ato" else str(estimate["estimator"])
    return name + _pair_of(estimate)


def _pair_of(each: Mapping[str, Any]) -> str:
    """Return which arms and, of several outcomes, which outcome an effect is of; empty where there is one."""
    pair = f" {each['arm']} - {each['control']}" if each.get("arm") is not None else ""
    return pair + (f" on {each['outcome']}" if each.get("outcome") is not None else "")


def _by_outcome(section: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the numbers of each outcome; of one outcome they are the section's own."""
    return section.get("outcomes") or (section,)


def headline(manifest: Mapping[str, Any], status: str) -> str:
    """Say what was found: whether rows were added, and what that is expected to be worth."""
    section, failed = manifest["augmentation"], [each["name"] for each in manifest["gates"] if each["passed"] is False]
    if status == "published":
        return f"{plural(section['rows'], 'row was', 'rows were')} added. {verdict(section)}"
    if failed in ([], ["worth"]):
        return f"No row was added: it is not worth it. {verdict(section)}"
    titles = ", ".join(_title(name) for name in failed)
    return f"Nothing was published: {plural(len(failed), 'gate')} failed ({titles})."


def verdict(section: Mapping[str, Any]) -> str:
    """Say in a sentence what the augmentation is expected to be worth.

    Parameters
    ----------
    section : mapping
        The manifest's section ``augmentation``.
    """
    worst = max(_by_outcome(section), key=lambda each: each["worth"])
    mine, *others = worst["rivals"]
    measured = sorted((each for each in others if each["error"] is not None), key=lambda each: each["error"])
    if not measured:
        return f"Expected squared error {number(mine['error'])}; nothing else could be done."
    best = measured[0]
    relation = "less than" if mine["error"] < best["error"] else "no less than"
    errors = _apart(mine["error"], best["error"])
    of = f"the least of {len(measured)} other ways" if len(measured) > 1 else "the only other way"
    way = f"{relation} {NAMES[best['name']]}" + ("" if (name := _name_of(worst)) is None else f" on '{name}', which gains least")
    return f"Augmenting is expected to err {way}: squared error {errors[0]} against {errors[1]}, {of}."


def _apart(left: float, right: float) -> tuple[str, str]:
    """Write two numbers with as many digits as distinguish them, three at least."""
    texts = [(number(left, digits), number(right, digits)) for digits in range(3, 9)]
    return next((pair for pair in texts if pair[0] != pair[1]), texts[0])


def _title(name: str) -> str:
    row = gate_row(name)
    return name.replace("_", " ") if row is None else row.title


def _gate(each: Mapping[str, Any]) -> dict[str, Any]:
    rule = "switched off" if each["threshold"] is None else f"{each['rule']} {number(each['threshold'])}"
    return {**each, "title": _title(each["name"]), "value": number(each["value"]), "rule": rule}


def _region_heading(regions: Sequence[Mapping[str, Any]]) -> str:
    if not regions:
        return "No region lacks an arm"
    return f"{plural(len(regions), 'region lacks', 'regions lack')} an arm"


def _rival_heading(rivals: Sequence[Mapping[str, Any]]) -> str:
    measured = [each for each in rivals if each["error"] is not None]
    return f"Least expected error: {NAMES[min(measured, key=lambda each: each['error'])['name']]}"


def _effect_heading(effects: Mapping[str, Any]) -> str:
    pairs = {effect_name(each): each for each in effects["after"] or []}
    before = next((each for each in effects["before"] if each["estimator"] == "tmle"), None)
    if before is None or effect_name(before) not in pairs:
        return "Effects of the source"
    texts = [f"{number(each['estimate'])} (SE {number(each['se'])})" for each in (before, pairs[effect_name(before)])]
    return f"TMLE{_pair_of(before)} moves from {texts[0]} to {texts[1]}"


def _error_lines(section: Mapping[str, Any]) -> dict[str, str]:
    lines = {"error": "all of it", "noise": "noise of the source's outcomes", "borrowed": "error of borrowed predictions"}
    return lines | ({"conflict": "disagreement"} if any(point["conflict"] > 0 for point in section["curve"]) else {})


def _rivals(of_outcome: Mapping[str, Any], added: int) -> list[dict[str, Any]]:
    rivals, on = of_outcome["rivals"], _pair_of({"outcome": _name_of(of_outcome)})
    least = min(each["error"] for each in rivals if each["error"] is not None)
    rows = [
        {
            **each,
            "title": NAMES[each["name"]] + on,
            "best": each["error"] == least,
            "pairs": [_pair_line(pair) for pair in each.get("pairs", ())],
        }
        for each in rivals
    ]
    rows[0]["detail"] = f"{plural(added, 'row')} added"
    return rows


def _pair_line(pair: Mapping[str, Any]) -> str:
    """Say what a way gives for one of several effects."""
    if pair["error"] is None:
        return f"{_pair_of(pair).strip()}: can't be had"
    return f"{_pair_of(pair).strip()}: {number(pair['estimate'])} (SE {number(pair['se'])}), squared error {number(pair['error'])}"


def _lacking(section: Mapping[str, Any]) -> str:
    """Say how many rows lack which arm."""
    lacking, bound = section["lacking"], number(section["bound"])
    if "arms" in lacking:
        counts = ", ".join(f"{rows:,} '{label}'" for label, rows in lacking["arms"].items())
        return f"Of {plural(lacking['rows'], 'row')}, so many had a chance of an arm below {bound} (cross-fitted): {counts}."
    treated, control = f"{lacking['treated']:,}", f"{lacking['control']:,}"
    first = f"Of {plural(lacking['rows'], 'row')}, {treated} had a chance of treatment below {bound}"
    return f"{first}, and {control} a chance of control below it (cross-fitted)."


def _effects(effects: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Put each estimator's estimates before and after side by side, with the drawing of both intervals."""
    after = {effect_name(each): each for each in effects["after"] or []}
    rows = [{"before": each, "after": after.get(effect_name(each))} for each in effects["before"]]
    ends = [value for row in rows for each in (row["before"], row["after"]) if each for value in (each["ci_low"], each["ci_high"])]
    axis = spanning([value for value in ends if value is not None], 6.0, 294.0)
    for row in rows:
        name = "ato" if row["before"]["estimand"] == "ato" else row["before"]["estimator"]
        row["title"] = ESTIMATORS[name] + (f",{pair}" if (pair := _pair_of(row["before"])) else "")
        parts = [line(axis.at(0.0), 0.0, axis.at(0.0), 28.0, "guide")] if axis.low < 0.0 < axis.high else []
        for where, y, each in (("source", 9.0, row["before"]), ("release", 20.0, row["after"])):
            if each:
                place = axis.at(each["estimate"])
                parts.append(line(axis.at(each["ci_low"]), y, axis.at(each["ci_high"]), y, f"limits {where}"))
                parts.append(circle(place, y, 4.0, where) if where == "source" else diamond(place, y, 5.0, where))
        row["plot"] = drawing(300.0, 28.0, f"{row['title']}: before and after", parts) if ends else Markup("")
    return rows


def _conflict(conflict: Mapping[str, Any] | None, outcome: str | None) -> str:
    if conflict is None:
        return ""
    tested = f"p = {conflict['chance']:.2g}"
    most = max(conflict.get("pairs", [{}]), key=lambda each: abs(each.get("change", 0.0)))
    effect = f"the effect{_pair_of({**most, 'outcome': outcome})}"
    put_right = f"putting the borrowed predictions right by the source's own outcomes would move {effect} by"
    words = f"{put_right} {number(conflict['change'])} (SE {number(conflict['se'])})"
    if conflict["squared"] > 0:
        return f"The two tables disagree ({tested}): {words}. Augmenting is charged with it."
    return f"The two tables agree as far as the source can tell ({tested}): {words}."
