"""What differs between two releases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.publish.manifest import Manifest

_SE_KEYS = ("se", "mc_se")


class Change(BaseModel):
    """One key that differs; None where a side lacks it."""

    model_config = ConfigDict(frozen=True)

    key: str
    left: Any
    right: Any


class EffectChange(BaseModel):
    """One effect on both sides.

    ``se`` is that of the difference of two independent estimates, sqrt(se_left^2 + se_right^2); releases of one
    source share its sampling error, so for them it is an upper bound of sorts, and ``z`` = difference / se is small.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    left: float | None
    right: float | None
    difference: float | None
    se: float | None
    z: float | None


class Difference(BaseModel):
    """All that differs from ``left`` to ``right``; effects are listed whether they differ or not.

    ``data`` is whether both have the same Parquet parts, byte for byte.
    """

    model_config = ConfigDict(frozen=True)

    left: str
    right: str
    rows: tuple[int, int]
    data: bool
    spec: tuple[Change, ...]
    effects: tuple[EffectChange, ...]
    table: tuple[Change, ...]
    packages: tuple[Change, ...]
    code: tuple[Change, ...]
    source: tuple[Change, ...]
    gates: tuple[Change, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs but names and times."""
        changes = (self.spec, self.table, self.packages, self.code, self.source, self.gates)
        moved = any(effect.left != effect.right for effect in self.effects)
        return self.rows[0] == self.rows[1] and not moved and not any(changes)

    @property
    def identical(self) -> bool:
        """Whether the data have the same bytes too."""
        return self.same and self.data


def diff(left: Manifest, right: Manifest) -> Difference:
    """Compare two manifests.

    Parameters
    ----------
    left, right : Manifest
        E.g. an older and a newer version.

    Returns
    -------
    Difference
        Keys are dotted paths.
    """
    return Difference(
        left=f"{left.name}@{left.version}",
        right=f"{right.name}@{right.version}",
        rows=(left.rows, right.rows),
        data=_digests(left) == _digests(right),
        spec=_changes(left.spec, right.spec),
        effects=_effect_changes(left.effects, right.effects),
        table=_changes(left.table, right.table),
        packages=_changes(left.packages, right.packages),
        code=_changes(left.code, right.code),
        source=_changes(left.source, right.source),
        gates=_changes({gate.name: gate.status for gate in left.gates}, {gate.name: gate.status for gate in right.gates}),
    )


def _digests(manifest: Manifest) -> dict[str, str]:
    """Return the digests of a release's parts by their path."""
    return {file.path: file.sha256 for file in manifest.files if file.path.startswith("data/")}


def _changes(left: Mapping[str, Any], right: Mapping[str, Any]) -> tuple[Change, ...]:
    ours, theirs = dict(_leaves(left)), dict(_leaves(right))
    keys = sorted(ours.keys() | theirs.keys())
    return tuple(Change(key=key, left=ours.get(key), right=theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key))


def _leaves(value: Any, above: str = "") -> list[tuple[str, Any]]:
    """Flatten nested objects; lists of objects that have a name are keyed by it, other lists are one value."""
    if isinstance(value, list) and value and all(isinstance(each, dict) and "name" in each for each in value):
        value = {str(each["name"]): each for each in value}
    if not isinstance(value, Mapping) or (not value and above):
        return [(above, value)]
    leaves = []
    for key, each in value.items():
        leaves += _leaves(each, f"{above}.{key}" if above else str(key))
    return leaves


def _effect_changes(left: Mapping[str, Any], right: Mapping[str, Any]) -> tuple[EffectChange, ...]:
    ours, theirs = dict(_effects(left)), dict(_effects(right))
    return tuple(_effect_change(key, ours.get(key), theirs.get(key)) for key in sorted(ours.keys() | theirs.keys()))


def _effect_change(key: str, left: tuple[float, float | None] | None, right: tuple[float, float | None] | None) -> EffectChange:
    difference = se = z = None
    if left is not None and right is not None:
        difference = right[0] - left[0]
        if left[1] is not None and right[1] is not None:
            se = math.hypot(left[1], right[1])
            z = difference / se if se > 0 else None
    return EffectChange(key=key, left=left and left[0], right=right and right[0], difference=difference, se=se, z=z)


def _effects(group: Mapping[str, Any], above: str = "") -> list[tuple[str, tuple[float, float | None]]]:
    """Find every estimate: an object with ``estimate`` and ``se``, or a number beside its ``mc_se``."""
    se = next((group[key] for key in _SE_KEYS if _is_number(group.get(key))), None)
    if _is_number(group.get("estimate")):
        return [(above, (float(group["estimate"]), se))]
    effects = []
    for key, value in group.items():
        path = f"{above}.{key}" if above else key
        if isinstance(value, Mapping):
            effects += _effects(value, path)
        elif _is_number(value) and key not in _SE_KEYS and se is not None:
            effects.append((path, (float(value), se)))
    return effects


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
