"""A comparison as people read it: numbers with their errors, a line per variant, the lines at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.comparison.row import ESTIMATORS, Row
from tasks.comparison.summary import MAIN, scaled_error
from tasks.pages.numbers import fixed


def with_error(figure: Mapping[str, Any] | None, decimals: int) -> str:
    """Write a spread (``mean``, ``mcse``) with its Monte-Carlo error."""
    if figure is None:
        return "–"
    return fixed(figure["mean"], decimals) + ("" if figure["mcse"] is None else f" ± {fixed(figure['mcse'], decimals)}")


def pair_title(each: Mapping[str, Any]) -> str:
    """Return the pair of arms that a summary, or one of its pairs, is of; empty where there are only two arms."""
    return f"{each['arm']} − {each['control']}" if each.get("arm") is not None else ""


def row_line(row: Row) -> str:
    """Return a line for the log."""
    name = f"{row.synthesizer}, {row.mode}, seed {row.seed}"
    if row.refused is not None:
        return f"{name}: could not be made: {row.refused}"
    seen = [row.seen_by(number) for number in range(len(row.pairs))] or [row]
    error = max((scaled_error(each, MAIN) for each in seen), key=lambda value: abs(value or 0.0))
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
    text = [f"{head}effect error (OR, IPW, AIPW, TMLE; in SE of the source)"]
    for each in summary:
        name = f"{each['synthesizer']:<18}{each['mode']:<8}"
        if each["seeds"] == 0:
            text.append(f"{name}could not be made: {each['refused'][0]}")
            continue
        figures = each["figures"]
        cells = (with_error(figures.get(key), 3) for key in ("tstr", "c2st_auc", "dcr_share"))
        errors = ", ".join(with_error(each["scaled"].get(estimator), 2) for estimator in ESTIMATORS)
        mark = "  PITFALL: predicts well, effect wrong" if each["pitfall"] else ""
        mark = (f"  {worst}" if (worst := pair_title(each)) else "") + mark
        text.append(f"{name}{next(cells):<18}{next(cells):<18}{next(cells):<16}{errors}{mark}")
    if any(pair_title(each) for each in summary):
        text += ["", "Effect errors are those of the pair of arms that is named: the worst one. The report has every pair."]
    return [*text, "", reply["recommendation"]["reason"], f"report    {reply['uri']}/compare.html"]
