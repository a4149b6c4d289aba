"""From gates to a verdict, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tasks.contract.errors import GateFailed
from tasks.contract.results import Gate

#: What to do where a gate fails.
ADVICE: Mapping[str, str] = {
    "near_copies": "The synthesizer keeps too much of single rows: take another covariates.synthesizer, or a smoother setting of this one.",
    "exact_copies": "Rows of the source came out unchanged: take a synthesizer that draws values anew; 'bootstrap' never passes.",
    "closeness_z": "The synthesizer has learnt the seed by heart: smooth it (larger leaves, fewer components or epochs) or take another.",
    "dcr_margin": "Released rows crowd around seed rows: smooth the synthesizer or take another.",
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
        True where every gate that is on holds, and there is one.
    failed : tuple of str
        Names of gates that failed or refused.
    off : tuple of str
        Names of gates that are switched off.
    """

    passed: bool
    failed: tuple[str, ...]
    off: tuple[str, ...]


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
    failed = tuple(gate.name for gate in every if gate.status in ("failed", "refused"))
    off = tuple(gate.name for gate in every if gate.status == "off")
    return Verdict(bool(every) and not failed, failed, off)


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
    bad = [gate for gate in gates if gate.status in ("failed", "refused")]
    width = max((len(gate.name) for gate in bad), default=0)
    lines: list[str] = []
    for gate in bad:
        lines.append(f"{gate.name:<{width}}  {_sentence(gate)}")
        indent = " " * (width + 2)
        if gate.detail:
            lines.append(f"{indent}{gate.detail}.")
        way = (
            _REFUSED
            if gate.status == "refused" and gate.name != "fidelity"
            else ADVICE.get(gate.name, "See the check's own documentation.")
        )
        lines.append(f"{indent}{way} gates.{gate.name} = false switches it off; the manifest will say so.")
    return lines


def rejection(gates: Iterable[Gate]) -> GateFailed:
    """Return the error that a rejected release ends with.

    Parameters
    ----------
    gates : iterable of Gate
        At least one of them failed or refused.

    Returns
    -------
    GateFailed
    """
    bad = [gate for gate in gates if gate.status in ("failed", "refused")]
    text = " ".join(f"{gate.name} of the release {_sentence(gate)}" for gate in bad)
    return GateFailed(text, "Nothing was published. docs/gates.md says what each gate measures.")


def _sentence(gate: Gate) -> str:
    if gate.value is None or gate.threshold is None:
        return f"must be {gate.rule} {_number(gate.threshold)}; got a refusal."
    gap = abs(gate.value - gate.threshold)
    side = "above" if gate.value > gate.threshold else "below"
    return f"must be {gate.rule} {_number(gate.threshold)}; got {_number(gate.value)}, {_number(gap)} {side}."


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.4g}"
