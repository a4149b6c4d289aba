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
    """Return the outcome and the pair of arms that a summary, or one of its pairs, is of; empty where there is one of either."""
    arms = f"{each['arm']} − {each['control']}" if each.get("arm") is not None else ""
    return ": ".join(filter(None, (each.get("outcome"), arms)))


def row_line(row: Row) -> str:
    """Return a line for the log."""
    name = f"{row.synthesizer}, {row.mode}, seed {row.seed}"
    if row.refused is not None:
        return f"{name}: could not be made: {row.refused}"
    seen = [row.seen_by(number) for number in range(len(row.pairs))] or [row]
    error = max((scaled_error(each, MAIN) for each in seen), key=lambda value: abs(value or 0.0))
    gates = f"fails {', '.join(row.gates_failed)}" if row.gates_failed else "all gates hold"
    scored = [(row.scored_on(number), f" of {each.outcome}") for number, each in enumerate(row.outcomes)] or [(row, "")]
    scores = ", ".join(
        f"TSTR{of} {each.tstr_metric} {fixed(each.tstr, 3)} (source's own {fixed(each.tstr_source, 3)})" for each, of in scored
    )
    return f"{name}: {scores}, effect off by {fixed(error, 2)} SE, two-sample AUC {fixed(row.c2st_auc, 3)}, {gates}"


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
    measured = [each for each in summary if each["seeds"]]
    if any(pair_title(each) for each in measured):
        text += ["", f"Effect errors are those of the {worst_of(measured)} that is named: the worst one. The report has every one."]
    text += _by_outcome(measured)
    return [*text, "", reply["recommendation"]["reason"], f"report    {reply['uri']}/compare.html"]


def worst_of(measured: Sequence[Mapping[str, Any]]) -> str:
    """Return what the named effect of a summary is the worst of."""
    kinds = {"outcome": "outcome", "arm": "pair of arms"}
    return " and ".join(name for key, name in kinds.items() if measured[0].get(key) is not None)


def _by_outcome(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of several outcomes, each by itself; the table above it has the scores of the first."""
    names = [each["outcome"] for each in measured[0]["outcomes"]] if measured else []
    if not names:
        return []
    text = ["", f"By outcome; TSTR above is that of {names[0]}:"]
    text.append(f"{'outcome':<18}{'synthesizer':<18}{'mode':<8}{'TSTR':<24}{'effect error (OR, IPW, AIPW, TMLE; in SE of the source)'}")
    for number, name in enumerate(names):
        for each in measured:
            one = each["outcomes"][number]
            score = f"{one['tstr_metric']} {with_error(one['figures'].get('tstr'), 3)}"
            errors = ", ".join(with_error(one["scaled"].get(estimator), 2) for estimator in ESTIMATORS)
            worst = f"  {pair_title(one | {'outcome': None})}" if one["arm"] is not None else ""
            text.append(f"{name:<18}{each['synthesizer']:<18}{each['mode']:<8}{score:<24}{errors}{worst}")
    return text
