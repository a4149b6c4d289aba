"""The comparison's HTML page: two pictures, what to take and why, and every number behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tasks.comparison.reading import pair_title, with_error
from tasks.comparison.row import ESTIMATORS
from tasks.comparison.scatter import Point, scatter
from tasks.comparison.summary import MAIN, NEAR_AUC, NEAR_RMSE, OFF
from tasks.pages.numbers import decimals_of, fixed, percent, seconds
from tasks.pages.template import fill

METRICS = {"auc": "AUC (higher is better)", "rmse": "RMSE (lower is better)"}
NAMES = {"or": "OR", "ipw": "IPW", "aipw": "AIPW", "tmle": "TMLE"}


def render(record: Mapping[str, Any]) -> bytes:
    """Render the page.

    Parameters
    ----------
    record : mapping
        As :func:`tasks.comparison.task.answers` makes it.

    Returns
    -------
    bytes
        UTF-8 HTML without any reference to another file or host; the same bytes for the same record.
    """
    summary = record["summary"]
    measured = [each for each in summary if each["seeds"]]
    metric = next((each["tstr_metric"] for each in measured), "rmse")
    effect = _source(measured)
    return fill(
        Path(__file__).parent,
        "compare.html.j2",
        record=record,
        spec=record["spec"],
        metric=metric,
        metric_words=METRICS[metric],
        near=f"{NEAR_AUC:.2f} of AUC" if metric == "auc" else f"{NEAR_RMSE:.0%} of RMSE",
        off=f"{OFF:g}",
        source=effect,
        own_score=fixed(_mean(measured, "tstr_source"), 3),
        pictures=_pictures(record, measured, metric),
        rows=[_line(each, effect["decimals"], record["recommendation"]) for each in summary],
        pitfalls=[_pitfall(each, metric, effect["decimals"]) for each in measured if each["pitfall"]],
        wrong=[f"{each['synthesizer']}, {each['mode']}" for each in measured if each["off"] and not each["pitfall"]],
        partly=[_partly(each) for each in measured if each["wrong"] and not each["off"]],
        unsure=[text for each in measured for text in _unsure(each)],
        held_out=percent(record["spec"]["source"]["holdout"]),
        names=NAMES,
        details=[_detail(row, effect["decimals"]) for row in record["rows"]],
        first=pair_title(measured[0]["pairs"][0]) if measured and measured[0]["pairs"] else "",
        pairs=[line for each in measured for line in _pair_lines(each, effect["decimals"])],
    )


def _mean(summaries: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Return a figure of the source, which all variants share, as the mean over those that have it."""
    means = [each["figures"][name]["mean"] for each in summaries if name in each["figures"]]
    return sum(means) / len(means) if means else None


def _source(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    effect, error = _mean(summaries, "source_effect"), _mean(summaries, "source_se")
    decimals = decimals_of(error)
    return {"effect": fixed(effect, decimals), "se": fixed(error, decimals), "decimals": decimals}


def _pictures(record: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]], metric: str) -> list[dict[str, Any]]:
    titles = list(dict.fromkeys(each["synthesizer"] for each in record["summary"]))
    figures = (
        (
            "tstr",
            "Prediction against the effect",
            f"TSTR: {METRICS[metric]}",
            _mean(summaries, "tstr_source"),
            "learnt from the source itself",
        ),
        (
            "dcr_share",
            "Closeness against the effect",
            "share of released rows closer to training rows than to holdout",
            0.5,
            "nothing leaks",
        ),
    )
    pictures = []
    for name, title, across, guide, guide_label in figures:
        points = [point for each in summaries if (point := _point(each, record["rows"], titles, name)) is not None]
        drawn = scatter(points, across, guide, guide_label, f"{title}, one mark per synthesizer and mode") if points else Markup("")
        pictures.append({"title": title, "svg": drawn})
    return pictures


def _point(each: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], titles: Sequence[str], name: str) -> Point | None:
    x, y = each["figures"].get(name), each["scaled"].get(MAIN)
    if x is None or y is None:
        return None
    of_variant = [row for row in rows if (row["synthesizer"], row["mode"]) == (each["synthesizer"], each["mode"])]
    seen = [(row[name], _of_worst(row, each)) for row in of_variant]
    seeds = tuple(
        (x_of_seed, effect["effect_error"][MAIN] / effect["source_se"])
        for x_of_seed, effect in seen
        if x_of_seed is not None and effect["effect_error"][MAIN] is not None and effect["source_se"]
    )
    label = each["synthesizer"]
    return Point(label, titles.index(label), each["mode"], x["mean"], y["mean"], x["mcse"], y["mcse"], seeds)


