"""Rank correlation."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from tasks.contract.nuisance import Float64

#: Pairs below which a rank correlation says too little to be shown or kept.
FEWEST_PAIRS = 30


def spearman(x: Float64, y: Float64) -> float:
    """Return the correlation of ranks, mid-ranks for ties; 0 where nothing varies."""
    ranks = np.column_stack([rankdata(x), rankdata(y)])
    ranks -= ranks.mean(axis=0)
    size = float(np.sqrt(np.prod(np.sum(ranks**2, axis=0))))
    return float(ranks[:, 0] @ ranks[:, 1]) / size if size > 0.0 else 0.0
