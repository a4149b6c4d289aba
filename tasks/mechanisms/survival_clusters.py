"""Times to event of rows in clusters: how alike the source's are, and draws that are as alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from tasks.contract.nuisance import Float64
from tasks.contract.survival import Periods
from tasks.mechanisms.clusters import CANDIDATES, NEAR, Alike, ClusterLaw, Intp, intraclass
from tasks.mechanisms.survival_law import TimesLaw
from tasks.nuisance.survival_fold import residuals
from tasks.targeting.survival import ArmData, pseudo_outcomes, survival, uncensored

_SETS, _HALVINGS = 4, 12
#: Least chance to be uncensored that residuals of drawn times are divided by.
_BOUND = 0.02

Mask = npt.NDArray[np.bool_]


class OwnHazards(NamedTuple):
    """Hazards of rows under their own arm.

    Attributes
    ----------
    event, censoring : ndarray of float64, shape (n, m)
    splits : ndarray of float64, shape (J - 1, n, m)
        Nested chances of causes: :mod:`tasks.nuisance.causes`.
    """

    event: Float64
    censoring: Float64
    splits: Float64


def fit_alike(law: TimesLaw, hazards: OwnHazards, wanted: tuple[float, float], place: Intp, rng: np.random.Generator) -> Alike:
    """Find the correlations of ranks within clusters under which drawn times are as alike as the source's.

    Ranks of times to the event and to censoring are independent of one another. The correlation of the former is found by the residuals
    of pseudo-outcomes (:func:`tasks.targeting.survival.pseudo_outcomes`), that of the latter by the residuals of censoring: in turns, as
    either time cuts the other one off.

    Parameters
    ----------
    law : TimesLaw
    hazards : OwnHazards
        Of source rows, targeted.
    wanted : tuple of two float
        Intraclass correlations in the source: of the pseudo-outcomes' residuals, and of censoring's.
    place : ndarray of intp, shape (n,)
        Number of each row's cluster, from 0.
    rng : numpy.random.Generator
    """
    shared, alone = rng.normal(size=(_SETS, 2, int(place.max()) + 1)), rng.normal(size=(_SETS, 2, len(place)))

    def draws(rho: float, lost: float) -> list[tuple[Float64, Mask]]:
        sets = zip(shared, alone, strict=True)
        return [law.draw(*hazards[:2], (_ranks(z[0][place], e[0], rho), _ranks(z[1][place], e[1], lost))) for z, e in sets]

    def of_censoring(lost: float, rho: float) -> float:
        counts = [law.outcome.grid.counts(time, came, censoring=True) for time, came in draws(rho, lost)]
        return float(np.mean([intraclass(residuals(hazards.censoring, each), place) for each in counts]))

    def of_events(rho: float, lost: float) -> float:
        seen = [rest(law, hazards, law.outcome.grid.counts(time, came)) for time, came in draws(rho, lost)]
        return float(np.mean([intraclass(each, place) for each in seen]))

    first = _solve(lambda rho: of_events(rho, 0.0), wanted[0])
    lost = _solve(lambda rho: of_censoring(rho, first), wanted[1])
    return Alike(_solve(lambda rho: of_events(rho, lost), wanted[0]) if lost > 0.0 else first, wanted[0], lost)


def draw_alike_times(
    law: TimesLaw,
    hazards: OwnHazards,
    directions: Float64,
    place: Intp,
    alike: ClusterLaw,
    balanced: bool,
    rng: np.random.Generator,
) -> tuple[Float64, Mask]:
    """Draw times and events that depend on one another within clusters: one-factor Gaussian copulas of the ranks of both times.

    Balanced draws take, of several sets of ranks, the one whose residuals of the restricted time best balance in some directions and
    come nearest the source's intraclass correlation, as :func:`tasks.mechanisms.clusters.draw_alike` does.

    Parameters
    ----------
    law : TimesLaw
    hazards : OwnHazards
    directions : ndarray of float64, shape (n, d)
        :func:`tasks.mechanisms.clusters.balance_directions`.
    place : ndarray of intp, shape (n,)
        Number of each row's cluster.
    alike : ClusterLaw
    balanced : bool
    rng : numpy.random.Generator

    Returns
    -------
    time : ndarray of float64, shape (n,)
    came : ndarray of bool, shape (n,)
    """
    n, count = len(place), int(place.max(initial=0)) + 1
    size = np.sqrt(np.maximum(np.sum(directions**2, axis=0), 1e-300))
    best, least = (np.empty(0), np.empty(0, dtype=np.bool_)), np.inf
    for _ in range(CANDIDATES if balanced else 1):
        ranks = [
            _ranks(ndtri((rng.permutation(count) + rng.random(count)) / count)[place], rng.normal(size=n), rho)
            for rho in (alike.rho, alike.lost)
        ]
        drawn = law.draw(*hazards[:2], (ranks[0], ranks[1]))
        if not balanced:
            return drawn
        left = rest(law, hazards, law.outcome.grid.counts(*drawn))
        gap = float(np.sum((directions.T @ left / size) ** 2)) / max(float(left.var()), 1e-300)
        gap += ((intraclass(left, place) - alike.icc) / NEAR) ** 2 if alike.rho > 0.0 else 0.0
        if gap < least:
            best, least = drawn, gap
    return best


def rest(law: TimesLaw, hazards: OwnHazards, periods: Periods) -> Float64:
    """Return pseudo-outcomes of the restricted mean less what the hazards expect, shape (n,)."""
    n, mean = len(hazards.event), law.outcome.functionals[:1]
    kept = uncensored(hazards.censoring, np.ones(n), _BOUND)
    data = ArmData(np.ones(n, dtype=np.bool_), periods, np.ones(n), hazards.event, kept, np.ones(n))
    return np.asarray(pseudo_outcomes(data, mean)[:, 0] - mean[0].value(survival(hazards.event)))


def _ranks(shared: Float64, alone: Float64, rho: float) -> Float64:
    return np.asarray(ndtr(np.sqrt(rho) * shared + np.sqrt(1.0 - rho) * alone))


def _solve(reached: Callable[[float], float], wanted: float) -> float:
    """Find the correlation that reaches an intraclass correlation; 0 where rows are not alike."""
    if wanted <= 0.0:
        return 0.0
    low, high = 0.0, 0.999
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) < wanted else (low, middle)
    return (low + high) / 2
