"""Isolated rows: whether the release comes near the rows that stand alone, and only near those that the synthesizer saw."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from scipy import stats

from tasks.checks.evidence import Evidence, IsolationEvidence
from tasks.checks.metric import Metric, gate
from tasks.checks.refusal import refusal
from tasks.contract.disclosure import few
from tasks.contract.spec import GatesSpec


class Params(BaseModel):
    """No parameters: the threshold is in ``gates`` of the SPEC."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class IsolationCheck:
    """Looks for copies of single rows, which are too few to move any share of the release."""

    def measure(self, evidence: Evidence, gates: GatesSpec) -> list[Metric]:
        """Return the gate; a refusal where the references are too small."""
        seen = evidence.isolation
        if seen is None:
            return []
        fault = refusal(evidence, gates)
        if fault:
            return [gate("isolated_rows", None, gates, refused=True, detail=fault)]
        side, number = side_p(seen), number_p(seen)
        training, held = int(seen.training.sum()), int((~seen.training).sum())
        detail = (
            f"the release comes near {few(int(seen.tracked[seen.training].sum()))} of {training} isolated training rows, "
            f"{few(int(seen.tracked[~seen.training].sum()))} of {held} isolated holdout rows and "
            f"{few(seen.others_tracked)} of {seen.others} other holdout rows; p {side:.2g} for their side, {number:.2g} for their number"
        )
        return [gate("isolated_rows", min(1.0, 2 * min(side, number)), gates, detail=detail)]


def build(params: Params) -> IsolationCheck:  # noqa: ARG001 - every method's build takes its Params
    """Return the check."""
    return IsolationCheck()


def side_p(seen: IsolationEvidence) -> float:
    """Return the p-value of as many of the isolated rows that the release comes near to being training rows (exact).

    Isolation is measured in training rows and holdout together, so where nothing leaks the k isolated rows are labelled at random: the
    number of training rows among those that the release comes near to is hypergeometric. With a holdout of 30 % ten copies
    have p = 0.7^10 = 0.03 at best, hence the second test.
    """
    hits, training = int(seen.tracked.sum()), int(seen.training.sum())
    both = int((seen.tracked & seen.training).sum())
    return float(stats.hypergeom.sf(both - 1, len(seen.training), training, hits))


def number_p(seen: IsolationEvidence) -> float:
    """Return the p-value of the release coming near isolated training rows more often than near holdout rows at large.

    Fisher's exact test, one-sided, with one hit more for the holdout than was seen: the tails of a law have fewer dimensions than
    its middle, so single hits are a little more frequent there.
    """
    hits, training, others = int((seen.tracked & seen.training).sum()), int(seen.training.sum()), seen.others_tracked + 1
    return float(stats.hypergeom.sf(hits - 1, training + seen.others + 1, training, hits + others))
