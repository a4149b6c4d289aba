"""Which arms an effect compares, and how a series of answers is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tasks.estimation.contrasts import TREATED, contrasts_of


class Contrast(NamedTuple):
    """Two arms compared, by their labels; both None where there are only two."""

    arm: str | None = None
    control: str | None = None

    @property
    def columns(self) -> dict[str, str]:
        """What a row of figures says of it: nothing where there are only two arms."""
        return {} if self.arm is None or self.control is None else {"arm": self.arm, "control": self.control}

    @property
    def suffix(self) -> str:
        """What sets its random numbers apart: nothing where there are only two arms."""
        return "".join(f"/{label}" for label in self.columns.values())

    def places(self, labels: Sequence[str]) -> tuple[int, int]:
        """Return the numbers of its arms."""
        return (1, 0) if self.arm is None or self.control is None else (labels.index(self.arm), labels.index(self.control))

    @property
    def title(self) -> str:
        """How pages call it; empty where there are only two arms."""
        return " − ".join(self.columns.values())


#: The only contrast of two arms.
ONLY = Contrast()


class Effect(NamedTuple):
    """An estimand of one contrast."""

    estimand: str
    contrast: Contrast = ONLY


class Series(NamedTuple):
    """One estimator's answers on one contrast, over replicates."""

    estimator: str
    contrast: Contrast = ONLY


def contrasts(labels: Sequence[str], estimator: str = "") -> list[Contrast]:
    """Return what an estimator compares, in the order of its answers.

    Parameters
    ----------
    labels : sequence of K str
        The arms, the control first.
    estimator : str
        Those of an effect among the rows of one arm compare with the control only.
    """
    if len(labels) == 2:
        return [ONLY]
    return [Contrast(labels[arm], labels[control]) for arm, control in contrasts_of(len(labels), pairs=estimator not in TREATED)]


def contrast_of(row: Mapping[str, Any]) -> Contrast:
    """Return the contrast that a row of figures is of."""
    return Contrast(row.get("arm"), row.get("control"))


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
