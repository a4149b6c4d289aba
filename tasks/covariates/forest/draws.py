"""Draws from the leaves of a forest: a row's state, its residual."""

from __future__ import annotations

import numpy as np

from tasks.covariates.forest.leaves import FEWEST_SMOOTH, Leaves
from tasks.covariates.margins import Float64, Intp
from tasks.numerics.compiled import compiled

_MOST_TILT = 2.0


def draw_states(leaves: Leaves, node: Intp, index: Float64, tilted: Intp, rng: np.random.Generator) -> Intp:
    """Draw states from the laws in the leaves, tilted by where a row stands inside its leaf.

    With f_s the share of state s in the leaf, L_s its linear index and p_s its overall share,
    ``P(s | x) ~ f_s exp((L_s(x) - mean of L_s in the leaf) / p_s)``, the exponent kept
    in [-2, 2]: linear regressions of indicators give the
    directions of the linear discriminant, whose log odds have slope 1 / p_s on them (Hastie, Tibshirani, Friedman
    2009, section 4.3, 10.1007/978-0-387-84858-7). A state that a leaf does not hold stays out of it.

    Parameters
    ----------
    leaves : Leaves
    node : ndarray of intp, shape (n,)
        Leaf of each row.
    index : ndarray of float64, shape (n, at least k)
        First linear indices divided by the states' shares, for the states ``tilted``.
    tilted : ndarray of intp, shape (k,)
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of intp, shape (n,)
        States from 0; missing is the last.
    """
    state = np.empty(len(node), dtype=np.intp)
    _draw_states(leaves.shares, leaves.position, node, index, tilted, rng.random(len(node)), state)
    return state


@compiled
def _draw_states(shares, position, node, index, tilted, spot, state):  # type: ignore[no-untyped-def]  # typed by Numba at the call
    """Write the state whose share of the chances, laid end to end, each row's uniform number falls into."""
    states = shares.shape[1]
    chance = np.empty(states)
    for i in range(len(node)):
        at = node[i]
        for k in range(states):
            chance[k] = shares[at, k]
        for t in range(len(tilted)):
            apart = index[i, t] - position[at, t]
            chance[tilted[t]] *= np.exp(min(max(apart, -_MOST_TILT), _MOST_TILT))
        total = 0.0
        for k in range(states):
            total += chance[k]
            chance[k] = total
        place, where = 0, spot[i] * total
        for k in range(states):
            if chance[k] <= where:
                place += 1
        state[i] = min(place, states - 1)


def draw_residuals(leaves: Leaves, node: Intp, bandwidth: float, rng: np.random.Generator) -> Float64:
    """Draw residuals from kernel estimates in the leaves.

    A Gaussian kernel estimate over the leaf's m continuous donors with bandwidth
    ``h = bandwidth * 1.06 * sd * m^(-1/5)`` (Silverman 1986, 10.1201/9781315140919), shrunk to the donors' mean so
    that their variance is kept: no donor's own value is returned.

    Parameters
    ----------
    leaves : Leaves
    node : ndarray of intp, shape (n,)
    bandwidth : float
        Factor on the normal-reference bandwidth.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (n,)
        0 where the column has no continuous part.
    """
    n, pooled = len(node), len(leaves.pooled)
    if pooled == 0:
        return np.zeros(n)
    few = leaves.size[node] < FEWEST_SMOOTH
    m = np.where(few, pooled, leaves.size[node])
    pick = np.minimum((rng.random(n) * m).astype(np.intp), m - 1)
    donor_at = np.minimum(np.where(few, 0, leaves.start[node] + pick), max(len(leaves.residual) - 1, 0))
    donor = np.where(few, leaves.pooled[np.minimum(pick, pooled - 1)], leaves.residual[donor_at] if len(leaves.residual) else 0.0)
    centre = np.where(few, leaves.pooled.mean(), leaves.centre[node])
    spread = np.where(few, leaves.pooled.std(), leaves.spread[node])
    ratio = bandwidth * 1.06 * m**-0.2
    return np.asarray(centre + (donor - centre + ratio * spread * rng.standard_normal(n)) / np.sqrt(1 + ratio**2))
