"""Whether drawn rows are closer to rows that the synthesizer saw than to those it did not see."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.contract.errors import EstimationError
from tasks.distance import closest, fit_scale

#: Subsamples of the larger reference that are averaged.
REPEATS = 5
#: Fewest rows of a reference.
FEWEST = 20


def closer_share(training: pd.DataFrame, holdout: pd.DataFrame, drawn: pd.DataFrame, rng: np.random.Generator) -> float:
    """Return the share of drawn rows that are closer to a training row than to any holdout row, ties halved.

    Both references have as many rows: the larger one is subsampled without replacement, ``REPEATS`` times, and the shares are averaged. So
    0.5 is what is expected where nothing leaks. This is a description; the gates of a release test the same question with exact nulls.

    Parameters
    ----------
    training, holdout, drawn : DataFrame
        Canonical covariates.
    rng : numpy.random.Generator

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    EstimationError
        If a reference has fewer than ``FEWEST`` rows, or there is no drawn row.
    """
    size = min(len(training), len(holdout))
    if size < FEWEST or len(drawn) == 0:
        raise EstimationError(
            f"rows of a closeness share must be at least {FEWEST} in training rows and holdout and 1 drawn; "
            f"got {len(training)}, {len(holdout)} and {len(drawn)}.",
            "Bring more rows, or raise source.holdout.",
        )
    scale = fit_scale([training, holdout])
    whole = [closest(drawn, frame, scale=scale)[0][:, 0] if len(frame) == size else None for frame in (training, holdout)]
    shares = []
    for _ in range(REPEATS if len(training) != len(holdout) else 1):
        near, far = (
            distances if distances is not None else closest(drawn, _subsample(frame, size, rng), scale=scale)[0][:, 0]
            for distances, frame in zip(whole, (training, holdout))
        )
        shares.append(float(np.mean(near < far) + 0.5 * np.mean(near == far)))
    return float(np.mean(shares))


def _subsample(frame: pd.DataFrame, size: int, rng: np.random.Generator) -> pd.DataFrame:
    return frame.iloc[np.sort(rng.choice(len(frame), size, replace=False))].reset_index(drop=True)
