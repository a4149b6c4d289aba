"""Values that a user gives for each row: weights and known propensities, checked."""

from __future__ import annotations

import numpy as np

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.nuisance import Float64


def known_weights(weights: Float64, n: int) -> Float64:
    """Check row weights, shape (n,): finite and not negative."""
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != (n,):
        raise SpecError(f"weights of estimate must be of shape ({n},); got {values.shape}.")
    for rule, wrong in (("known in every row", np.isnan(values)), ("finite", np.isinf(values)), ("at least 0", values < 0.0)):
        if wrong.any():
            raise EstimationError(
                f"weights of estimate must be {rule}; got {int(np.count_nonzero(wrong))} rows that are not.",
                "Give such rows weight 0 to leave them out.",
            )
    return values


def known_propensity(propensity: Float64 | float | None, n: int) -> Float64 | None:
    """Check known propensities, one for all rows or of shape (n,): in (0, 1)."""
    if propensity is None:
        return None
    values = np.asarray(propensity, dtype=np.float64)
    if values.ndim == 0:
        values = np.full(n, float(values))
    if values.shape != (n,):
        raise SpecError(f"propensity of estimate must be a number or of shape ({n},); got {values.shape}.")
    outside = int(np.count_nonzero(~((values > 0.0) & (values < 1.0))))
    if outside:
        raise EstimationError(f"propensity of estimate must be in (0, 1); got {outside} rows that are not.", "Drop rows without support.")
    return values
