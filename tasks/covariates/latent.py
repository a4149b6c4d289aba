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


def state_to_latent(margin: Margin, order: Intp, coded: Coded) -> Float64:
    """Return E[latent | cell]: the normal score of a continuous cell, the mean of its piece for an atom or level; NaN where missing.

    Parameters
    ----------
    margin : Margin
    order : ndarray of intp, shape (states,)
        As in :func:`latent_to_state`.
    coded : Coded

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    pieces, upper = _pieces(margin, order)
    lower = np.concatenate(([0.0], upper[:-1]))
    middle = np.zeros(len(margin.shares))
    for state, low, high in zip(pieces, lower, upper, strict=True):
        if state != margin.smooth:
            middle[state] = mean_between(low, high)
    seen = coded.state >= 0
    state = coded.state[seen]
    latent = middle[state]
    if margin.smooth != MISSING:
        inside = state == margin.smooth
        share = np.asarray(ndtr(coded.score[seen][inside]))
        jump = np.concatenate(([0.0], np.cumsum(margin.shares[: margin.smooth])))
        uniform = share * margin.shares[margin.smooth] + jump[np.searchsorted(margin.below[:-1], share, side="left")]
        latent[inside] = ndtri(np.clip(uniform, 1e-9, 1 - 1e-9))
    result = np.full(len(seen), np.nan)
    result[seen] = latent
    return result


def mean_between(low: float, high: float) -> float:
    """Return the mean of a standard normal variable between its quantiles at ``low`` and ``high``."""
    if high - low < 1e-12:
        return float(ndtri(min(max((low + high) / 2, 1e-9), 1 - 1e-9)))
    ends = np.asarray(ndtri(np.clip([low, high], 1e-300, 1 - 1e-16)))
    density = np.exp(-0.5 * ends**2) / np.sqrt(2 * np.pi)
    return float((density[0] - density[1]) / (high - low))


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
