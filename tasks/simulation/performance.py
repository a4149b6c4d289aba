"""How well an estimator does over replicates: every measure with its Monte-Carlo standard error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Float64

MEASURES = ("bias", "variance", "rmse", "coverage", "ci_width", "power", "type1_error", "se_ratio", "failures")
#: Fewest answers that a spread is computed from.
FEWEST = 2


class Figure(NamedTuple):
    """A measure and its Monte-Carlo standard error; None where there are too few answers."""

    value: float | None
    mcse: float | None


UNKNOWN = Figure(None, None)


class Answers(NamedTuple):
    """One estimator's answers to all replicates of a cell, each of shape (R,), NaN where it failed."""

    estimate: Float64
    se: Float64
    ci_low: Float64
    ci_high: Float64

    @property
    def answered(self) -> Answers:
        """The replicates that were answered."""
        there = np.isfinite(self.estimate)
        return Answers(*(values[there] for values in self))


def performance(answers: Answers, truth: float | None) -> Mapping[str, Figure]:
    """Measure one estimator.

    With R answers, errors e = estimate - truth and s^2 the variance of the estimates, as in table 6 of Morris, White, Crowther
    (2019), DOI 10.1002/sim.8086:

        bias       mean e                        s / sqrt(R)
        variance   s^2                           s^2 sqrt(2 / (R - 1))
        rmse       sqrt(mean e^2)                sd(e^2) / sqrt(R) / (2 rmse), by the delta method
        coverage   share of intervals with the truth inside          sqrt(p (1 - p) / R); so power and failures
        power      share of intervals without 0; ``type1_error`` where the truth is 0
        se_ratio   mean standard error / s       sqrt(var(se) / (R mean^2) + 1 / (2 (R - 1))) times the ratio

    Parameters
    ----------
    answers : Answers
        Of all replicates, failures included.
    truth : float or None
        The effect of the law; None gives what needs no truth.

    Returns
    -------
    mapping of str to Figure
        By the names of ``MEASURES``.
    """
    failed = share(~np.isfinite(answers.estimate))
    given = answers.answered
    count = len(given.estimate)
    if count < FEWEST:
        return dict.fromkeys(MEASURES, UNKNOWN) | {"failures": failed}
    s = float(given.estimate.std(ddof=1))
    width = given.ci_high - given.ci_low
    rejected = share((given.ci_low > 0.0) | (given.ci_high < 0.0))
    figures = {
        "variance": Figure(s**2, s**2 * math.sqrt(2.0 / (count - 1))),
        "ci_width": Figure(float(width.mean()), float(width.std(ddof=1)) / math.sqrt(count)),
        "power": rejected,
        "type1_error": rejected if truth == 0.0 else UNKNOWN,
        "se_ratio": _ratio(given.se, s),
        "failures": failed,
    }
    return dict.fromkeys(MEASURES, UNKNOWN) | figures | (_errors(given, truth, s) if truth is not None else {})


def _errors(given: Answers, truth: float, s: float) -> dict[str, Figure]:
    """Measure what needs the truth."""
    error, count = given.estimate - truth, len(given.estimate)
    square = error**2
    rmse = math.sqrt(float(square.mean()))
    spread = float(square.std(ddof=1)) / math.sqrt(count)
    return {
        "bias": Figure(float(error.mean()), s / math.sqrt(count)),
        "rmse": Figure(rmse, spread / (2.0 * rmse) if rmse > 0.0 else 0.0),
        "coverage": share((given.ci_low <= truth) & (truth <= given.ci_high)),
    }


def share(happened: npt.NDArray[np.bool_]) -> Figure:
    """Return how often something happened, with its Monte-Carlo standard error sqrt(p (1 - p) / R)."""
    if len(happened) == 0:
        return UNKNOWN
    p = float(happened.mean())
    return Figure(p, math.sqrt(p * (1.0 - p) / len(happened)))


def _ratio(se: Float64, s: float) -> Figure:
    """Return mean standard error over empirical standard deviation."""
    mean, count = float(se.mean()), len(se)
    if s <= 0.0 or mean <= 0.0:
        return UNKNOWN
    relative = math.sqrt(float(se.var(ddof=1)) / (count * mean**2) + 1.0 / (2.0 * (count - 1)))
    return Figure(mean / s, mean / s * relative)


class Tally(NamedTuple):
    """Sums over replicates that tell when there are enough of them; tallies of batches add up.

    Attributes
    ----------
    answered, covered : int
        Replicates answered, and those whose interval holds the truth.
    square, fourth : float
        Sums of e^2 and e^4.
    """

    answered: int = 0
    covered: int = 0
    square: float = 0.0
    fourth: float = 0.0

    def plus(self, other: Tally) -> Tally:
        """Return the sums over both."""
        return Tally(self.answered + other.answered, self.covered + other.covered, self.square + other.square, self.fourth + other.fourth)

    def is_precise(self, precision: float, rmse_precision: float) -> bool:
        """Return whether coverage and RMSE are known well enough; an estimator without any estimate does not count.

        The error of coverage is that of (covered + 2) / (answered + 4) (Agresti, Coull 1998, DOI 10.1080/00031305.1998.10480550):
        twenty hits of twenty do not show a coverage of one.
        """
        if self.answered == 0:
            return True
        p = (self.covered + 2.0) / (self.answered + 4.0)
        if math.sqrt(p * (1.0 - p) / (self.answered + 4.0)) > precision:
            return False
        mean = self.square / self.answered
        spread = math.sqrt(max(self.fourth / self.answered - mean**2, 0.0) / self.answered)
        # the delta method: sd(e^2) / (2 rmse), as a share of rmse
        return mean == 0.0 or spread / (2.0 * mean) <= rmse_precision


def tally(answers: Answers, truth: float) -> Tally:
    """Sum up one batch of answers."""
    given = answers.answered
    square = (given.estimate - truth) ** 2
    covered = int(np.count_nonzero((given.ci_low <= truth) & (truth <= given.ci_high)))
    return Tally(len(square), covered, float(square.sum()), float((square**2).sum()))
