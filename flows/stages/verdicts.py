"""How a release is judged before it is published: attacks where gates ask for them, the holdout's budget, the gates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import tasks.audit.task as auditing
import tasks.checks.task as checks
import tasks.publish.task as publishing
from infra.stages import Stages
from infra.workspace import Run
from tasks.checks.measured import Measured
from tasks.checks.methods.audit import attacks_of
from tasks.checks.verdict import cautions, tells_of_holdout
from tasks.contract.errors import StoreConflict
from tasks.contract.refs import PartitionRef
from tasks.publish.holdouts import holdout_cautions
from tasks.source.task import Source

if TYPE_CHECKING:
    from tasks.checks.expectations import Judgement

# Another writer that asks the same holdout in the same seconds is rare; losing so often in a row is not chance.
MOST_QUESTIONS = 20


class Judged(NamedTuple):
    """The verdict on a release.

    Attributes
    ----------
    judgement : Judgement
        Gates, and the files of the checks.
    holdout : dict or None
        What the manifest says of the holdout and its budget; None where it was not asked.
    """

    judgement: Judgement
    holdout: dict[str, Any] | None

    @property
    def rejected(self) -> bool:
        """Whether a gate failed."""
        return any(gate.passed is False for gate in self.judgement.gates)

    @property
    def cautions(self) -> tuple[str, ...]:
        """What a reader of the release should know of its gates."""
        return (*cautions(self.judgement.gates), *holdout_cautions(self.holdout))


def judge_release(run: Run, stages: Stages, source: Source, drawn: Sequence[PartitionRef], measured: Measured) -> Judged:
    """Judge a release by its SPEC's gates, and record the query to its holdout.

    Parameters
    ----------
    run : Run
        The run; its store keeps the holdout's ledger.
    stages : Stages
        Progress.
    source : Source
        The source.
    drawn : sequence of PartitionRef
        Released rows of all copies, canonical: what attacks look at.
    measured : Measured
        What was measured.
    """
    attacked = _attack(run, stages, source, drawn)
    query = checks.question(run, measured)
    with stages.stage("judge (Great Expectations)"):
        if query is None:
            return Judged(checks.judge(run, measured, run.spec.main, None, attacked), None)
        terms = checks.terms(run.spec.gates)
        for _ in range(MOST_QUESTIONS):
            said = publishing.ask_holdout(run, source, query, terms)
            judgement = checks.judge(run, measured, run.spec.main, said, attacked)
            charged = said.above or tells_of_holdout(judgement.gates)
            if publishing.keep_answer(run, source, query, said, charged):
                return Judged(judgement, publishing.holdout_section(run, source, said, charged, terms))
    raise StoreConflict(
        f"questions to the holdout of {run.spec.name} must find a moment without others; {MOST_QUESTIONS} did not.",
        "Run fewer releases of this source at a time.",
    )


def _attack(run: Run, stages: Stages, source: Source, drawn: Sequence[PartitionRef]) -> list[dict[str, Any]] | None:
    """Run the attacks that gates hang on; None where there are none."""
    attacks = attacks_of(run.spec.gates)
    if not attacks:
        return None
    with stages.stage("attack", len(attacks) + 1) as stage:
        case = stage.run(auditing.gather, run, source.described.table, source.parts, drawn, [])
        refs = stage.map(auditing.attack, [(run, case, name) for name in attacks])
    return [finding for ref in refs for finding in json.loads(run.space().read(ref.key))]
