"""Overlap of the two arms, measured on cross-fitted propensities."""

from __future__ import annotations

import numpy as np

from tasks.checks.evidence import OverlapEvidence
from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8

_CLIP = 1e-9


def measure_overlap(propensity: Float64, treatment: Int8, bound: float) -> OverlapEvidence:
    """Measure how much the arms of one table overlap.

    Weights are 1/g for the treated and 1/(1-g) for controls, with g truncated to [d, 1-d] as in the estimators.

    Parameters
    ----------
    propensity : ndarray of float64, shape (n,)
        P(A = 1 | W), cross-fitted, not truncated.
    treatment : ndarray of int8, shape (n,)
        0 or 1.
    bound : float
        d, in [0, 0.5).

    Returns
    -------
    OverlapEvidence

    Raises
    ------
    EstimationError
        If there are no rows, or the shapes differ, or a propensity is no number in [0, 1].
    """
    if len(propensity) == 0 or propensity.shape != treatment.shape:
        raise EstimationError(
            f"propensity and treatment of the overlap must be of one length above 0; got {len(propensity)} and {len(treatment)}."
        )
    if not bool(np.all((propensity >= 0) & (propensity <= 1))):
        raise EstimationError("propensity of the overlap must be in [0, 1] for every row; got one outside.")
    treated = treatment == 1
    safe = np.clip(np.clip(propensity, bound, 1 - bound), _CLIP, 1 - _CLIP)
    ess_treated, largest_treated = _concentration(1 / safe[treated])
    ess_control, largest_control = _concentration(1 / (1 - safe[~treated]))
    return OverlapEvidence(
        rows=len(propensity),
        bound=float(bound),
        outside=float(np.mean((propensity < bound) | (propensity > 1 - bound))),
        treated=int(treated.sum()),
        control=int((~treated).sum()),
        ess_treated=ess_treated,
        ess_control=ess_control,
        largest_weight=max(largest_treated, largest_control),
        slope=calibration_slope(propensity, treatment),
    )


def _concentration(weights: Float64) -> tuple[float, float]:
    """Return effective share and largest normalised weight of one arm; (0, 1) for an empty one."""
    if len(weights) == 0:
        return 0.0, 1.0
    total = float(weights.sum())
    return min(total**2 / (len(weights) * float(weights @ weights)), 1.0), float(weights.max()) / total


def calibration_slope(propensity: Float64, treatment: Int8) -> float | None:
    """Return the slope of a logistic regression of A on logit g: 1 where g is calibrated, below 1 where it is too extreme.

    Cox 1958, DOI 10.2307/2333203. Fitted by Newton's method.

    Parameters
    ----------
    propensity : ndarray of float64, shape (n,)
    treatment : ndarray of int8, shape (n,)

    Returns
    -------
    float or None
        None where an arm is empty, g does not vary, or the fit has no finite solution.
    """
    clipped = np.clip(propensity, 1e-6, 1 - 1e-6)
    logit = np.log(clipped / (1 - clipped))
    # a logit that varies in its last digits only is a constant, and has no slope
    if treatment.min() == treatment.max() or logit.std() < 1e-3:
        return None
    x = np.column_stack([np.ones_like(logit), logit])
    beta = np.array([0.0, 1.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -35, 35)))
        hessian = (x * (p * (1 - p))[:, None]).T @ x
        if not np.linalg.cond(hessian) < 1e12:
            return None
        step = np.linalg.solve(hessian, x.T @ (treatment - p))
        beta = beta + step
        if float(np.abs(step).max()) < 1e-10:
            return float(beta[1])
    return None
