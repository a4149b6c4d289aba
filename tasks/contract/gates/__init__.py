"""The table of gates: one row a gate, from which SPEC, verdict, advice, reports, docs and accounts of the holdout follow.

To add a gate, add a row to the file of its family, and the file in ``tasks/checks/methods`` that measures its number. A plug-in of
the entry-point group ``waymint.check`` names its rows in ``GATES``.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping

from tasks.contract.errors import SpecError
from tasks.contract.gates.attack import ATTACK
from tasks.contract.gates.distance import DISTANCE
from tasks.contract.gates.form import FORM
from tasks.contract.gates.law import LAW
from tasks.contract.gates.overlap import OVERLAP
from tasks.contract.gates.row import Decision, GateRow, Rule
from tasks.contract.gates.survival import SURVIVAL
from tasks.contract.registry import plugins

__all__ = ["GATES", "Decision", "GateRow", "Rule", "gate_row", "gate_rows", "plugin_rows"]

#: The product's own gates.
GATES: tuple[GateRow, ...] = (*DISTANCE, *OVERLAP, *LAW, *SURVIVAL, *FORM, *ATTACK)


def plugin_rows() -> Mapping[str, GateRow]:
    """Return the rows of installed plug-ins by name.

    Raises
    ------
    SpecError
        If a plug-in names a gate that exists already.
    """
    return _plugin_rows(tuple(sys.path))


@functools.lru_cache(maxsize=32)
def _plugin_rows(_path: tuple[str, ...]) -> Mapping[str, GateRow]:
    rows: dict[str, GateRow] = {}
    for plugin, module in plugins("check").items():
        for row in getattr(module, "GATES", ()):
            if row.name in rows or row.name in {gate.name for gate in GATES}:
                raise SpecError(f"gates of check '{plugin}' must have names of their own; got '{row.name}'.")
            rows[row.name] = row
    return rows


def gate_rows() -> tuple[GateRow, ...]:
    """Return the whole table: the product's own gates, then those of plug-ins."""
    return (*GATES, *plugin_rows().values())


def gate_row(name: str) -> GateRow | None:
    """Return the row of a gate; None for a gate that brings its own rule, or of a manifest of another version."""
    return next((row for row in GATES if row.name == name), None) or plugin_rows().get(name)
