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
        name="support",
        family="form",
        rule="equal to",
        threshold="switch",
        default=True,
        title="Possible values",
        meaning="Released numbers that no row of the source could have: of another sign, off its grid, beyond a bound, or beside an atom.",
        description="no number outside the source's natural support: sign, whole numbers, grid, bounds, gaps beside atoms",
        advice="The columns named hold numbers that can't occur in the source: take an outcome law or a synthesizer that keeps its "
        "support, or declare the range.",
        expectation="ExpectNoNumbersOutsideSupport",
        asked_of_added_rows=False,
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
