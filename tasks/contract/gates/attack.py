"""Gates on attacks, off by default: the findings of an audit, before anything is published."""

from __future__ import annotations

from tasks.contract.gates.row import GateRow


def _attack(name: str, title: str, meaning: str, description: str, advice: str, expectation: str) -> GateRow:
    """Return the row of one attack's gate: its interval decides, and it is off by default."""
    return GateRow(
        name=name,
        family="attack",
        rule="at most",
        threshold="share",
        default=False,
        title=title,
        meaning=meaning,
        description=description,
        advice=advice,
        expectation=expectation,
        decision="interval",
        private=True,
    )


ATTACK: tuple[GateRow, ...] = (
    _attack(
        "membership_tpr",
        "Attack: membership",
        "Share of training rows that an attacker recognises at 1 % false alarms.",
        "largest share of training rows an attacker may recognise at 1 % false positives",
        "An attacker recognises rows that the synthesizer saw: smooth it or take another.",
        "ExpectMembershipRateToBeCertifiedAtMost",
    ),
    _attack(
        "membership_auc",
        "Attack: membership, all rows",
        "Area under the curve of telling training rows from held-out rows; 0.5 is guessing.",
        "largest area under the curve of a membership attack",
        "An attacker recognises rows that the synthesizer saw: smooth it or take another.",
        "ExpectMembershipAreaToBeCertifiedAtMost",
    ),
    _attack(
        "attribute_advantage",
        "Attack: attributes",
        "How much better a column of training rows is rebuilt than that of held-out rows.",
        "largest gain of linear reconstruction on training rows over holdout rows",
        "An attacker rebuilds a column of rows that the synthesizer saw: release fewer rows, or smooth the synthesizer.",
        "ExpectAttributeAdvantageToBeCertifiedAtMost",
    ),
    _attack(
        "linkability_advantage",
        "Attack: linkability",
        "How many more training rows than held-out rows are put together from two halves.",
        "largest gain of a linkability attack on training rows over holdout rows",
        "Halves of rows can be put together again by the release: smooth the synthesizer or take another.",
        "ExpectLinkabilityAdvantageToBeCertifiedAtMost",
    ),
    _attack(
        "singling_out_advantage",
        "Attack: singling out",
        "How many more predicates single out a training row than a held-out row.",
        "largest gain of a singling-out attack on training rows over holdout rows",
        "The release singles out rows that the synthesizer saw: smooth it or take another.",
        "ExpectSinglingOutAdvantageToBeCertifiedAtMost",
    ),
)