def _of_worst(row: Mapping[str, Any], each: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the effect of a row that its summary shows: the worst pair's, of more than two arms."""
    worst = (each.get("arm"), each.get("control"))
    return next((pair for pair in row["pairs"] if (pair["arm"], pair["control"]) == worst), row)


def _pair_lines(each: Mapping[str, Any], decimals: int) -> list[dict[str, Any]]:
    """Write the lines of the table of all pairs; none where there are only two arms."""
    return [
        {
            "synthesizer": each["synthesizer"],
            "mode": each["mode"],
            "title": pair_title(pair),
            "source": with_error(pair["source_effect"], decimals),
            "se": with_error(pair["source_se"], decimals),
            "estimates": _errors(pair, decimals),
        }
        for pair in each["pairs"]
    ]


def _errors(each: Mapping[str, Any], decimals: int) -> list[dict[str, Any]]:
    """Write the effect errors of a summary or of one of its pairs, by estimator."""
    return [
        {
            "text": with_error(each["errors"].get(name), decimals),
            "scaled": with_error(each["scaled"].get(name), 1),
            "far": name in each["wrong"],
        }
        for name in ESTIMATORS
    ]


def _line(each: Mapping[str, Any], decimals: int, recommendation: Mapping[str, Any]) -> dict[str, Any]:
    """Write one line of both tables."""
    figures, total = each["figures"], each["seeds"]
    failed = ", ".join(f"{name} ({count})" if total > 1 else name for name, count in each["gates_failed"].items())
    return {
        **each,
        "taken": (each["synthesizer"], each["mode"]) == (recommendation["synthesizer"], recommendation["mode"]),
        "why": each["refused"][0] if each["refused"] else "",
        "tstr": with_error(figures.get("tstr"), 3),
        "auc": with_error(figures.get("c2st_auc"), 3),
        "share": with_error(figures.get("dcr_share"), 3),
        "contrast": with_error(figures.get("contrast_term"), decimals),
        "law": with_error(figures.get("covariate_term"), decimals),
        "people": with_error(figures.get("cate_ratio"), 2),
        "estimates": _errors(each, decimals),
        "pair": pair_title(each),
        "root": with_error(each["size"], 2),
        "gates": failed or "all hold",
        "fit": seconds(_of(figures, "fit_seconds")),
        "sample": seconds(_of(figures, "sample_seconds")),
        "memory": fixed(_of(figures, "peak_mib"), 0),
    }


def _of(figures: Mapping[str, Any], name: str) -> float | None:
    return figures[name]["mean"] if name in figures else None


def _pitfall(each: Mapping[str, Any], metric: str, decimals: int) -> str:
    """Say in words where prediction hides a wrong effect."""
    figures, of_pair = each["figures"], f"{title} " if (title := pair_title(each)) else ""
    score = f"{metric.upper()} {fixed(_of(figures, 'tstr'), 3)} against {fixed(_of(figures, 'tstr_source'), 3)}"
    return (
        f"{each['synthesizer']}, mode {each['mode']}: a model learnt from its releases predicts the real rows as well as one learnt from "
        f"the real rows themselves ({score}), and yet the effect {of_pair}on its releases is off by "
        f"{with_error(each['errors'][MAIN], decimals)}, that is {fixed(abs(each['scaled'][MAIN]['mean']), 1)} standard errors."
    )


def _partly(each: Mapping[str, Any]) -> str:
    """Name the estimators whose effect is off where TMLE's is not."""
    return f"{each['synthesizer']}, {each['mode']} ({', '.join(_scaled(each, name) for name in each['wrong'])})"


def _unsure(each: Mapping[str, Any]) -> list[str]:
    """Name means that are far from zero while the comparison's own noise may explain them."""
    far = [name for name, figure in each["scaled"].items() if abs(figure["mean"]) > OFF and name not in each["wrong"]]
    return [f"{each['synthesizer']}, {each['mode']} ({', '.join(_scaled(each, name) for name in far)})"] if far else []


def _scaled(each: Mapping[str, Any], name: str) -> str:
    return f"{NAMES[name]} {with_error(each['scaled'][name], 1)} SE"


def _detail(row: Mapping[str, Any], decimals: int) -> dict[str, Any]:
    """Write one line of the table of all seeds."""
    return {
        **row,
        "errors": [fixed(row["effect_error"][name], decimals) for name in ESTIMATORS],
        "auc": "–"
        if row["c2st_auc"] is None
        else f"{fixed(row['c2st_auc'], 3)} ({fixed(row['c2st_low'], 3)} to {fixed(row['c2st_high'], 3)})",
        "contrast": fixed(row["contrast_term"], decimals),
        "law": fixed(row["covariate_term"], decimals),
        "effect": fixed(row["source_effect"], decimals),
        "failed": ", ".join(row["gates_failed"]) or ("all hold" if row["refused"] is None else "–"),
    }
