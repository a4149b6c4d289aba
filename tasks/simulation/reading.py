"""A simulation as people read it at the end of a run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.simulation.contrasts import COMPLETE, ROWS, by_contrast, contrast_of, first_control
from tasks.simulation.page import TYPE1, headlines, is_null
from tasks.simulation.sizes_page import power_lines
from tasks.targeting.estimators import UNADJUSTED

ABSENT = "–"


def lines(reply: Mapping[str, Any]) -> list[str]:
    """Return the lines a user reads at the end of a simulation.

    Parameters
    ----------
    reply : mapping
        As ``--json`` prints it.
    """
    law, copies = "fitted law", reply["source"].get("copies")
    if copies is not None:
        law = f"law of {reply['source']['uri']}" + (f", copy 0 of {copies}" if copies > 1 else "")
    control, outcomes = first_control(reply["rows"]), reply.get("outcomes", ())
    first = contrast_of(reply["rows"][0])
    compared = f" of {first.title}" if first.title else ""
    text = [f"true effect (ATE{compared}) of the {law}: {reply['truth']:.5g} (Monte-Carlo SE {reply['truth_se']:.2g})"]
    for each in outcomes[1:]:
        of = first._replace(outcome=each["outcome"]).title
        text.append(f"true effect (ATE of {of}): {each['truth']:.5g} (Monte-Carlo SE {each['truth_se']:.2g})")
    for each in outcomes:
        if each["missing"]:
            text.append(f"{each['outcome']} is missing in {each['missing']:.1%} of the rows, at random given covariates and treatment")
    for title, of_cell in itertools.groupby(reply["rows"], key=lambda row: str(row["title"])):
        for contrast, rows in by_contrast(list(of_cell)).items():
            if contrast.control == control:
                text += _cell(", ".join(filter(None, (title, contrast.title))), rows)
    if any(row["estimator"] == COMPLETE for row in reply["rows"]):
        text += ["", f"{COMPLETE}: AIPW on the rows that have the outcome; it is shown for comparison and never recommended."]
    if "clusters" in reply:
        text += ["", f"{ROWS}: AIPW with the standard error that takes rows of a cluster as independent; it is never recommended."]
    if control is not None:
        text += ["", f"Arms are compared with '{control}' here; every other pair, and simultaneous intervals, are in the report."]
    shown = [each for each in reply.get("sizes", []) if each.get("control") == control]
    text += power_lines(shown) if any(len(each["sizes"]) > 1 or each["estimator"] in UNADJUSTED for each in shown) else []
    text += ["", *headlines(reply), "", *(f"warning   {caution}" for caution in reply["cautions"])]
    return [*text, f"report    {reply['uri']}/simulate.html"]


def _cell(title: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of one cell; without an effect the share of intervals without 0 is the type-1 error."""
    null = is_null(rows)
    name = "type-1" if null else "power"
    head = f"{'estimator':<14}{'bias':>10}{'RMSE':>10}{'coverage':>10}{'width':>10}{name:>9}{'failed':>8}{'runs':>7}"
    text = ["", title, head, *(_row(row) for row in rows)]
    if null:
        text.append(f"type-1: type-1 error, the share of intervals without 0 though there is no effect; {TYPE1:.0%} is meant")
    return text


def _row(row: Mapping[str, Any]) -> str:
    if row["rmse"] is None:  # of a test there is power alone
        numbers = f"{ABSENT:>10}" * 4 + (f"{ABSENT:>9}" if row["power"] is None else f"{row['power']:>9.1%}")
    else:
        numbers = f"{row['bias']:>10.4g}{row['rmse']:>10.4g}{row['coverage']:>10.1%}{row['ci_width']:>10.4g}{row['power']:>9.1%}"
    return f"{row['estimator']:<14}{numbers}{row['failures']:>8.1%}{row['replicates']:>7}"
