"""What changed from one version to the next, in a few lines."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from tasks.contract.headline import main_estimand
from tasks.pages.numbers import number
from tasks.pages.svg import clipped
from tasks.publish.difference import Change, diff
from tasks.publish.manifest import Manifest

#: Lines of one step; what is beyond is counted.
MOST = 25
_GROUPS = {"spec": "SPEC", "table": "schema", "source": "source", "packages": "package", "code": "code", "gates": "gate"}


class Step(NamedTuple):
    """From one version to the next.

    Attributes
    ----------
    left, right : int
        The versions.
    identical : bool
        Whether data and all that is said of them are the same.
    headline : str
        In one line.
    lines : tuple of (str, str, str)
        What differs, before, after.
    more : int
        Differences beyond those.
    """

    left: int
    right: int
    identical: bool
    headline: str
    lines: tuple[tuple[str, str, str], ...]
    more: int


def steps(versions: Sequence[Manifest]) -> tuple[Step, ...]:
    """Compare each version with the one before it, latest first."""
    return tuple(_step(left, right) for left, right in reversed(list(itertools.pairwise(versions))))


def _step(left: Manifest, right: Manifest) -> Step:
    difference = diff(left, right)
    if difference.identical:
        return Step(left.version, right.version, True, "identical: the same bytes of data, SPEC, code, effects and gates", (), 0)
    lines = [] if left.rows == right.rows else [("rows", number(left.rows), number(right.rows))]
    main = main_estimand(right.effects)
    for effect in difference.effects:
        if effect.left != effect.right and effect.key in {f"{table}.{main}" for table in ("source", "release", "truth")}:
            lines.append((f"effect {effect.key}", number(effect.left, 4), number(effect.right, 4)))
    for group, title in _GROUPS.items():
        changes: tuple[Change, ...] = getattr(difference, group)
        lines += [(f"{title} {change.key}", _text(change.left), _text(change.right)) for change in changes]
    data = "the same bytes of data" if difference.data else "other data"
    count = "no other difference" if not lines else f"{len(lines)} {'difference' if len(lines) == 1 else 'differences'}"
    return Step(left.version, right.version, False, f"{data}, {count}", tuple(lines[:MOST]), max(len(lines) - MOST, 0))


def _text(value: Any) -> str:
    return "–" if value is None else clipped(number(value, 6) if isinstance(value, int | float) else str(value), 80)
