"""Overlap gates: whether the question can be answered."""

from __future__ import annotations

from tasks.contract.gates.row import GateRow

OVERLAP: tuple[GateRow, ...] = (
    GateRow(
        name="source_overlap",
        family="overlap",
        rule="at most",
        threshold="share",
        default=0.1,
        title="Overlap in the source",
        meaning="Share of real rows that almost surely belong to one arm: for them there is no comparison.",
        description="largest share of source rows with g outside [d, 1-d]",
        advice="Too many rows lack overlap: restrict the population, leave out a covariate that decides treatment only.",
        expectation="ExpectSourceOverlapShareToBeAtMost",
        asked_of_added_rows=False,
    ),
    GateRow(
        name="release_overlap",
        family="overlap",
        rule="at most",
        threshold="share",
        default=0.1,
        title="Overlap in the release",
        meaning="Share of released rows that almost surely belong to one arm.",
        description="largest share of release rows with g outside [d, 1-d]",
        advice="Use mechanisms.treatment = 'randomized', or 'tilted' with a tilt below 1.",
        expectation="ExpectReleaseOverlapShareToBeAtMost",
        asked_of_added_rows=False,
    ),
    GateRow(
        name="source_ess",
        family="overlap",
        rule="at least",
        threshold="share",
        default=0.2,
        title="Effective rows of the source",
        meaning="Effective share of the arm that inverse weights strain most; 1 is no strain.",
        description="smallest effective share of an arm of the source",
        advice="Few rows carry one arm: restrict the population to where both arms occur, or augment it.",
        expectation="ExpectEffectiveSampleShareToBeAtLeast",
        asked_of_added_rows=False,
    ),
    GateRow(
        name="min_arm",
        family="overlap",
        rule="at least",
        threshold="rows",
        default=50,
        title="Smallest arm",
        meaning="Real rows in the smaller arm.",
        description="fewest source rows in an arm",
        advice="Bring more rows of the smaller arm; there is no way around it.",
        expectation="ExpectArmRowsToBeAtLeast",
        asked_of_added_rows=False,
    ),
)
