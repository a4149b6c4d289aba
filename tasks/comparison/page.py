"""The comparison's HTML page: two pictures, what to take and why, and every number behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tasks.comparison.reading import pair_title, with_error, worst_of
from tasks.comparison.row import ESTIMATORS
from tasks.comparison.scatter import Point, scatter
from tasks.comparison.summary import MAIN, NEAR_AUC, NEAR_RMSE, OFF
from tasks.pages.numbers import decimals_of, fixed, number, percent, seconds
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
        pictures=_pictures(record, measured),
        rows=[_line(each, effect["decimals"], record["recommendation"]) for each in summary],
        pitfalls=[_pitfall(view) for each in measured for view in _views(each) if view["pitfall"]],
        wrong=[_named(view) for each in measured for view in _views(each) if view["off"] and not view["pitfall"]],
        partly=[_partly(each) for each in measured if each["wrong"] and not each["off"]],
        unsure=[text for each in measured for text in _unsure(each)],
        held_out=percent(record["spec"]["source"]["holdout"]),
        names=NAMES,
        details=[_detail(row, effect["decimals"]) for row in record["rows"]],
        first=pair_title(measured[0]["pairs"][0]) if measured and measured[0]["pairs"] else "",
        pairs=[line for each in measured for line in _pair_lines(each)],
        worst=worst_of(measured) if measured else "",
        of_pairs=_title_of_pairs(measured),
        outcomes=record.get("outcomes", []),
        gaps=any("missing_gap" in each["figures"] for each in measured),
        curves=[line for each in measured for line in _curve_lines(each)],
        causes=[line for each in measured for line in _cause_lines(each)],
        horizon=_horizon(record),
        scores=[_score_line(view) for each in measured for view in _views(each) if record.get("outcomes")],
    )


def _horizon(record: Mapping[str, Any]) -> str:
    """Return the time that means are restricted to; empty where the outcome is no time to event."""
    outcome = record["spec"]["outcomes"].get(record["spec"]["roles"]["outcome"]) or {}
    return number(outcome["horizon"]) if outcome.get("kind") == "survival" else ""


def _curve_lines(each: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write the lines of the table of survival curves, one for each arm."""
    lines = []
    for arm in each["curves"]:
        decimals = decimals_of(arm["source_se"]["mean"])
        lines.append(
            {
                "synthesizer": each["synthesizer"],
                "mode": each["mode"],
                "arm": arm["arm"],
                "distance": with_error(arm["curve_distance"], 3),
                "rmst": with_error(arm["rmst_error"], decimals),
                "source": with_error(arm["source_rmst"], decimals),
                "se": with_error(arm["source_se"], decimals),
                "events": with_error(arm["event_error"], 3),
                "far": abs(arm["rmst_error"]["mean"]) > OFF * arm["source_se"]["mean"],
            }
        )
    return lines


