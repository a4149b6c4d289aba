"""One estimator on every contrast that a data set's arms allow, with intervals that hold for all of them together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.contract.results import Estimate
from tasks.estimation.joint import joint_quantile
from tasks.numerics.normal import Z95
from tasks.targeting.influence import Estimator, interval
from tasks.targeting.sample import Sample

#: Estimators of an effect among the rows of one arm: each arm is compared with the control, not with every other.
TREATED = ("att", "atc")


def contrasts_of(arms: int, pairs: bool = True) -> list[tuple[int, int]]:
    """Return which arms are compared, as (arm, reference): each with the control; then each pair of the others, later against earlier."""
    with_control = [(arm, 0) for arm in range(1, arms)]
    others = [(arm, reference) for reference in range(1, arms) for arm in range(reference + 1, arms)]
    return with_control + (others if pairs else [])


def estimates_of(estimator: Estimator, sample: Sample, labels: Sequence[str], pairs: bool = True) -> list[Estimate]:
    """Evaluate one estimator on a data set.

    Parameters
    ----------
    estimator : Estimator
    sample : Sample
        Of K arms or more; the further ones are not compared.
    labels : sequence of K str
        The control's first.
    pairs : bool
        Whether arms are also compared with one another, beside the control.

    Returns
    -------
    list of Estimate
        Of two arms one. Of more: of the ATE the mean of every arm; then the contrasts of :func:`contrasts_of`, labelled, with the
        simultaneous intervals of :func:`tasks.estimation.joint.joint_quantile`.
    """
    if len(labels) == 2:
        rows = sample.between()
        return [interval(estimator.influence(rows), rows)]
    results, influences = [], []
    for arm, reference in contrasts_of(len(labels), pairs):
        rows = sample.between(arm, reference)
        influences.append(estimator.influence(rows))
        results.append(interval(influences[-1], rows)._replace(arm=labels[arm], control=labels[reference]))
    # an interval over few clusters is of t: the joint one is wider by the same factor
    values = np.column_stack([influence.values for influence in influences])
    wider = joint_quantile(values, sample.weights, sample.clusters) / Z95
    results = [
        one._replace(
            joint_low=one.estimate - wider * (one.estimate - one.ci_low), joint_high=one.estimate + wider * (one.ci_high - one.estimate)
        )
        for one in results
    ]
    if results[0].estimand != "ate":
        return results
    means = []
    for arm, label in enumerate(labels):
        rows = sample.between(arm, None)
        means.append(interval(estimator.influence(rows), rows)._replace(estimand="mean", arm=label))
    return means + results
