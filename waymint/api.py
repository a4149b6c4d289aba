"""The functions of the package. Each composes a SPEC, runs the flow of the same name and wraps its reply."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.targeting.estimators import ATE
from waymint.composing import Data, SpecLike
from waymint.frames import located
from waymint.running import call, run_audit, run_composed, run_estimate

if TYPE_CHECKING:
    from waymint.results import Audit, Comparison, Estimates, Release, Simulation


def release(
    data: Data,
    *,
    treatment: str | None = None,
    outcome: str | None = None,
    name: str | None = None,
    store: str | Path | None = None,
    spec: SpecLike | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Release:
    """Mint a versioned, gated synthetic release of a table.

    Parameters
    ----------
    data : frame, SPEC or URI
        A pandas, polars or pyarrow table; or a SPEC (a ``Spec``, a dictionary, the path of a .toml or .yaml file); or the URI of a table:
        a Parquet or CSV file, a folder, ``s3://...``, ``builtin:NAME``.
    treatment, outcome : str, optional
        Columns; needed unless the SPEC names them.
    name : str, optional
        Name in the store; by default from treatment and outcome.
    store : str or Path, optional
        Where the release lands; by default ``./releases``.
    spec : SPEC, optional
        Further keys, where ``data`` is a table.
    settings : mapping, optional
        Dotted keys of the SPEC, as ``--set`` takes them: ``{"release.rows": 5_000}``. They win.
    progress : bool
        Write stages to stderr.

    Returns
    -------
    Release

    Raises
    ------
    GateFailed
        If a gate failed and nothing was published; its ``reply`` has the gates.
    SpecError, SourceError, EstimationError, StoreError
        See docs/errors.md.

    Notes
    -----
    A frame is written as Parquet to a temporary folder that only its owner can read, and removed at the end. The run is the one of
    ``waymint release``: same SPEC, same rows, same bytes.
    """
    from waymint.results import Release

    return Release.of(run_composed("release", data, (treatment, outcome, name, store), spec, settings, progress))


def augment(
    data: Data,
    *,
    treatment: str | None = None,
    outcome: str | None = None,
    name: str | None = None,
    store: str | Path | None = None,
    spec: SpecLike | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Release:
    """Add synthetic rows where a treatment arm is missing; published only where they help.

    Parameters and errors are those of :func:`release`; the section ``augment`` of the SPEC says how.

    Returns
    -------
    Release
        Its ``frame()`` holds the added rows alone.
    """
    from waymint.results import Release

    return Release.of(run_composed("augment", data, (treatment, outcome, name, store), spec, settings, progress))


def simulate(
    data: Data,
    *,
    treatment: str | None = None,
    outcome: str | None = None,
    name: str | None = None,
    store: str | Path | None = None,
    spec: SpecLike | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Simulation:
    """Try estimators on data like the table's, with known truth.

    Parameters are those of :func:`release`; ``data`` may also be a :class:`Release` that kept its mechanisms. The section ``simulate``
    of the SPEC says what is tried.

    Returns
    -------
    Simulation
    """
    from waymint.results import Simulation

    return Simulation(run_composed("simulate", data, (treatment, outcome, name, store), spec, settings, progress))


def compare(
    data: Data,
    *,
    treatment: str | None = None,
    outcome: str | None = None,
    name: str | None = None,
    store: str | Path | None = None,
    spec: SpecLike | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Comparison:
    """Compare synthesizers on one table: prediction, closeness to real rows, error of the effect.

    Parameters are those of :func:`release`; the section ``compare`` of the SPEC says what takes part.

    Returns
    -------
    Comparison
    """
    from waymint.results import Comparison

    return Comparison(run_composed("compare", data, (treatment, outcome, name, store), spec, settings, progress))


def audit(
    release: Release | str,
    source: Any,
    *,
    attacks: str | Sequence[str] = "all",
    canaries: Any = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Audit:
    """Attack a published release, with its source at hand.

    Parameters
    ----------
    release : Release or str
        A release, or its URI.
    source : frame, str or Path
        The table it was minted from, its URI, or the release's SPEC file.
    attacks : "all" or sequence of str
        Which attacks.
    canaries : frame or str, optional
        Rows that were planted in the source.
    settings : mapping, optional
        How to run: dotted keys below ``engine``.
    progress : bool
        Write stages to stderr.

    Returns
    -------
    Audit

    Raises
    ------
    SourceError
        If the source is not the one that the release was minted from.
    SpecError, StoreError
        See docs/errors.md.
    """
    from waymint.results import Audit

    wanted = attacks if isinstance(attacks, str) else ",".join(attacks)
    uri = release if isinstance(release, str) else release.uri
    texts = [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]
    with contextlib.ExitStack() as stack:
        table = located(source, stack)
        planted = None if canaries is None else located(canaries, stack)
        return Audit(run_audit(uri, table, wanted, planted, texts, progress))


def estimate(
    data: Any,
    *,
    treatment: str | None = None,
    outcome: str | None = None,
    covariates: Sequence[str] | str = "*",
    treated: str | int | float | bool | None = None,
    control: str | int | float | bool | None = None,
    outcome_kind: str = "auto",
    missing_outcome: str = "error",
    subgroups: Sequence[str] = (),
    estimators: Sequence[str] = ATE,
    learner: str = "stack",
    folds: int = 5,
    repeats: int = 1,
    propensity: float | str | None = None,
    weights: str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Estimates:
    """Estimate effects with OR, IPW, AIPW and TMLE, with overlap and balance, on any table or release.

    Parameters
    ----------
    data : frame, Release, str or Path
        A table in memory, a release, or the URI of either.
    treatment, outcome : str, optional
        Columns; a release knows its own.
    covariates : sequence of str or "*"
        Columns; "*" is all others.
    treated : label
        The value of ``treatment`` that means treated; by default 1, or the one beside ``control``.
    control : label
        The value of the reference arm; needed where ``treatment`` has more than two values (at most eight).
    outcome_kind : {"auto", "binary", "continuous", "count"}
    missing_outcome : {"error", "drop"}
    subgroups : sequence of str
        Columns whose groups get effects of their own.
    estimators : sequence of str
        Among "or", "ipw", "aipw", "tmle", "att", "atc", "ato".
    learner : str
        "stack", "glm", "boosted" or a plug-in.
    folds, repeats : int
        Of the cross-fitting.
    propensity : float or str, optional
        Known P(treated), as in a trial: a number or a column.
    weights : str, optional
        Column of row weights.
    seed : int
        Decides folds and the learner's randomness.
    progress : bool
        Write to stderr how far a long estimation is.

    Returns
    -------
    Estimates

    Raises
    ------
    SpecError, SourceError, EstimationError, StoreError
        See docs/errors.md.
    """
    from waymint.results import Estimates

    roles = {
        "treatment": treatment or "",
        "outcome": outcome or "",
        "covariates": covariates if covariates == "*" else tuple([covariates] if isinstance(covariates, str) else covariates),
        "treated": treated,
        "control": control,
        "outcome_kind": outcome_kind,
        "missing_outcome": missing_outcome,
        "subgroups": tuple(subgroups),
    }
    models = {"estimators": tuple(estimators), "learner": learner, "folds": folds, "repeats": repeats}
    options = {**models, "propensity": propensity, "weights": weights, "seed": seed}
    with contextlib.ExitStack() as stack:
        return Estimates(run_estimate(located(data, stack), roles, options, progress))


def load(uri: str | Path) -> Release:
    """Open a published release; only its manifest is read.

    Parameters
    ----------
    uri : str or Path
        ``STORE/NAME`` (the latest version), ``STORE/NAME@VERSION`` or the folder of a release; also on ``s3://``.

    Returns
    -------
    Release

    Raises
    ------
    SpecError
        If the URI names no release.
    StoreError
        If there is none, or its manifest is damaged.
    """
    from waymint.results import Release

    return call(lambda: Release.load(str(uri)))
