"""From a SPEC file and ``--set`` options to plain values."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Any

import yaml

from tasks.contract.errors import SpecError
from tasks.contract.spec import Spec, parse_spec

#: A SPEC of ten thousand columns with labels has fewer.
MOST_VALUES = 200_000


def load_spec(path: Path, settings: list[str], store: str | None = None) -> Spec:
    """Read a SPEC.

    Parameters
    ----------
    path : Path
        A ``.toml``, ``.yaml`` or ``.yml`` file.
    settings : list of str
        ``"dotted.key=value"``, the value a TOML literal or a bare word.
    store : str, optional
        Overrides ``store.uri``.

    Raises
    ------
    SpecError
        If the file can't be read or the SPEC is not valid.
    """
    values = read_values(path)
    for setting in settings:
        _apply(values, setting)
    if store is not None:
        _apply(values, f"store.uri={_quoted(store)}")
    return parse_spec(values)


def read_values(path: Path) -> dict[str, Any]:
    """Return the plain values of a SPEC file, not validated.

    Raises
    ------
    SpecError
        If it can't be read, or holds more values than ``MOST_VALUES``, as YAML's references to references can.
    """
    try:
        values = _parsed(path)
    except RecursionError:
        raise SpecError(f"SPEC must be nested a few levels deep; '{path}' is nested deeper than can be read.") from None
    level: list[Any] = [values]
    seen = 0
    while level:
        seen += len(level)
        if seen > MOST_VALUES:
            raise SpecError(f"SPEC must hold at most {MOST_VALUES:,} values; '{path}' holds more.", "Look for YAML aliases (*name).")
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = list(itertools.islice(itertools.chain.from_iterable(inner), MOST_VALUES + 1))
    return values


def _parsed(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise SpecError(f"SPEC must be a file that exists; got '{path}'.", "An example: examples/nhefs.toml.") from None
    except UnicodeDecodeError:
        raise SpecError(f"SPEC must be UTF-8 text; '{path}' is not.") from None
    except OSError as error:
        raise SpecError(f"SPEC must be readable; '{path}' is not ({error.strerror}).") from None
    try:
        if path.suffix.lower() == ".toml":
            return tomllib.loads(text)
        if path.suffix.lower() in {".yaml", ".yml"}:
            values = yaml.safe_load(text)
            if not isinstance(values, dict):
                raise SpecError(f"SPEC must be a mapping of keys; '{path}' holds something else.")
            return values
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"SPEC must be valid TOML; '{path}': {error}.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise SpecError(f"SPEC must be valid YAML; '{path}' is not{where}.") from None
    raise SpecError(f"SPEC must end in .toml, .yaml or .yml; got '{path}'.")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _apply(values: dict[str, Any], setting: str) -> None:
    """Set one dotted key."""
    key, equals, text = setting.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise SpecError(f"--set must be KEY=VALUE; got '{setting}'.", "For example --set release.rows=5000.")
    place = values
    for part in parts[:-1]:
        inner = place.setdefault(part, {})
        if not isinstance(inner, dict):
            raise SpecError(f"--set must name a key; '{key}' goes below '{part}', which is a value.")
        place = inner
    place[parts[-1]] = literal(text)


def literal(text: str) -> Any:
    """Read a TOML value; what is none is a bare word."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
