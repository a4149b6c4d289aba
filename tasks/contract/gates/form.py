"""Form gates: the source's columns, and only values the source could have."""

from __future__ import annotations

from tasks.contract.gates.row import GateRow

FORM: tuple[GateRow, ...] = (
    GateRow(
        name="levels",
        family="form",
        rule="equal to",
        threshold="switch",
        default=True,
        title="Values",
        meaning="Released cells with a value that the source's columns can't have.",
        description="no value outside the source's levels and safe ranges",
        advice="The synthesizer or a plug-in drew values that the source can't have: bound and round what it draws.",
        expectation="ExpectNoCellsOutsideRange",
    ),
    GateRow(
        name="columns",
        family="form",
        rule="equal to",
        threshold="switch",
        default=True,
        title="Columns",
        meaning="Differences in names, order and types of columns between release and source.",
        description="names, order and types as in the source",
        advice="The released columns differ from the source's: a plug-in changed them.",
        expectation="ExpectColumnsToMatchSource",
    ),
)
