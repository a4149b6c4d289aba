"""The effect that a release is made for, read from the section ``effects`` of its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Effects = Mapping[str, Any]


class BuiltIn(NamedTuple):
    """The effect that a release's rows were drawn with.

    Attributes
    ----------
    value : float
        In the outcome's unit.
    mc_se : float or None
        Its Monte-Carlo error; None where it is exact.
    """

    value: float
    mc_se: float | None


def main_estimand(effects: Effects) -> str:
    """Return the estimand that stands for a release: ``effects.truth.estimand``, the ATE where that says nothing."""
    return str((effects.get("truth") or {}).get("estimand") or "ate")


def main_effect(effects: Effects, where: str) -> Mapping[str, Any] | None:
    """Return the estimate that stands for a table, or None.

    Parameters
    ----------
    effects : mapping
        Section ``effects`` of a manifest.
    where : str
        Such as ``"source"``.
    """
    estimate: Mapping[str, Any] | None = (effects.get(where) or {}).get(main_estimand(effects))
    return estimate


def main_pair(effects: Effects) -> str:
    """Return which of more than two arms the main effect compares, such as ``"2 against 0"``; empty for two arms."""
    main = main_effect(effects, "source") or main_effect(effects, "release") or {}
    return f"{main['arm']} against {main['control']}" if main.get("arm") is not None else ""


def combined_effect(effects: Effects) -> Mapping[str, Any] | None:
    """Return the main effect over all copies of the release, with the source's sampling error in its interval, or None."""
    every, main = (effects.get("release") or {}).get("combined") or [], main_effect(effects, "release")
    if not main:
        return None
    wanted = (main_estimand(effects), main.get("estimator"))
    return next((each for each in every if (each.get("estimand"), each.get("estimator")) == wanted), None)


def built_in(effects: Effects) -> BuiltIn | None:
    """Return the main effect built into the release, or None; of several pairs of arms that of the first."""
    truth, estimand = effects.get("truth") or {}, main_estimand(effects)
    if estimand == "ate":
        return None if truth.get("ate") is None else BuiltIn(truth["ate"], truth.get("mc_se"))
    same = [each for each in truth.get("others") or () if each["estimand"] == estimand and each.get("value") is not None]
    return BuiltIn(same[0]["value"], same[0].get("mc_se")) if same else None
