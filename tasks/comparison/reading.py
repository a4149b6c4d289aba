"""A comparison as people read it: numbers with their errors, a line per variant, the lines at the end of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.comparison.row import ESTIMATORS, Row
from tasks.comparison.summary import MAIN, scaled_error

MINUS = "−"
DASH = "–"


def fixed(value: float | None, decimals: int) -> str:
    """Write a number with so many decimals and a true minus; a dash for what is not there."""
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:,.{decimals}f}"
    # no minus before a number that is zero as written
    return text.lstrip("-") if float(text.replace(",", "")) == 0.0 else text.replace("-", MINUS)


def decimals_for(error: float | None) -> int:
    """Return how many decimals a number with this error deserves: two digits of the error."""
    if error is None or not math.isfinite(error) or error <= 0.0:
        return 3
    return min(max(1 - math.floor(math.log10(error)), 0), 9)


def with_error(found: Mapping[str, Any] | None, decimals: int) -> str:
    """Write a spread (``mean``, ``mcse``) with its Monte-Carlo error."""
    if found is None:
        return DASH
    return fixed(found["mean"], decimals) + ("" if found["mcse"] is None else f" ± {fixed(found['mcse'], decimals)}")


def seconds(value: float | None) -> str:
    """Write seconds, with decimals where they are few."""
    return DASH if value is None else fixed(value, 2 if value < 10 else 1 if value < 100 else 0)


def row_line(row: Row) -> str:
    """Return a line for the log."""
    name = f"{row.synthesizer}, {row.mode}, seed {row.seed}"
    if row.refused is not None:
        return f"{name}: could not be made: {row.refused}"
    error = scaled_error(row, MAIN)
    gates = f"fails {', '.join(row.gates_failed)}" if row.gates_failed else "all gates hold"
    return (
        f"{name}: TSTR {row.tstr_metric} {fixed(row.tstr, 3)} (source's own {fixed(row.tstr_source, 3)}), "
        f"effect off by {fixed(error, 2)} SE, two-sample AUC {fixed(row.c2st_auc, 3)}, {gates}"
    )


def lines(reply: Mapping[str, Any]) -> list[str]:
    """Return the lines a user reads at the end of a comparison."""
    summary: Sequence[Mapping[str, Any]] = reply["summary"]
    metric = next((each["tstr_metric"] for each in summary if each["tstr_metric"]), "")
    head = f"{'synthesizer':<18}{'mode':<8}{f'TSTR {metric}':<18}{'two-sample AUC':<18}{'DCR share':<16}"
    found = [f"{head}effect error (OR, IPW, AIPW, TMLE; in SE of the source)"]
    for each in summary:
        name = f"{each['synthesizer']:<18}{each['mode']:<8}"
        if each["seeds"] == 0:
            found.append(f"{name}could not be made: {each['refused'][0]}")
            continue
        figures = each["figures"]
        cells = (with_error(figures.get(key), 3) for key in ("tstr", "c2st_auc", "dcr_share"))
        errors = ", ".join(with_error(each["scaled"].get(estimator), 2) for estimator in ESTIMATORS)
        mark = "  PITFALL: predicts well, effect wrong" if each["pitfall"] else ""
        found.append(f"{name}{next(cells):<18}{next(cells):<18}{next(cells):<16}{errors}{mark}")
    return [*found, "", reply["recommendation"]["reason"], f"report    {reply['uri']}/compare.html"]
