"""The table of gates as docs/gates.md shows it."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.contract.gates import GateRow

_DECISIONS = {"value": "number", "interval": "interval", "ratio": "ratio and limit"}


def markdown(rows: Iterable[GateRow]) -> str:
    """Return gates as a Markdown table: one line a gate.

    Parameters
    ----------
    rows : iterable of GateRow

    Returns
    -------
    str
        Without a line break at its end.
    """
    head = "| gate | default | family | rule | decided by | asks the holdout | in `privacy` | number |"
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for row in rows:
        cells = (
            f"`{row.section}.{row.name}`",
            _default(row.default),
            row.family,
            row.rule,
            _DECISIONS[row.decision],
            "yes" if row.asks_holdout else "",
            "yes" if row.private else "",
            row.description,
        )
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def _default(value: float | bool) -> str:
    """Write a default as a SPEC does."""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"
