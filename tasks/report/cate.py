"""Does it carry effects person by person? The panel of CATE fidelity and of the laws of W, A and Y."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tasks.pages.numbers import decimals_of, fixed, number
from tasks.report.glossary import Entry, explained

Record = Mapping[str, Any]

LEARNERS: Mapping[str, Entry] = {
    "t": Entry("T-learner", "one regression per arm, and their difference"),
    "s": Entry("S-learner", "one regression, asked with and without treatment"),
    "dr": Entry("DR-learner", "regression of doubly robust pseudo-outcomes"),
    "ra": Entry("RA-learner", "regression of adjusted outcomes"),
    "mean": Entry("Mean of the four", "U_PEHE: error of effects of single people, for comparing releases"),
}
#: Ratios up to which a gap is read as no larger, and as somewhat larger, than between two samples of the source.
ALIKE, LARGER = 1.2, 1.5
#: A gap without noise up to this share of the spread of effects is slight, however well many rows can tell it.
SLIGHT = 0.25
#: A spread of effects below this share of the source's own gap is hardly there.
FAINT = 0.5
#: Standard errors within which a score is read as the reference's.
_TOLERANCE = 3.0
_LAWS = ("propensity_js", "precision_recall", "outcome_distance")


def person_panel(fidelity: Record) -> dict[str, Any] | None:
    """Arrange what the panel says.

    Parameters
    ----------
    fidelity : mapping
        Of the manifest: ``cate``, ``propensity_js``, ``precision_recall`` and ``outcome_distance``, each a record, ``{"refused": why}``,
        None or left out.

    Returns
    -------
    dict or None
        None where there is no record at all. Else ``learners`` (``title``, ``meaning``, ``gap``, ``se``, ``reference``, ``ratio``,
        ``sum``), ``reading`` (of the effects, may be empty), ``about`` (rows that taught and were asked), ``laws`` (``title``,
        ``meaning``, ``value``, ``reference``, ``reading``) and ``refused`` (sentences).
    """
    records = {name: fidelity.get(name) for name in ("cate", *_LAWS)}
    if not any(records.values()):
        return None
    known = {name: record for name, record in records.items() if record and "refused" not in record}
    cate = known.get("cate")
    laws = [
        *_propensities(known.get("propensity_js")),
        *_covariates(known.get("precision_recall")),
        *_outcomes(known.get("outcome_distance")),
    ]
    return {
        "learners": [_learner(each) for each in (*cate["learners"], cate["mean"])] if cate else [],
        "reading": _effects_sentence(cate["mean"]) if cate else "",
        "about": {"rows": number(cate["rows"]), "n": number(cate["n"])} if cate else None,
        "laws": laws,
        "refused": [str(record["refused"]) for record in records.values() if record and "refused" in record],
    }


def _learner(gap: Record) -> dict[str, Any]:
    entry, decimals = explained(LEARNERS, gap["learner"]), decimals_of(gap["se"])
    return {
        "title": entry.title,
        "meaning": entry.meaning,
        "gap": fixed(gap["gap"], decimals),
        "se": f"± {fixed(gap['se'], decimals)}",
        "reference": fixed(gap["reference"], decimals),
        "ratio": fixed(gap["ratio"], 2),
        "sum": gap["learner"] == "mean",
    }


def _effects_sentence(mean: Record) -> str:
    ratio = mean["ratio"]
    if ratio is None:
        return "Parts of the source learn one and the same effect for everybody, so there is nothing to compare."
    if ratio <= ALIKE:
        read = "Effects learnt on the release are as close to the source's as those learnt on another sample of the source."
    elif ratio <= LARGER or mean["beyond"] <= SLIGHT * mean["spread"]:
        read = "Effects learnt on the release are somewhat further from the source's than those learnt on another sample of the source."
    else:
        read = "Effects learnt on the release are much further from the source's than those of another sample: do not ask it who benefits."
    read += (
        f" Without the noise of learning the gap is about {number(mean['beyond'], 2)}, "
        f"where effects vary by about {number(mean['spread'], 2)} between people."
    )
    if mean["spread"] < FAINT * mean["reference"]:
        read += " The source itself hardly tells who benefits more, so this test is weak."
    return read


def _propensities(record: Record | None) -> list[dict[str, str]]:
    if record is None:
        return []
    gap, law, design = record["assignment"], record["law"], record["design"]
    near = gap["distance"] <= ALIKE * gap["reference"] or _alike(gap["distance"], gap["reference"], gap["se"], gap["reference_se"])
    assigned, spread = (
        "The release assigns treatment as the source does, as far as the source can tell."
        if near
        else "The release assigns treatment otherwise than the source does.",
        "Overlap looks as in the source, up to sampling."
        if law["distance"] <= 2.0 * law["scale"]
        else "Overlap differs by more than sampling explains; errors of learning g count too.",
    )
    if design in ("randomized", "tilted"):
        assigned = spread = f"The release's treatment is {design} on purpose: this compares two designs and finds no fault."
    return [
        {
            "title": "Treatment assignment",
            "meaning": "mean Jensen-Shannon distance of P(A | W), row by row, from 0 to 1; reference: source against itself",
            "value": fixed(gap["distance"], 3),
            "reference": fixed(gap["reference"], 3),
            "reading": assigned,
        },
        {
            "title": "Law of the propensity",
            "meaning": "Jensen-Shannon distance of the histograms of g; reference: what sampling alone brings",
            "value": fixed(law["distance"], 3),
            "reference": fixed(law["scale"], 3),
            "reading": spread,
        },
    ]


def _covariates(record: Record | None) -> list[dict[str, str]]:
    if record is None:
        return []
    rows = []
    for name, title, meaning, good, bad in (
        ("precision", "Precision of covariates", "alpha-precision: are released rows typical?", "typical", "less typical"),
        ("recall", "Recall of covariates", "beta-recall: is every kind of real row covered?", "well covered", "covered less well"),
    ):
        found, reference = record[name], record[f"{name}_reference"]
        alike = found["value"] >= reference["value"] or _alike(found["value"], reference["value"], found["se"], reference["se"])
        whose, compared = ("Released rows are", "real ones") if name == "precision" else ("Real rows are", "they are by other real rows")
        rows.append(
            {
                "title": title,
                "meaning": f"{meaning} Reference: real rows in the release's place",
                "value": fixed(found["value"], 3),
                "reference": fixed(reference["value"], 3),
                "reading": f"{whose} {f'as {good} as' if alike else f'{bad} than'} {compared}.",
            }
        )
    return rows


def _outcomes(record: Record | None) -> list[dict[str, str]]:
    if record is None:
        return []
    rows = []
    for arm in record["arms"]:
        name = "treated" if arm["arm"] == 1 else "control"
        spread = "" if arm["sd_ratio"] is None else f" Its spread is {fixed(arm['sd_ratio'], 2)} times the source's."
        rows.append(
            {
                "title": f"Outcome, {name}",
                "meaning": "Kolmogorov distance; reference: what sampling alone exceeds in 5 % of cases",
                "value": fixed(arm["distance"], 3),
                "reference": fixed(arm["scale"], 3),
                "reading": (
                    "Distributed as in the source, up to sampling."
                    if arm["distance"] <= arm["scale"]
                    else "Distributed otherwise than in the source, by more than sampling explains."
                )
                + spread,
            }
        )
    return rows


def _alike(value: float, reference: float, se: float, reference_se: float) -> bool:
    return abs(value - reference) <= _TOLERANCE * math.hypot(se, reference_se)
