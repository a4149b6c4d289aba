"""One way to extend: the file name is the key."""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from tasks.contract.errors import SpecError

KINDS: Mapping[str, str] = {
    "synthesizer": "tasks.covariates.methods",
    "learner": "tasks.nuisance.methods",
    "estimator": "tasks.estimation.methods",
    "survival": "tasks.estimation.survival.methods",
    "incidence": "tasks.estimation.incidence.methods",
    "check": "tasks.checks.methods",
    "attack": "tasks.audit.methods",
    "law": "tasks.mechanisms.laws.methods",
}

#: Packages that a key of a kind needs beyond a plain installation, and the extra that brings them.
NETWORKS = ("torch", "transformers", "peft")
EXTRAS: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    **{("synthesizer", name): ("networks", NETWORKS) for name in ("ctgan", "tvae", "diffusion", "llm")},
    ("learner", "xgboost"): ("xgboost", ("xgboost",)),
}


@functools.lru_cache(maxsize=32)
def _installed(kind: str, _path: tuple[str, ...]) -> Mapping[str, importlib.metadata.EntryPoint]:
    """List the entry points of a kind; reading every package's metadata takes longer than many a fit, so once per search path."""
    return {point.name: point for point in importlib.metadata.entry_points(group=f"waymint.{kind}")}


def names(kind: str) -> tuple[str, ...]:
    """List the keys of a kind without importing any of them.

    Parameters
    ----------
    kind : str
        A key of ``KINDS``.

    Returns
    -------
    tuple of str
        Files of the kind's folder and names of the entry-point group ``waymint.<kind>``, sorted.
    """
    package = importlib.import_module(KINDS[kind])
    modules = {module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")}
    return tuple(sorted(modules | set(_installed(kind, tuple(sys.path)))))


def plugins(kind: str) -> Mapping[str, Any]:
    """Import every plug-in of a kind.

    Parameters
    ----------
    kind : str
        A key of ``KINDS``.

    Returns
    -------
    mapping of str to module
        By the names of the entry points of the group ``waymint.<kind>``, sorted.
    """
    points = _installed(kind, tuple(sys.path))
    return {name: points[name].load() for name in sorted(points)}


def require(kind: str, name: str) -> None:
    """Refuse a name that is not known or whose packages are not installed, without importing anything of that kind.

    Raises
    ------
    SpecError
        With the nearest known name, or the command that installs the packages.
    """
    keys = names(kind)
    if name not in keys:
        close = difflib.get_close_matches(name, keys, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else ""
        raise SpecError(f"{kind} of SPEC must be one of {', '.join(keys)}; got '{name}'.", hint)
    extra, packages = EXTRAS.get((kind, name), ("", ()))
    absent = [package for package in packages if not _importable(package)]
    if absent:
        raise SpecError(
            f"packages of {kind} '{name}' must be installed; got no {', '.join(absent)}.",
            f"Run: pip install 'waymint[{extra}]'",
        )


def _importable(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # ValueError: a module without a spec
        return False


def resolve(kind: str, name: str, params: Mapping[str, object] | None = None) -> Any:
    """Import the file of that name, validate its ``Params`` and return the result of its ``build``.

    Parameters
    ----------
    kind : str
        A key of ``KINDS``.
    name : str
        The file's name without ending, or an entry point of the group ``waymint.<kind>``.
    params : mapping, optional
        Values for the file's ``Params`` model.

    Returns
    -------
    object
        Whatever ``build(Params(...))`` of that file returns.

    Raises
    ------
    SpecError
        If the name is not known or the parameters are not valid.
    """
    require(kind, name)
    points = _installed(kind, tuple(sys.path))
    module = points[name].load() if name in points else importlib.import_module(f"{KINDS[kind]}.{name}")
    model: type[BaseModel] = module.Params
    try:
        return module.build(model.model_validate(dict(params or {})))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "parameters"
        text = first["msg"].removeprefix("Value error, ")
        raise SpecError(
            f"{where} of {kind} '{name}' must be valid: {text[:1].lower()}{text[1:]}.",
            f"Parameters of '{name}': {', '.join(model.model_fields) or 'none'}.",
        ) from error
