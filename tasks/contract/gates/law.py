"""Gates on laws: whether effect, covariates and outcome follow the source's laws."""

from __future__ import annotations

from tasks.contract.gates.row import GateRow

LAW: tuple[GateRow, ...] = (
    GateRow(
        name="calibration",
        family="law",
        rule="at most",
        threshold="share",
        default=0.05,
        title="Covariates calibrated",
        meaning="How far the covariates' means had to stay from the source's: 0 is not at all, 1 is no calibration.",
        description="how far calibration may give up: 0 meets every mean of the source, 1 none",
        advice="The synthesizer is far from the source: take another covariates.synthesizer, or raise mechanisms.pool.",
        expectation="ExpectCalibrationRelaxationToBeAtMost",
        asked_of_added_rows=False,
    ),
    GateRow(
        name="fidelity",
        family="law",
        rule="at most",
        threshold="positive",
        default=2.58,
        title="Effect kept",
        meaning="Distance between the effects of release and source, in combined standard errors.",
        description="largest |ATE_release - ATE_source| in combined standard errors",
        advice="Use release.mode = 'hybrid'; there, another mechanisms.learner, or more release.rows where the gap is noise.",
        expectation="ExpectEffectGapToBeAtMost",
        asked_of_added_rows=False,
    ),
    GateRow(
        name="worth",
        family="law",
        rule="at most",
        threshold="positive",
        default=1.1,
        title="Augmenting pays",
        meaning="Squared error expected of augmenting, over that of the best other way.",
        description="largest squared error expected of augmenting, over that of the best other way",
        advice="Use the better way that the report names, or bring another table for the outcomes.",
        expectation="ExpectAugmentationErrorToBeAtMost",
        section="augment",
    ),
)
