"""The fitted mechanisms: what every released row's A and Y come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8, Nuisances, Predictions
from tasks.contract.roles import Column
from tasks.mechanisms.laws.protocol import OutcomeLaw
from tasks.mechanisms.moments import features
from tasks.mechanisms.presence import PresenceLaw
from tasks.mechanisms.ranks import RankLaw
from tasks.mechanisms.targeting import Targeting
from tasks.mechanisms.targets import Targets
from tasks.nuisance.fold_model import FoldModel, averaged_all
from tasks.numerics.newton import halvings
from tasks.targeting.fluctuation import Fluctuation
from tasks.targeting.unobserved import with_presence

_MARGIN = 1e-12  # distance from the bounds at which a logit is still exact enough to be moved back
_EDGE = 1e-9  # share of the range within which an arm's mean counts as lying on its edge
_TOLERANCE = 1e-9  # largest miss of a target's mean, as a share of the outcome's range


@dataclass(frozen=True)
class Mechanisms:
    """g and the targeted Q* of any covariate rows, and the law of Y around Q*.

    Predictions are the means over the fold models, fluctuated by the epsilons that were fitted out of fold, then
    shifted on the logit scale of ``(Q - low) / (high - low)``: by one offset per arm, and one more along each direction of ``targets``.

    What is exact: the mean over the source rows (with the weights they were fitted with) of Q*1, of Q*0 and so of Q*1 - Q*0 as
    predicted here equals the mean of the out-of-fold targeted predictions, which is the TMLE; the same among the treated and in each
    subgroup, where they are targets. What is not: a single row's prediction here differs from its out-of-fold one, for most fold
    models have seen the row.

    Attributes
    ----------
    models : tuple of FoldModel
        One per fold.
    fluctuation : Fluctuation
        The targeting step.
    offsets : tuple of K tuples of float
        By arm, the control first, each of length 1 + k; 0 would say that averaging changed no mean.
    law : OutcomeLaw
        Y around Q*.
    kind : str
        ``"binary"``, ``"continuous"`` or ``"count"``.
    targets : Targets
        Estimands.
    odds : float
        d of the odds, where the ATE is no target.
    level : float or None
        Mean of the outcome where cells are missing: Q of the arm to which rows without outcome belong
        (:mod:`tasks.targeting.unobserved`), the last one of fluctuation and offsets then. None where no cell is missing.
    further : tuple of Mechanisms
        Of further outcomes. The models of all are those of the first, which hold every outcome.
    ranks : RankLaw or None
        How several outcomes hang together.
    presence : PresenceLaw or None
        Which outcomes are missing.
    """

    models: tuple[FoldModel, ...]
    fluctuation: Fluctuation
    offsets: tuple[tuple[float, ...], ...]
    law: OutcomeLaw
    kind: str
    targets: Targets
    odds: float = 0.0
    level: float | None = None
    further: tuple[Mechanisms, ...] = ()
    ranks: RankLaw | None = None
    presence: PresenceLaw | None = None

    @property
    def every(self) -> tuple[Mechanisms, ...]:
        """The mechanisms of all outcomes."""
        return (self, *self.further)

    @property
    def plain(self) -> bool:
        """Whether there is one outcome, known in every row."""
        return not self.further and self.level is None

    @property
    def truncation(self) -> float:
        """The bound that :meth:`tasks.mechanisms.targets.Targets.directions` takes."""
        return self.fluctuation.truncation if self.targets.ate else self.odds

    def predict(self, covariates: pd.DataFrame) -> Nuisances:
        """Return g and Q* of the first outcome of canonical covariates, each of shape (n,)."""
        return self.predict_all(covariates).first

    def predict_all(self, covariates: pd.DataFrame) -> Predictions:
        """Return g and Q* of all outcomes of canonical covariates, each of shape (n,)."""
        return self.anchored_all(averaged_all(self.models, covariates), covariates)

    def describe(self, covariates: pd.DataFrame, columns: Sequence[Column]) -> tuple[Predictions, Float64]:
        """Return predictions of some rows with their :func:`tasks.mechanisms.moments.features`."""
        predicted = self.predict_all(covariates)
        return predicted, features(covariates, predicted, columns, self.targets)

    def anchored_all(self, raw: Predictions, covariates: pd.DataFrame) -> Predictions:
        """Return g and Q* of all outcomes of rows whose averaged predictions are known already."""
        stars = []
        for number, outcome in enumerate(self.every):
            one, chances = raw.of(number), raw.chances(number)
            seen = one if chances is None or outcome.level is None else with_presence(one, chances, outcome.level)
            stars.append(outcome.anchored(seen, covariates, one).outcomes[: one.arms])
        return raw.with_outcomes(stars)

    def anchored(self, raw: Nuisances, covariates: pd.DataFrame, of_all: Nuisances | None = None) -> Nuisances:
        """Return g and Q* of one outcome of rows whose averaged predictions are known already.

        ``of_all`` has the propensities of all rows, where ``raw`` has an arm more, for rows without outcome.
        """
        whole = raw if of_all is None else of_all
        directions = self.targets.directions(self.targets.members(covariates), whole, self.truncation)
        return _shifted(raw, self.fluctuation, directions, self.offsets)

    def truth(self, covariates: pd.DataFrame) -> tuple[float, float]:
        """Return the mechanisms' own effect over a draw of covariates.

        Parameters
        ----------
        covariates : DataFrame, n rows
            A large draw from the covariate law.

        Returns
        -------
        tuple of two float
            Mean of Q*1 - Q*0 and its Monte-Carlo standard error; of more than two arms of the first beside the control.
        """
        return effect_of(self.predict(covariates))


def effect_of(nuisances: Nuisances) -> tuple[float, float]:
    """Return the mean of Q1 - Q0 and its Monte-Carlo standard error."""
    tau = nuisances.outcomes[1] - nuisances.outcomes[0]
    return float(tau.mean()), float(tau.std(ddof=1) / np.sqrt(len(tau))) if len(tau) > 1 else float("inf")


def assemble(
    models: Sequence[FoldModel],
    targeting: Targeting,
    source: Nuisances,
    law: OutcomeLaw,
    kind: str,
    weights: Float64 | None = None,
    targets: Targets | None = None,
    rows: tuple[Float64, Int8] | None = None,
    of_all: Nuisances | None = None,
) -> Mechanisms:
    """Put the fitted parts together and anchor each arm's means at the targeted ones.

    Parameters
    ----------
    models : sequence of FoldModel
        One per fold.
    targeting : Targeting
        The targeted out-of-fold predictions of the source rows.
    source : Nuisances
        Predictions averaged over fold models of the same rows in the same order (partitions may be predicted apart and joined).
    law : OutcomeLaw
        Y around Q*.
    kind : str
        Kind of the outcome.
    weights : ndarray of float64, shape (n,), optional
        The row weights of the targeting.
    targets : Targets, optional
        Estimands beyond the ATE that the targeting was fitted for.
    rows : tuple of ndarray of float64, shape (n, groups), and ndarray of int8, shape (n,)
        Indicators of the subgroups that ``targets`` names and treatment of the source; needed with ``targets`` only.
    of_all : Nuisances, optional
        With the propensities of all rows, where ``source`` has an arm more, for rows without outcome: ``targets`` are of all rows.

    Returns
    -------
    Mechanisms
        Its means over the source rows equal those of ``targeting`` to rounding.

    Raises
    ------
    EstimationError
        If no shift meets the means of all targets.
    """
    step, wanted = targeting.fluctuation, targets or Targets(arms=source.arms)
    ones, odds = np.ones_like(source[0])[:, None], targeting.truncation.full
    directions, held, along = None, ones, ones
    if wanted.count and rows is not None:
        whole = source if of_all is None else of_all
        directions = wanted.directions(rows[0], whole, step.truncation if wanted.ate else odds)
        held = wanted.constraints(*rows, whole)
    if directions is not None:
        along = np.column_stack((ones, directions)) if wanted.ate else directions
    stars = step.apply(source, directions)
    share = np.full_like(source[0], 1.0 / len(source[0])) if weights is None else weights / weights.sum()
    offsets = [_offsets(star, goal, along, held, step, share) for star, goal in zip(stars, targeting.outcomes, strict=True)]
    first = () if wanted.ate else (0.0,)
    return Mechanisms(tuple(models), step, tuple((*first, *offset) for offset in offsets), law, kind, wanted, odds)


def _shifted(raw: Nuisances, step: Fluctuation, directions: Float64 | None, offsets: Sequence[tuple[float, ...]]) -> Nuisances:
    moved = []
    for star, offset in zip(step.apply(raw, directions), offsets, strict=True):
        shift = offset[0] if directions is None else offset[0] + directions @ np.array(offset[1:])
        moved.append(_move(star, shift, step))
    return Nuisances(*raw[: raw.arms - 1], *moved)


def _move(q: Float64, offset: float | Float64, step: Fluctuation) -> Float64:
    """Shift predictions on the logit scale of the fluctuation's range."""
    width = step.high - step.low
    unit = np.clip((q - step.low) / width, _MARGIN, 1.0 - _MARGIN)
    moved = 1.0 / (1.0 + np.exp(-(np.log(unit) - np.log1p(-unit) + offset)))
    result: Float64 = step.low + width * moved
    return result


