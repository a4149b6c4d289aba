"""From what a caller gives (a frame, a SPEC in any form, keywords) to one SPEC."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tasks.contract.errors import SpecError
from waymint.frames import is_frame, stored

if TYPE_CHECKING:
    from tasks.contract.spec import Spec
    from waymint.results import Release

#: A SPEC: the model, its values, or the path of a TOML or YAML file.
SpecLike: TypeAlias = "Spec | Mapping[str, Any] | str | Path"
#: A frame, a SPEC, the URI of a table, or a release. Frames have no common type, hence Any.
Data: TypeAlias = "SpecLike | Release | Any"

ENDINGS = (".toml", ".yaml", ".yml")
SETTINGS_FORM = 'For example settings={"release.rows": 5_000}.'


@contextlib.contextmanager
def composed(data: Data, spec: SpecLike | None, given: Mapping[str, Any], settings: Mapping[str, Any] | None) -> Iterator[Spec]:
    """Compose a SPEC; a frame is kept on disk for the length of the block.

    Parameters
    ----------
    data : frame, SPEC, URI of a table or Release
        A text or path that ends in .toml, .yaml or .yml is a SPEC; any other is the URI of a table.
    spec : SPEC, optional
        Further settings, where ``data`` is a table.
    given : mapping
        Keywords by dotted keys; None is left out.
    settings : mapping, optional
        Further dotted keys; they win.

    Raises
    ------
    SpecError
        If the SPEC is not valid, or treatment or outcome is not named.
    SourceError
        If the frame can't be used.
    """
    with contextlib.ExitStack() as stack:
        values = _base(data, spec, stack)
        keys = {key: value for key, value in given.items() if value is not None} | dict(settings or {})
        for key, value in keys.items():
            _place(values, key, value)
        if "name" not in values:
            values["name"] = _default_name(values.get("roles", {}))
        yield _validated(values, is_frame(data))


def is_spec(value: object) -> bool:
    """Return whether a value is a SPEC in one of its forms, and no table."""
    from tasks.contract.spec import Spec

    return isinstance(value, Spec | Mapping) or (isinstance(value, str | Path) and str(value).lower().endswith(ENDINGS))


def _base(data: Data, spec: SpecLike | None, stack: contextlib.ExitStack) -> dict[str, Any]:
    """Return the values that keywords are laid over."""
    from waymint.results import Release

    if not isinstance(data, Release) and is_spec(data):
        if spec is not None:
            raise SpecError("spec must be given once; got a SPEC as data and another as spec.", "Give settings={...} to change keys.")
        return _values(data)
    values = {} if spec is None else _values(spec)
    if isinstance(data, Release):
        roles = data.manifest["spec"]["roles"]
        values["roles"] = {"treatment": roles["treatment"], "outcome": roles["outcome"]} | values.get("roles", {})
        values.setdefault("name", data.name)
        return _with_source(values, data.uri)
    if isinstance(data, str | Path):
        return _with_source(values, str(data))
    return _with_source(values, stack.enter_context(stored(data)))


def _with_source(values: dict[str, Any], uri: str) -> dict[str, Any]:
    return values | {"source": {**values.get("source", {}), "uri": uri}}


def _values(spec: SpecLike) -> dict[str, Any]:
    """Return the plain values of a SPEC, a deep copy."""
    from infra.specfile import read_values
    from tasks.contract.spec import Spec

    if isinstance(spec, Spec):
        return spec.model_dump(mode="json", exclude_unset=True)
    if isinstance(spec, Mapping):
        try:
            copied: dict[str, Any] = json.loads(json.dumps(dict(spec)))
        except (TypeError, ValueError) as error:
            raise SpecError(f"SPEC must hold plain values: text, numbers, lists and mappings; got another ({error}).") from None
        return copied
    return read_values(Path(spec))


def _place(values: dict[str, Any], key: str, value: Any) -> None:
    """Set one dotted key."""
    *above, last = key.split(".")
    place = values
    for part in above:
        inner = place.setdefault(part, {})
        if not isinstance(inner, dict):
            raise SpecError(f"settings must name keys; '{key}' goes below '{part}', which is a value.", SETTINGS_FORM)
        place = inner
    place[last] = value


def _default_name(roles: Mapping[str, Any]) -> str:
    """Name a release after its question, so that another question gets another name."""
    words = "-".join(str(roles[key]) for key in ("treatment", "outcome") if key in roles)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:60].strip("-") or "table"


def _validated(values: dict[str, Any], framed: bool) -> Spec:
    from tasks.contract.spec import parse_spec

    roles = values.get("roles", {})
    absent = [key for key in ("treatment", "outcome") if not (isinstance(roles, dict) and roles.get(key))]
    if absent:
        key = absent[0]
        raise SpecError(f"{key} must name a column; got nothing.", f'Give {key}="...", or roles.{key} in the SPEC.')
    spec = parse_spec(values)
    if framed and spec.engine.dask not in ("auto", "local", "threads"):
        raise SpecError(
            f"dask of engine must be 'auto', 'local' or 'threads' for a frame, which lies on this machine; got '{spec.engine.dask}'.",
            "Write the frame to a place that the workers reach, and give its URI.",
        )
    return spec
