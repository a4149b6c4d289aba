"""From gates to a verdict, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tasks.checks.refusal import SPENT
from tasks.contract.results import Gate

#: What to do where a gate fails.
ADVICE: Mapping[str, str] = {
    "near_copies": "The synthesizer keeps too much of single rows: take another covariates.synthesizer, or a smoother setting of this one.",
    "exact_copies": "Rows of the source came out unchanged: take a synthesizer that draws values anew; 'bootstrap' never passes.",
    "closeness_z": "The synthesizer has learnt the seed by heart: smooth it (larger leaves, fewer components or epochs) or take another.",
    "dcr_margin": "Released rows crowd around seed rows: smooth the synthesizer or take another.",
    "closeness_excess": "The release leans to the seed by more than may be: smooth the synthesizer or take another.",
    "closeness_groups": "In the columns named rows were copied in part, or rare levels come as often as in the seed itself: take another "
    "synthesizer, or replace a column of many rare levels by a coarser one (a region for a postcode).",
    "holdout_budget": "This holdout has been failed too often to judge fairly: bring new rows, or set another seed for another split "
    "(docs/gates.md says what that heals and what it does not).",
    "holdout_query": "The release knows the seed better than the holdout: smooth the synthesizer, do not try settings until this gives in.",
    "membership_tpr": "An attacker recognises rows that the synthesizer saw: smooth it or take another.",
    "membership_auc": "An attacker recognises rows that the synthesizer saw: smooth it or take another.",
    "attribute_advantage": "An attacker rebuilds a column of rows that the synthesizer saw: release fewer rows, or smooth the synthesizer.",
    "linkability_advantage": "Halves of rows can be put together again by the release: smooth the synthesizer or take another.",
    "singling_out_advantage": "The release singles out rows that the synthesizer saw: smooth it or take another.",
    "source_overlap": "Too many rows lack overlap: restrict the population, leave out a covariate that decides treatment only.",
    "release_overlap": "Use mechanisms.treatment = 'randomized', or 'tilted' with a tilt below 1.",
    "source_ess": "Few rows carry one arm: restrict the population to where both arms occur, or augment it.",
    "min_arm": "Bring more rows of the smaller arm; there is no way around it.",
    "fidelity": "Use release.mode = 'hybrid'; there, another mechanisms.learner, or more release.rows where the gap is noise.",
    "calibration": "The synthesizer is far from the source: take another covariates.synthesizer, or raise mechanisms.pool.",
    "levels": "The synthesizer or a plug-in drew values that the source can't have: bound and round what it draws.",
    "columns": "The released columns differ from the source's: a plug-in changed them.",
}
_REFUSED = "There is too little data to judge: bring more rows, or raise source.holdout where the holdout is the smaller part."


class Verdict(NamedTuple):
    """What the gates say together.

    Attributes
    ----------
    passed : bool
        True where no gate failed, and there is one.
    failed : tuple of str
        Names of gates that failed or refused, or were inconclusive where that is to fail.
    off : tuple of str
        Names of gates that are switched off.
    inconclusive : tuple of str
        Names of gates that can't tell, and are let through.
    """

    passed: bool
    failed: tuple[str, ...]
    off: tuple[str, ...]
    inconclusive: tuple[str, ...] = ()


def decide(gates: Iterable[Gate]) -> Verdict:
    """Return the verdict; a release without any gate that could hold is not passed, unless all were switched off.

    Parameters
    ----------
    gates : iterable of Gate

    Returns
    -------
    Verdict
    """
    every = tuple(gates)
    failed = tuple(gate.name for gate in every if gate.passed is False)
    off = tuple(gate.name for gate in every if gate.status == "off")
    unsure = tuple(gate.name for gate in every if gate.status == "inconclusive" and gate.passed is None)
    return Verdict(bool(every) and not failed, failed, off, unsure)


def cautions(gates: Iterable[Gate]) -> tuple[str, ...]:
    """Return what a reader of a published release should know of gates that can't tell.

    Parameters
    ----------
    gates : iterable of Gate

    Returns
    -------
    tuple of str
        One sentence for each gate that was inconclusive and let through.
    """
    return tuple(
        f"Gate {gate.name} is inconclusive: {_sentence(gate)} More rows would tell; gates.inconclusive = 'fail' rejects what can't be told."
        for gate in gates
        if gate.status == "inconclusive" and gate.passed is None
    )


def explain(gates: Iterable[Gate]) -> list[str]:
    """Say for each gate that failed or refused: name, value, bound, by how much, and what to do.

    Parameters
    ----------
    gates : iterable of Gate

    Returns
    -------
    list of str
        Aligned plain lines: the gate, then what was seen, then the way out. Empty where none failed.
    """
    bad = [gate for gate in gates if gate.passed is False]
    width = max((len(gate.name) for gate in bad), default=0)
    lines: list[str] = []
    for gate in bad:
        lines.append(f"{gate.name:<{width}}  {_sentence(gate)}")
        indent = " " * (width + 2)
        if gate.detail:
            lines.append(f"{indent}{gate.detail}.")
        way = _way(gate)
        lines.append(f"{indent}{way} gates.{gate.name} = false switches it off; the manifest will say so.")
    return lines


def _way(gate: Gate) -> str:
    if gate.status == "inconclusive":
        return "The data can't tell: bring more rows, or release more, or set gates.inconclusive = 'warn'."
    if gate.status == "refused" and gate.name != "fidelity":
        return "There is a way out at holdout_budget." if gate.detail == SPENT else _REFUSED
    return ADVICE.get(gate.name, "See the check's own documentation.")


def _sentence(gate: Gate) -> str:
    if gate.status == "inconclusive":
        seen = "no number" if gate.value is None else _number(gate.value)
        ends = "limits unknown" if gate.low is None and gate.high is None else f"limits {_end(gate.low)} to {_end(gate.high)}"
        return f"must be {gate.rule} {_number(gate.threshold)}; got {seen}, {ends}."
    if gate.value is None or gate.threshold is None:
        return f"must be {gate.rule} {_number(gate.threshold)}; got a refusal."
    gap = abs(gate.value - gate.threshold)
    side = "above" if gate.value > gate.threshold else "below"
    return f"must be {gate.rule} {_number(gate.threshold)}; got {_number(gate.value)}, {_number(gap)} {side}."


def _end(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.4g}"
