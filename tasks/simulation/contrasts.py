"""Which arms an effect compares, on which outcome, and how a series of answers is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tasks.estimation.contrasts import TREATED, contrasts_of
from tasks.targeting.sample import Sample


class Contrast(NamedTuple):
    """Two arms compared on one outcome: labels, both None where there are only two; the outcome's name, None where there is one."""

    arm: str | None = None
    control: str | None = None
    outcome: str | None = None

    @property
    def columns(self) -> dict[str, str]:
        """What a row of figures says of it: nothing where there are only two arms and one outcome."""
        return {name: value for name, value in zip(CONTRAST, (self.outcome, self.arm, self.control), strict=True) if value is not None}

    @property
    def suffix(self) -> str:
        """What sets its random numbers apart: nothing where there are only two arms and one outcome."""
        return "".join(f"/{label}" for label in self.columns.values())

    def places(self, labels: Sequence[str]) -> tuple[int, int]:
        """Return the numbers of its arms."""
        return (1, 0) if self.arm is None or self.control is None else (labels.index(self.arm), labels.index(self.control))

    @property
    def title(self) -> str:
        """How pages call it; empty where there are only two arms and one outcome."""
        arms = " − ".join(label for label in (self.arm, self.control) if label is not None)
        return ": ".join(filter(None, (self.outcome, arms)))


#: AIPW on the rows that have the outcome, as if there were no others: it stands beside what weights by the chance to be known.
COMPLETE = "aipw_complete"
#: AIPW with the standard error that takes rows of a cluster as independent: it stands beside that by cluster.
ROWS = "aipw_rows"
#: What is tried beside an estimator for comparison, and never recommended.
TWINS = {COMPLETE: "aipw", ROWS: "aipw"}
#: Columns that name a contrast, where there is more than one.
CONTRAST = ("outcome", "arm", "control")
#: The only contrast of two arms on one outcome.
ONLY = Contrast()


class View(NamedTuple):
    """One outcome of a data set as estimators see it; its name, None where there is one."""

    outcome: str | None
    sample: Sample


class Effect(NamedTuple):
    """An estimand of one contrast."""

    estimand: str
    contrast: Contrast = ONLY


class Series(NamedTuple):
    """One estimator's answers on one contrast, over replicates."""

    estimator: str
    contrast: Contrast = ONLY


def contrasts(labels: Sequence[str], estimator: str = "", outcome: str | None = None) -> list[Contrast]:
    """Return what an estimator compares on one outcome, in the order of its answers.

    Parameters
    ----------
    labels : sequence of K str
        The arms, the control first.
    estimator : str
        Those of an effect among the rows of one arm compare with the control only.
    outcome : str, optional
        Its name, of several.
    """
    if len(labels) == 2:
        return [ONLY._replace(outcome=outcome)]
    return [Contrast(labels[arm], labels[control], outcome) for arm, control in contrasts_of(len(labels), pairs=estimator not in TREATED)]


def contrast_of(row: Mapping[str, Any]) -> Contrast:
    """Return the contrast that a row of figures is of."""
    return Contrast(row.get("arm"), row.get("control"), row.get("outcome"))


def group_key(row: Mapping[str, Any]) -> str:
    """Return what names a row's cell and contrast: rows that share it can be compared."""
    return f"{row['cell']}{contrast_of(row).suffix}"


def first_control(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the label of the reference arm of some rows of figures: contrasts with it come first; None of two arms."""
    return next((str(row["control"]) for row in rows if row.get("control") is not None), None)


def by_contrast(rows: Sequence[Mapping[str, Any]]) -> dict[Contrast, list[Mapping[str, Any]]]:
    """Sort rows of figures by contrast; the order of the estimators stays."""
    groups: dict[Contrast, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(contrast_of(row), []).append(row)
    return groups
