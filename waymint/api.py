"""The functions of the package that run a flow. Each composes a SPEC, runs the flow of the same name and wraps its reply."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from waymint.composing import Data
from waymint.frames import located
from waymint.keywords import Keywords, spelled_out
from waymint.running import call, run_audit, run_composed, run_more

if TYPE_CHECKING:
    from waymint.results import Audit, Comparison, Release, Simulation


@spelled_out
def release(data: Data, **keywords: Unpack[Keywords]) -> Release:
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
        Write stages to stderr; True where left out.

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

    return Release.of(run_composed("release", data, **keywords))


@spelled_out
def augment(data: Data, **keywords: Unpack[Keywords]) -> Release:
    """Add synthetic rows where a treatment arm is missing; published only where they help.

    Parameters and errors are those of :func:`release`; the section ``augment`` of the SPEC says how.

    Returns
    -------
    Release
        Its ``frame()`` holds the added rows alone.
    """
    from waymint.results import Release

    return Release.of(run_composed("augment", data, **keywords))


@spelled_out
def simulate(data: Data, **keywords: Unpack[Keywords]) -> Simulation:
    """Try estimators on data like the table's, with known truth.

    Parameters are those of :func:`release`; ``data`` may also be a :class:`Release` that kept its mechanisms. The section ``simulate``
    of the SPEC says what is tried.

    Returns
    -------
    Simulation
    """
    from waymint.results import Simulation

    return Simulation(run_composed("simulate", data, **keywords))


@spelled_out
def compare(data: Data, **keywords: Unpack[Keywords]) -> Comparison:
    """Compare synthesizers on one table: prediction, closeness to real rows, error of the effect.

    Parameters are those of :func:`release`; the section ``compare`` of the SPEC says what takes part.

    Returns
    -------
    Comparison
    """
    from waymint.results import Comparison

    return Comparison(run_composed("compare", data, **keywords))


def audit(
    release: Release | str,
    source: Any = None,
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
        The table it was minted from, its URI, or the release's SPEC file; where left out, the source that the manifest records.
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
        table = "" if source is None else located(source, stack)
        planted = None if canaries is None else located(canaries, stack)
        return Audit(run_audit(uri, table, wanted, planted, texts, progress))


def more(
    release: Release | str,
    rows: int,
    where: str = "",
    source: Any = None,
    *,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Release:
    """Draw further rows of a published release from the same models: a new version, gated again.

    Parameters
    ----------
    release : Release or str
        A release, or its URI.
    rows : int
        Further rows of each copy.
    where : str
        Condition on covariates that every row meets, such as ``"age > 60 and sex == 'f'"``.
    source : frame, str or Path
        The table it was minted from, its URI, or the release's SPEC file. Where left out: the models that the release kept
        (``release.keep_models``), else the source that the manifest records.
    settings : mapping, optional
        How to run: dotted keys below ``engine``.
    progress : bool
        Write stages to stderr.

    Returns
    -------
    Release

    Raises
    ------
    GateFailed
        If a gate failed and nothing was published.
    SourceError, EstimationError
        If source, code or packages give other models than the release's.
    SpecError, StoreError
        See docs/errors.md.
    """
    from waymint.results import Release

    uri = release if isinstance(release, str) else release.uri
    texts = [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]
    with contextlib.ExitStack() as stack:
        table = None if source is None else located(source, stack)
        return Release.of(run_more(uri, rows, table, texts, where, progress))


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
