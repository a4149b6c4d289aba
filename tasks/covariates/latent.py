"""Between coded cells and one standard normal variable per column, atoms and levels included."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from tasks.covariates.margins import MISSING, Coded, Float64, Intp, Margin


def latent_to_state(margin: Margin, order: Intp, latent: Float64) -> Coded:
    """Read states and scores off a standard normal variable: the joint quantile transform of a mixed column.

    Parameters
    ----------
    margin : Margin
    order : ndarray of intp, shape (states,)
        States of a category in their order along the latent variable; ignored for numeric columns.
    latent : ndarray of float64, shape (n,)

    Returns
    -------
    Coded
        Never missing.
    """
    uniform = np.asarray(ndtr(latent))
    pieces, upper = _pieces(margin, order)
    piece = np.minimum(np.searchsorted(upper, uniform, side="right"), len(pieces) - 1)
    state = pieces[piece]
    score = margin.position[state]
    if margin.smooth != MISSING:
        inside = state == margin.smooth
        lower = upper - np.diff(np.concatenate(([0.0], upper)))
        taken = np.cumsum(np.where(pieces != margin.smooth, upper - lower, 0.0))
        share = (uniform[inside] - taken[piece[inside]]) / margin.shares[margin.smooth]
        score[inside] = ndtri(np.clip(share, 1e-12, 1 - 1e-12))
    return Coded(state, score)


def state_to_latent(margin: Margin, order: Intp, coded: Coded, rng: np.random.Generator) -> Float64:
    """Return the distributional transform of coded cells: ties are spread at random over their share; NaN where missing.

    Inverse of :func:`latent_to_state` up to the random spread (Rueschendorf 2009, 10.1016/j.jspi.2009.05.030).
    """
    pieces, upper = _pieces(margin, order)
    width = np.diff(np.concatenate(([0.0], upper)))
    start = np.zeros(len(margin.shares))
    size = margin.shares.copy()
    for piece, state in enumerate(pieces):
        if state != margin.smooth:
            start[state] = upper[piece] - width[piece]
    seen = coded.state >= 0
    state = coded.state[seen]
    uniform = start[state] + rng.random(len(state)) * size[state]
    if margin.smooth != MISSING:
        inside = state == margin.smooth
        share = np.asarray(ndtr(coded.score[seen][inside]))
        atoms = margin.shares[: margin.smooth]
        jump = np.concatenate(([0.0], np.cumsum(atoms)))[np.searchsorted(margin.below[:-1], share, side="left")]
        uniform[inside] = share * margin.shares[margin.smooth] + jump
    result = np.full(len(seen), np.nan)
    result[seen] = ndtri(np.clip(uniform, 1e-9, 1 - 1e-9))
    return result


def _pieces(margin: Margin, order: Intp) -> tuple[Intp, Float64]:
    """Cut (0, 1) into the pieces of a mixed law; return the state of each piece and its upper end."""
    if margin.smooth == MISSING:
        states = order if not margin.ordered else np.arange(len(margin.shares))
        return states, np.cumsum(margin.shares[states])
    whole = margin.shares[margin.smooth]
    cuts = np.concatenate(([0.0], margin.below[:-1], [1.0]))
    parts: list[int] = []
    widths: list[float] = []
    for k in range(margin.smooth + 1):
        parts += [margin.smooth] + ([k] if k < margin.smooth else [])
        widths += [whole * (cuts[k + 1] - cuts[k])] + ([margin.shares[k]] if k < margin.smooth else [])
    return np.asarray(parts, dtype=np.intp), np.cumsum(widths)
