"""The command that estimates."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from infra.cli.options import JsonOption
from infra.cli.replies import call_entry
from tasks.contract.errors import SpecError


def estimate(
    data: Annotated[str, typer.Argument(metavar="DATA", help="a table (file, folder, glob, s3://, builtin:NAME) or a release")],
    treatment: Annotated[str, typer.Option(help="treatment column (a release knows its own)")] = "",
    outcome: Annotated[str, typer.Option(help="outcome column (a release knows its own)")] = "",
    covariates: Annotated[str, typer.Option(help='comma-separated columns, or "*" for all others')] = "*",
    exclude: Annotated[str, typer.Option(help='comma-separated columns left out of "*"')] = "",
    treated: Annotated[str | None, typer.Option(help="the label that means 'treated', as a TOML value [default: 1]")] = None,
    control: Annotated[str | None, typer.Option(help="the label of the reference arm; needed with more than two arms")] = None,
    event: Annotated[str | None, typer.Option(help="the label of a two-valued outcome that counts as 1")] = None,
    cluster: Annotated[str | None, typer.Option(metavar="COLUMN", help="units whose rows are not independent: persons, villages")] = None,
    outcome_kind: Annotated[str, typer.Option(help="auto, binary, continuous or count")] = "auto",
    missing_outcome: Annotated[str, typer.Option(help="error or drop")] = "error",
    missing_treatment: Annotated[str, typer.Option(help="error or drop")] = "error",
    kind: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=KIND", help="overrides a covariate's kind, e.g. grade=categorical")
    ] = None,
    max_levels: Annotated[int, typer.Option(min=2, max=5000, help="most levels a categorical covariate may have")] = 200,
    missing: Annotated[str | None, typer.Option(help="comma-separated text cells that mean missing")] = None,
    missing_value: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="a value of a column that means missing, e.g. bmi=-99")
    ] = None,
    csv: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="the dialect of CSV files, e.g. decimal=, or dates.visit=%d.%m.%Y")
    ] = None,
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
        "outcome_kind": outcome_kind,
        "missing_outcome": missing_outcome,
        "missing_treatment": missing_treatment,
        "exclude": tuple(name.strip() for name in exclude.split(",") if name.strip()),
        "event": None if event is None else literal(event),
        "kinds": dict(_pair("kind", one) for one in kind or ()),
        "max_levels": max_levels,
    }
    roles |= {key: literal(label) for key, label in (("treated", treated), ("control", control)) if label is not None}
    names = tuple(name.strip() for name in estimators.split(","))
    options = {
        "estimators": names,
        "learner": learner,
        "folds": folds,
        "repeats": repeats,
        "propensity": _number_or_name(propensity),
        "weights": weights,
        "cluster": cluster,
        "reading": _reading(missing, missing_value or [], csv or []),
        "memory_rows": memory_rows,
        "fit_rows": fit_rows,
        "seed": seed,
    }
    call_entry("estimate", "estimate", json_, data, roles, options)


def _reading(missing: str | None, values: list[str], csv: list[str]) -> dict[str, Any]:
    """Return the keys of a SPEC's source that say how cells are read."""
    from infra.specfile import literal

    reading: dict[str, Any] = {"missing_values": {}}
    if missing is not None:
        reading["missing"] = tuple(code.strip() for code in missing.split(","))
    for name, value in (_pair("missing-value", one) for one in values):
        reading["missing_values"].setdefault(name, []).append(literal(value))
    dialect: dict[str, Any] = {}
    for key, value in (_pair("csv", one) for one in csv):
        if key.startswith("dates."):
            dialect.setdefault("dates", {})[key.removeprefix("dates.")] = value
        else:
            dialect[key] = "\t" if value in ("tab", "\\t") else value
    return reading | ({"csv": dialect} if dialect else {})


def _pair(option: str, text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not name:
        raise SpecError(f"--{option} must be NAME=VALUE; got '{text}'.", "Write the column's name, = and the value.")
    return name.strip(), value


def _number_or_name(text: str | None) -> float | str | None:
    """Read a number where there is one; all else names a column."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text
