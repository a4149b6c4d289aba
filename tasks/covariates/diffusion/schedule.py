"""The path from noise to data, and the steps along it."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import torch

from tasks.covariates.diffusion.denoiser import Denoiser
from tasks.covariates.margins import Float64, Intp

_FIRST = 40.0
_LAST = 0.01
_BEND = 5.0


def times(steps: int) -> npt.NDArray[np.float64]:
    """Return where the path ``x_t = t x_1 + (1 - t) noise`` is visited, shape (steps,), ascending in (0, 1).

    The ratio of noise to data, (1 - t) / t, falls from 40 to 0.01, its fifth root evenly (Karras et al. 2022, arXiv 2206.00364, with 7).
    """
    share = np.linspace(0.0, 1.0, steps) if steps > 1 else np.ones(1)
    noise = (_FIRST ** (1 / _BEND) + share * (_LAST ** (1 / _BEND) - _FIRST ** (1 / _BEND))) ** _BEND
    return np.asarray(1.0 / (1.0 + noise))


def weights(before: float, now: float, after: float) -> tuple[float, float, float]:
    """Return how the next point is mixed: of the present point, the present estimate of the data, and the one before.

    The second-order multistep solver of the probability flow (Lu et al. 2022, arXiv 2211.01095): exact where the estimate
    of the data changes linearly in the log of t / (1 - t).

    Parameters
    ----------
    before, now, after : float
        Times of the estimate before (0 where there is none), of the present one, and of the next point.
    """
    keep = (1 - after) / (1 - now)
    new = after - keep * now
    if before <= 0:
        return keep, new, 0.0
    ahead, behind = _log_ratio(after) - _log_ratio(now), _log_ratio(now) - _log_ratio(before)
    more = ahead / (2 * behind)
    return keep, new * (1 + more), -new * more


def _log_ratio(t: float) -> float:
    return float(np.log(t) - np.log1p(-t))


def flow(net: Denoiser, steps: int, n: int, rng: np.random.Generator) -> tuple[Float64, Intp]:
    """Follow the flow from noise to rows.

    Parameters
    ----------
    net : Denoiser
    steps : int
        Estimates of the clean row on the way.
    n : int
    rng : numpy.random.Generator

    Returns
    -------
    numbers : ndarray of float64, shape (n, numbers)
        About standard normal, column by column.
    codes : ndarray of intp, shape (n, blocks)
    """
    path = [*times(steps), 1.0]
    where = net.shares.device
    with torch.no_grad():
        middle = torch.cat([torch.zeros(net.numbers, device=where), net.shares])
        noise = torch.from_numpy(rng.standard_normal((n, len(middle)), dtype=np.float32)).to(where)
        x = path[0] * middle + (1 - path[0]) * noise
        before, last = 0.0, x
        for now, after in itertools.pairwise(path):
            guess = net.estimate(x, torch.full((n, 1), now, device=where))
            if after == 1.0:
                x = guess
                break
            keep, new, old = weights(before, now, after)
            x = keep * x + new * guess + old * last
            before, last = now, guess
        result = x.cpu().numpy().astype(np.float64)
    cuts = net.numbers + np.concatenate(([0], np.cumsum(net.widths))).astype(int)
    blocks = [result[:, start:stop].argmax(axis=1) for start, stop in itertools.pairwise(cuts)]
    codes = np.column_stack(blocks) if blocks else np.zeros((n, 0), dtype=np.intp)
    return result[:, : net.numbers], codes
