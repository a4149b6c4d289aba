"""The command that estimates."""

from __future__ import annotations

from typing import Any

from infra.cli import estimation_options as given
from infra.cli.options import JsonOption
from infra.cli.progress import suggest
from infra.cli.replies import call_entry
from tasks.contract.errors import SpecError


def estimate(
    data: given.Data,
    treatment: given.Treatment = "",
    outcome: given.Outcome = None,
    covariates: given.Covariates = "*",
    exclude: given.Exclude = "",
    treated: given.Treated = None,
    control: given.Control = None,
    event: given.Event = None,
    cluster: given.Cluster = None,
    strata: given.Strata = "",
    outcome_kind: given.OutcomeKind = "auto",
    missing_outcome: given.MissingOutcome = "error",
    missing_treatment: given.MissingTreatment = "error",
    kind: given.Kind = None,
    max_levels: given.MaxLevels = 200,
    missing: given.Missing = None,
    missing_value: given.MissingValue = None,
    csv: given.Csv = None,
    horizon: given.Horizon = None,
    times: given.Times = "",
    cause: given.Cause = None,
    estimators: given.Estimators = "",
    learner: given.Learner = "stack",
    folds: given.Folds = 5,
    repeats: given.Repeats = 1,
    propensity: given.Propensity = None,
    weights: given.Weights = None,
    memory_rows: given.MemoryRows = 1_000_000,
    fit_rows: given.FitRows = 100_000,
    seed: given.Seed = 0,
    json_: JsonOption = False,
) -> None:
    """Estimate effects with OR, IPW, AIPW, TMLE, with overlap and balance, on any table or release."""
    outcomes = tuple(outcome or ("",))
    columns = {"treatment": treatment, "outcomes": outcomes, "covariates": covariates if covariates == "*" else _names(covariates)}
    arms = {key: _literal(label) for key, label in (("treated", treated), ("control", control)) if label is not None}
    labels = {**arms, "event": _literal(event), "exclude": _names(exclude), "strata": _names(strata)}
    missing_rows = {"missing_outcome": missing_outcome, "missing_treatment": missing_treatment}
    kinds = {"outcome_kind": outcome_kind, "kinds": dict(_pair("kind", one) for one in kind or ()), "max_levels": max_levels}
    models = {"estimators": _names(estimators), "learner": learner, "folds": folds, "repeats": repeats, "seed": seed}
    beside = {"propensity": _number_or_name(propensity), "weights": weights, "cluster": cluster}
    curves = {"horizon": horizon, "times": _times(times), "cause": _literal(cause)}
    sizes = {"memory_rows": memory_rows, "fit_rows": fit_rows}
    options = {**models, **beside, **sizes, **curves, "reading": _reading(missing, missing_value or [], csv or [])}
    reply = call_entry("estimate", "estimate", json_, data, {**columns, **labels, **missing_rows, **kinds}, options)
    ended = "combined" in reply or cause is not None  # of a release, or of what `init` knows nothing of
    reference = "" if control is None else f" --control {control}"
    suggest("" if ended else f"waymint init {data} --treatment {treatment} --outcome {outcomes[0]}{reference}", json_)


def _times(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(time) for time in _names(text))
    except ValueError:
        raise SpecError(f"--times must be numbers; got '{text}'.", "Separate them by commas: --times 365,730.") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _literal(text: str | None) -> Any:
    """Read a label as a TOML value; None stays None."""
    from infra.specfile import literal

    return None if text is None else literal(text)


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