def _offsets(q: Float64, goal: Float64, along: Float64, held: Float64, step: Fluctuation, share: Float64) -> tuple[float, ...]:
    """Find the shifts along directions b at which the means of c Q* are those of c times the goal, for every constraint c.

    Newton's method, halved until the misses shrink. With one offset the mean rises strictly with it, so the root is unique; with
    several, constraints and directions are the same functions, or (ATT) A and its expectation g, so the Jacobian is close to a Gram
    matrix of b under the positive weights of the logit.
    """
    width = step.high - step.low
    if not step.low + _EDGE * width < float(share @ goal) < step.high - _EDGE * width:
        # all outcomes of an arm on the very edge of the range: predictions are there already
        return tuple(0.0 for _ in range(along.shape[1]))
    weighted = held * share[:, None]
    wanted = weighted.T @ goal
    at = np.zeros(along.shape[1])
    miss = weighted.T @ _move(q, along @ at, step) - wanted
    for _ in range(200):
        if float(np.abs(miss).max()) <= 1e-15 * width:
            break
        unit = (_move(q, along @ at, step) - step.low) / width
        jacobian = weighted.T @ (along * (width * unit * (1.0 - unit))[:, None])
        # least squares: the indicators of an exhaustive set of subgroups sum to one
        change = np.linalg.lstsq(jacobian, -miss, rcond=1e-12)[0]
        for length in halvings(1e-6):
            beyond = weighted.T @ _move(q, along @ (at + length * change), step) - wanted
            if float(np.linalg.norm(beyond)) < float(np.linalg.norm(miss)):
                break
        else:
            break
        at, miss = at + length * change, beyond
    if float(np.abs(miss).max()) > _TOLERANCE * width:
        raise EstimationError(
            f"means of the targets must be met to {_TOLERANCE:g} of the outcome's range; got {float(np.abs(miss).max()) / width:.2g}.",
            "Declare fewer or larger subgroups (roles.subgroups), or drop 'att' from mechanisms.targets.",
        )
    return tuple(float(value) for value in at)
