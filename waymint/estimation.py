"""Effects of a table or a release, from Python: what the command ``waymint estimate`` answers, with the same options."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from waymint.frames import located
from waymint.running import run_estimate

if TYPE_CHECKING:
    from waymint.results import Estimates, SurvivalEstimates

#: A cell's value.
Label: TypeAlias = str | int | float | bool


def estimate(
    data: Any,
    *,
    treatment: str | None = None,
    outcome: str | Sequence[str] | None = None,
    covariates: Sequence[str] | str = "*",
    exclude: Sequence[str] = (),
    treated: Label | None = None,
    control: Label | None = None,
    event: Label | None = None,
    outcome_kind: str = "auto",
    kinds: Mapping[str, str] | None = None,
    max_levels: int = 200,
    missing_outcome: str = "error",
    missing_treatment: str = "error",
    missing: Sequence[str] | None = None,
    missing_values: Mapping[str, Sequence[Label]] | None = None,
    csv: Mapping[str, Any] | None = None,
    horizon: float | None = None,
    times: Sequence[float] = (),
    cause: Label | None = None,
    subgroups: Sequence[str] = (),
    cluster: str | None = None,
    strata: Sequence[str] = (),
    weights: str | None = None,
    propensity: float | str | None = None,
    estimators: Sequence[str] | None = None,
    learner: str = "stack",
    folds: int = 5,
    repeats: int = 1,
    memory_rows: int = 1_000_000,
    fit_rows: int = 100_000,
    seed: int = 0,
    progress: bool = True,
) -> Estimates | SurvivalEstimates:
    """Estimate effects with OR, IPW, AIPW and TMLE, with overlap and balance, on any table or release.

    Parameters
    ----------
    data : frame, Release, str or Path
        A table in memory, a release, or the URI of either.
    treatment : str, optional
        Column; a release knows its own.
    outcome : str or sequence of str, optional
        Column, or several: each is estimated by itself, and none is a covariate of another.
    covariates : sequence of str or "*"
        Columns; "*" is all others.
    exclude : sequence of str
        Columns left out of "*".
    treated : label, optional
        The value of ``treatment`` that means treated, of two; 1 where left out.
    control : label, optional
        The value of the reference arm; needed with more than two arms.
    event : label, optional
        The value of a two-valued outcome that counts as 1; not needed for yes and no, 0 and 1. Of a survival outcome: its column of
        events.
    outcome_kind : {"auto", "binary", "continuous", "count", "survival"}
    kinds : mapping of str to str, optional
        Kinds of covariates that are not as their cells suggest: ``{"grade": "categorical"}``.
    max_levels : int
        Most levels of a categorical covariate, 2 to 5,000.
    missing_outcome : {"error", "drop", "ipcw"}
        "ipcw" keeps rows without outcome and weights by the chance to be observed.
    missing_treatment : {"error", "drop"}
    missing : sequence of str, optional
        Text cells of a CSV file that mean missing; the list of docs/tables.md where left out.
    missing_values : mapping of str to sequence of labels, optional
        Values of a column that mean missing: ``{"bmi": [-99]}``.
    csv : mapping, optional
        Dialect of CSV files: ``separator``, ``decimal``, ``encoding``, ``dates``; detected where left out.
    horizon : float, optional
        Of a survival outcome: the time that mean survival is restricted to, in units of the outcome.
    times : sequence of float
        Of a survival outcome: times of survival probabilities.
    cause : label, optional
        Of a survival outcome whose ``event`` column holds several causes: the label of the one of interest. 0 is censoring, other
        labels are competing causes, and what is estimated is the incidence of the cause and the time lost to it.
    subgroups : sequence of str
        Columns whose groups get effects of their own.
    cluster : str, optional
        Column of units whose rows are not independent: persons, villages. Not for a release.
    strata : sequence of str
        Covariates whose levels treatment was randomised within: folds and standard errors use them.
    weights : str, optional
        Column of row weights.
    propensity : float or str, optional
        Known P(treated), as in a trial: a number or a column.
    estimators : sequence of str, optional
        Among "or", "ipw", "aipw", "tmle", "att", "atc", "ato"; where left out, the first four, or those of survival.
    learner : str
        "stack", "glm", "boosted", "xgboost" or a plug-in.
    folds, repeats : int
        Of the cross-fitting.
    memory_rows : int
        Rows beyond which the table is not held in memory.
    fit_rows : int
        Beyond ``memory_rows``: rows that a learner gets at once, at least 200.
    seed : int
        Decides folds and the learner's randomness.
    progress : bool
        Write to stderr how far a long estimation is.

    Returns
    -------
    Estimates or SurvivalEstimates
        The latter of a survival outcome.

    Raises
    ------
    SpecError, SourceError, EstimationError, StoreError
        See docs/errors.md.
    """
    from waymint.results import Estimates, SurvivalEstimates

    outcomes = (outcome,) if isinstance(outcome, str) else tuple(outcome or ("",))
    named = {"treatment": treatment or "", "outcomes": outcomes, "covariates": _columns(covariates), "exclude": tuple(exclude)}
    arms = {key: label for key, label in (("treated", treated), ("control", control)) if label is not None}
    labels = {
        **arms,
        "event": event,
        "strata": tuple(strata),
        "outcome_kind": outcome_kind,
        "kinds": dict(kinds or {}),
        "max_levels": max_levels,
    }
    rows = {"missing_outcome": missing_outcome, "missing_treatment": missing_treatment, "subgroups": tuple(subgroups)}
    fits = {
        "estimators": tuple(estimators or ()),
        "learner": learner,
        "folds": folds,
        "repeats": repeats,
        "seed": seed,
    }
    curves = {"horizon": horizon, "times": tuple(times), "cause": cause}
    beside = {"cluster": cluster, "weights": weights, "propensity": propensity}
    sizes = {"memory_rows": memory_rows, "fit_rows": fit_rows, "reading": _reading(missing, missing_values, csv)}
    with contextlib.ExitStack() as stack:
        reply = run_estimate(located(data, stack), {**named, **labels, **rows}, {**fits, **curves, **beside, **sizes}, progress)
    # a release knows itself what its outcome is
    return (SurvivalEstimates if "curves" in reply else Estimates)(reply)


def _columns(covariates: Sequence[str] | str) -> str | tuple[str, ...]:
    if covariates == "*":
        return "*"
    return (covariates,) if isinstance(covariates, str) else tuple(covariates)


def _reading(missing: Sequence[str] | None, values: Mapping[str, Sequence[Label]] | None, csv: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the keys of a SPEC's source that say how cells are read."""
    reading: dict[str, Any] = {"missing_values": {name: tuple(each) for name, each in (values or {}).items()}}
    if missing is not None:
        reading["missing"] = tuple(missing)
    return reading | ({} if csv is None else {"csv": dict(csv)})