def _cause_lines(each: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write the lines of the table of competing causes, one for each cause and arm."""
    lines = []
    for one in each["causes"]:
        decimals = decimals_of(one["source_se"]["mean"])
        lines.append(
            {
                "synthesizer": each["synthesizer"],
                "mode": each["mode"],
                "cause": one["cause"],
                "arm": one["arm"],
                "distance": with_error(one["incidence_distance"], 3),
                "lost": with_error(one["lost_error"], decimals),
                "source": with_error(one["source_lost"], decimals),
                "se": with_error(one["source_se"], decimals),
                "events": with_error(one["share_error"], 3),
                "far": abs(one["lost_error"]["mean"]) > OFF * one["source_se"]["mean"],
            }
        )
    return lines


def _views(each: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a summary as every one of several outcomes sees it; of one outcome itself."""
    return [{**each, **one} for one in each["outcomes"]] or [each]


def _named(each: Mapping[str, Any]) -> str:
    """Name a variant, and the outcome that a view of it is of."""
    return ", ".join(filter(None, (each["synthesizer"], each["mode"], each["outcome"])))


def _pair_of(row: Mapping[str, Any], each: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the effect of a row, or a summary, on the outcome and arms that a summary names; None where it has one effect."""
    named = ("outcome", "arm", "control")
    return next((pair for pair in row["pairs"] if all(pair[key] == each[key] for key in named)), None)


def _decimals(each: Mapping[str, Any]) -> int:
    """Return how many decimals effects have that a summary shows: by the source's standard error for the outcome and arms it names."""
    seen = _pair_of(each, each)
    error = each["figures"].get("source_se") if seen is None else seen["source_se"]
    return decimals_of(None if error is None else error["mean"])


def _title_of_pairs(measured: Sequence[Mapping[str, Any]]) -> str:
    """Return the heading of the table of every pair of arms, every outcome, or both; empty where there is one effect."""
    if not any(each["pairs"] for each in measured):
        return ""
    return {"outcome": "The effect on every outcome", "pair of arms": "Every pair of arms"}.get(
        worst_of(measured), "The effect of every pair of arms on every outcome"
    )


def _score_line(each: Mapping[str, Any]) -> dict[str, Any]:
    """Write one line of the table of scores by outcome."""
    figures, decimals = each["figures"], _decimals(each)
    return {
        "synthesizer": each["synthesizer"],
        "mode": each["mode"],
        "outcome": each["outcome"],
        "metric": each["tstr_metric"].upper(),
        "tstr": with_error(figures.get("tstr"), 3),
        "own": with_error(figures.get("tstr_source"), 3),
        "contrast": with_error(figures.get("contrast_term"), decimals),
        "law": with_error(figures.get("covariate_term"), decimals),
        "pitfall": each["pitfall"],
        "off": each["off"],
    }


def _mean(summaries: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Return a figure of the source, which all variants share, as the mean over those that have it."""
    means = [each["figures"][name]["mean"] for each in summaries if name in each["figures"]]
    return sum(means) / len(means) if means else None


def _source(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    effect, error = _mean(summaries, "source_effect"), _mean(summaries, "source_se")
    decimals = decimals_of(error)
    return {"effect": fixed(effect, decimals), "se": fixed(error, decimals), "decimals": decimals}


def _pictures(record: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Draw prediction against the effect, for every outcome, and closeness against the worst effect."""
    titles = list(dict.fromkeys(each["synthesizer"] for each in record["summary"]))
    views = [_views(each) for each in summaries]
    closeness = "share of released rows closer to training rows than to holdout"
    figures = [
        (
            "tstr",
            "Prediction against the effect" + (f": {seen[0]['outcome']}" if record.get("outcomes") else ""),
            f"TSTR: {METRICS[seen[0]['tstr_metric']]}",
            _mean(seen, "tstr_source"),
            "learnt from the source itself",
            seen,
        )
        for seen in zip(*views, strict=True)
    ]
    figures.append(("dcr_share", "Closeness against the effect", closeness, 0.5, "nothing leaks", tuple(summaries)))
    pictures = []
    for name, title, across, guide, guide_label, seen in figures:
        points = [point for each in seen if (point := _point(each, record["rows"], titles, name)) is not None]
        drawn = scatter(points, across, guide, guide_label, f"{title}, one mark per synthesizer and mode") if points else Markup("")
        pictures.append({"title": title, "svg": drawn})
    return pictures


def _point(each: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], titles: Sequence[str], name: str) -> Point | None:
    x, y = each["figures"].get(name), each["scaled"].get(MAIN)
    if x is None or y is None:
        return None
    of_variant = [row for row in rows if (row["synthesizer"], row["mode"]) == (each["synthesizer"], each["mode"])]
    seen = [(_scored(row, each)[name], _of_worst(row, each)) for row in of_variant]
    seeds = tuple(
        (x_of_seed, effect["effect_error"][MAIN] / effect["source_se"])
        for x_of_seed, effect in seen
        if x_of_seed is not None and effect["effect_error"][MAIN] is not None and effect["source_se"]
    )
    label = each["synthesizer"]
    return Point(label, titles.index(label), each["mode"], x["mean"], y["mean"], x["mcse"], y["mcse"], seeds)


def _of_worst(row: Mapping[str, Any], each: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the effect of a row that its summary shows: the worst one, of several outcomes or more than two arms."""
    return _pair_of(row, each) or row


def _scored(row: Mapping[str, Any], each: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row with the scores of the outcome that a summary, or a view of it, shows."""
    return next(({**row, **score} for score in row["outcomes"] if score["outcome"] == each["outcome"]), row)


def _pair_lines(each: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write the lines of the table of all effects; none where there is one."""
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
        for decimals in [_decimals({**each, **pair})]
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
        "estimates": _errors(each, _decimals(each)),
        "together": with_error(figures.get("spearman_gap"), 3),
        "missing": with_error(figures.get("missing_gap"), 3),
        "pair": pair_title(each),
        "root": with_error(each["size"], 2),
        "gates": failed or "all hold",
        "fit": seconds(_of(figures, "fit_seconds")),
        "sample": seconds(_of(figures, "sample_seconds")),
        "memory": fixed(_of(figures, "peak_mib"), 0),
    }


def _of(figures: Mapping[str, Any], name: str) -> float | None:
    return figures[name]["mean"] if name in figures else None


def _pitfall(each: Mapping[str, Any]) -> str:
    """Say in words where prediction hides a wrong effect."""
    figures, decimals, of_pair = each["figures"], _decimals(each), f"{title} " if (title := pair_title(each)) else ""
    named = f"on {of_pair}" if each["outcome"] is not None else of_pair
    score = f"{each['tstr_metric'].upper()} {fixed(_of(figures, 'tstr'), 3)} against {fixed(_of(figures, 'tstr_source'), 3)}"
    return (
        f"{each['synthesizer']}, mode {each['mode']}: a model learnt from its releases predicts the real rows as well as one learnt from "
        f"the real rows themselves ({score}), and yet the effect {named}in its releases is off by "
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
