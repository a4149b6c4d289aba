"""Gates on a time to event: they are measured where an outcome's kind is ``"survival"``."""

from __future__ import annotations

from tasks.contract.gates.row import GateRow

SURVIVAL: tuple[GateRow, ...] = (
    GateRow(
        name="rmst_fidelity",
        family="law",
        rule="at most",
        threshold="positive",
        default=3.5,
        title="Survival kept",
        meaning="Largest distance of an arm's restricted mean or survival probability between release and source, in combined standard "
        "errors.",
        description="of a time to event: largest distance of an arm's restricted mean or S(t), in combined standard errors",
        advice="An arm's curve was not kept: declare fewer times in outcomes.NAME.times, or take another mechanisms.learner.",
        expectation="ExpectRestrictedMeansToBeKept",
        asked_of_added_rows=False,
    ),
    GateRow(
        name="curve_distance",
        family="law",
        rule="at most",
        threshold="share",
        default=0.05,
        title="Survival curves",
        meaning="Largest distance of an arm's survival curves, release against source, beyond three standard errors.",
        description="of a time to event: largest distance of an arm's survival curves beyond three standard errors",
        advice="An arm's curve has another shape than in the source: declare outcomes.NAME.times where it differs, or take another "
        "mechanisms.learner.",
        expectation="ExpectSurvivalCurvesToBeKept",
        asked_of_added_rows=False,
    ),
    GateRow(
        name="event_share",
        family="law",
        rule="at most",
        threshold="share",
        default=0.05,
        title="Share of events",
        meaning="Largest distance of an arm's share of rows with an event, release against source, beyond three standard errors.",
        description="of a time to event: largest distance of an arm's share of events beyond three standard errors",
        advice="Rows are censored more, or less, often than in the source: take another mechanisms.learner.",
        expectation="ExpectEventSharesToBeKept",
        asked_of_added_rows=False,
    ),
    GateRow(
        name="incidence_fidelity",
        family="law",
        rule="at most",
        threshold="positive",
        default=3.5,
        title="Incidence kept",
        meaning="Largest distance of an arm's incidence of a cause, or of the time lost to it, between release and source, in combined "
        "standard errors.",
        description="of competing causes: largest distance of an arm's incidence or time lost, in combined standard errors",
        advice="A cause's incidence was not kept: declare fewer times in outcomes.NAME.times, recode rare causes as one, or take another "
        "mechanisms.learner.",
        expectation="ExpectIncidencesToBeKept",
        asked_of_added_rows=False,
    ),
    GateRow(
        name="incidence_distance",
        family="law",
        rule="at most",
        threshold="share",
        default=0.05,
        title="Incidence curves",
        meaning="Largest distance of an arm's curves of incidence, release against source, beyond three standard errors.",
        description="of competing causes: largest distance of an arm's curves of incidence beyond three standard errors",
        advice="A cause comes at other times than in the source: declare outcomes.NAME.times where it differs, or take another "
        "mechanisms.learner.",
        expectation="ExpectIncidenceCurvesToBeKept",
        asked_of_added_rows=False,
    ),
    GateRow(
        name="cause_share",
        family="law",
        rule="at most",
        threshold="share",
        default=0.05,
        title="Share of causes",
        meaning="Largest distance of an arm's share of rows with an event of a cause between release and source, beyond three standard "
        "errors.",
        description="of competing causes: largest distance of an arm's share of events of a cause beyond three standard errors",
        advice="Causes are mixed in another way than in the source: take another mechanisms.learner, or recode rare causes as one.",
        expectation="ExpectCauseSharesToBeKept",
        asked_of_added_rows=False,
    ),
)
