"""Pictures of propensities by arm: treated above the line, controls below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from tasks.pages.axis import Axis, nice_step
from tasks.pages.numbers import percent
from tasks.pages.svg import bar, drawing, line, words
from tasks.report.disclosure import rounded

WIDTH, HEIGHT = 440.0, 196.0
_AXIS = Axis(0.0, 1.0, 64.0, 432.0)
_TOP, _BOTTOM = 8.0, 160.0


def arm_shares(overlap: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the overlap record's counts per bin and arm into shares of all rows.

    Parameters
    ----------
    overlap : mapping
        ``n``, ``bound``, ``histogram0``, ``histogram1`` (None where suppressed); with survey weights ``share0`` and ``share1``.

    Returns
    -------
    dict
        ``bound``, ``treated``, ``control``: shares from counts rounded to five rows, so that suppressed cells can't be found by
        subtraction from an arm's rows; None where suppressed.
    """
    if "share1" in overlap:  # of the weighted population
        return {"bound": overlap["bound"], "treated": list(overlap["share1"]), "control": list(overlap["share0"])}
    names = {"treated": "histogram1", "control": "histogram0"}
    shares = {
        arm: [None if count is None else (rounded(count) or 0) / overlap["n"] for count in overlap[name]] for arm, name in names.items()
    }
    return {"bound": overlap["bound"], **shares}


def overlap_plot(where: str, arms: Mapping[str, Any]) -> Markup:
    """Draw one table's propensities.

    Parameters
    ----------
    where : str
        ``"source"`` or ``"release"``.
    arms : mapping
        As :func:`arm_shares` returns it.
    """
    treated, control = ([value or 0.0 for value in arms[arm]] for arm in ("treated", "control"))
    top, bottom = max([*treated, 1e-9]), max([*control, 1e-9])
    unit = (_BOTTOM - _TOP) / (top + bottom)
    middle = _TOP + unit * top
    width = (_AXIS.end - _AXIS.start) / len(treated)
    parts = []
    step = nice_step(max(top, bottom) / 3)
    for sign, arm in ((1.0, top), (-1.0, bottom)):
        for number in range(1, int(arm / step + 1e-9) + 1):
            y = middle - sign * number * step * unit
            parts += [line(_AXIS.start, y, _AXIS.end, y, "grid"), words(_AXIS.start - 6.0, y + 4.0, percent(number * step), "tick", "end")]
    for place, (up, down) in enumerate(zip(treated, control)):
        x = _AXIS.start + place * width
        parts.append(bar(x + 0.5, middle - up * unit, width - 1.0, up * unit, where))
        parts.append(bar(x + 0.5, middle, width - 1.0, down * unit, f"{where} soft"))
    parts += [line(_AXIS.at(bound), _TOP - 6.0, _AXIS.at(bound), _BOTTOM + 4.0, "bound") for bound in (arms["bound"], 1.0 - arms["bound"])]
    parts.append(line(_AXIS.start, middle, _AXIS.end, middle, "axis"))
    parts += [words(_AXIS.at(value), _BOTTOM + 18.0, f"{value:g}") for value in (0.0, 0.25, 0.5, 0.75, 1.0)]
    parts.append(words((_AXIS.start + _AXIS.end) / 2, _BOTTOM + 34.0, "propensity: chance of being treated, given the covariates"))
    parts += [words(0.0, middle - 6.0, "treated", "label", "start"), words(0.0, middle + 14.0, "control", "label", "start")]
    return drawing(WIDTH, HEIGHT, f"Propensities of the {where} by arm", parts)
