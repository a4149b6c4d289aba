"""The command that estimates."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.options import JsonOption
from infra.cli.replies import call_entry


def estimate(
    data: Annotated[str, typer.Argument(metavar="DATA", help="a table (file, folder, glob, s3://, builtin:NAME) or a release")],
    treatment: Annotated[str, typer.Option(help="treatment column (a release knows its own)")] = "",
    outcome: Annotated[str, typer.Option(help="outcome column (a release knows its own)")] = "",
    covariates: Annotated[str, typer.Option(help='comma-separated columns, or "*" for all others')] = "*",
    treated: Annotated[str, typer.Option(help="the label that means 'treated', as a TOML value")] = "1",
    outcome_kind: Annotated[str, typer.Option(help="auto, binary, continuous or count")] = "auto",
    missing_outcome: Annotated[str, typer.Option(help="error or drop")] = "error",
    estimators: Annotated[str, typer.Option(help="comma-separated: or, ipw, aipw, tmle, att, atc, ato")] = "or,ipw,aipw,tmle",
    learner: Annotated[str, typer.Option(help="stack, glm, boosted or a plug-in")] = "stack",
    folds: Annotated[int, typer.Option(min=2, max=20)] = 5,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="cross-fittings whose predictions are averaged")] = 1,
    propensity: Annotated[str | None, typer.Option(metavar="NUMBER|COLUMN", help="known P(treated), as in a trial")] = None,
    weights: Annotated[str | None, typer.Option(metavar="COLUMN", help="row weights")] = None,
    memory_rows: Annotated[int, typer.Option(min=0, help="rows beyond which the table is not held in memory")] = 1_000_000,
    fit_rows: Annotated[
        int, typer.Option(min=200, help="beyond memory-rows: rows a learner gets at once; glm goes on from there to all rows")
    ] = 100_000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json_: JsonOption = False,
) -> None:
    """Estimate effects with OR, IPW, AIPW, TMLE, with overlap and balance, on any table or release."""
    from infra.specfile import literal

    roles = {
        "treatment": treatment,
        "outcome": outcome,
        "covariates": covariates if covariates == "*" else tuple(name.strip() for name in covariates.split(",")),
        "treated": literal(treated),
        "outcome_kind": outcome_kind,
        "missing_outcome": missing_outcome,
    }
    names = tuple(name.strip() for name in estimators.split(","))
    options = {
        "estimators": names,
        "learner": learner,
        "folds": folds,
        "repeats": repeats,
        "propensity": _number_or_name(propensity),
        "weights": weights,
        "memory_rows": memory_rows,
        "fit_rows": fit_rows,
        "seed": seed,
    }
    call_entry("estimate", "estimate", json_, data, roles, options)


def _number_or_name(text: str | None) -> float | str | None:
    """Read a number where there is one; all else names a column."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text
