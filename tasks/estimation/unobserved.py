"""Outcomes that some rows lack: weighted by the inverse of their chance to be observed (IPCW), under missingness at random.

With delta = 1(Y is observed) and pi_k(W) = P(delta = 1 | A = k, W), the mean of arm k is identified where pi_k > 0 as
E[E(Y | A = k, delta = 1, W)], with the efficient influence function

    Q_k - psi_k + 1(A = k) delta / (g_k pi_k) (Y - Q_k)

(Robins, Rotnitzky, Zhao 1994, DOI 10.1080/01621459.1994.10476818). It is that of a treatment with one arm more, to which rows without
outcome belong: arm k has the propensity g_k pi_k, the further arm the rest. So every estimator of means and contrasts serves unchanged,
on K + 1 arms of which K are compared. Effects among the rows of one arm, and in the overlap, are of all those rows: their estimators
see the treatment of all rows, and g, beside (:class:`tasks.targeting.sample.Treatment`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.contract.nuisance import Learner, Nuisances
from tasks.nuisance.crossfit import Covariates, CrossFit, Report, Rows, cross_fit
from tasks.nuisance.plan import Plan
from tasks.targeting.unobserved import with_presence

Mask = npt.NDArray[np.bool_]


def cross_fit_observed(
    plan: Plan, learner: Learner, rows: Rows, observed: Mask, covariates: Covariates, report: Report
) -> tuple[CrossFit, Nuisances]:
    """Cross-fit g and pi on all rows, Q on the observed ones.

    Parameters
    ----------
    plan, learner, covariates, report
        As in :func:`tasks.nuisance.crossfit.cross_fit`.
    rows : Rows
        With :func:`tasks.targeting.unobserved.placeholders`.
    observed : ndarray of bool, shape (n,)

    Returns
    -------
    tuple of CrossFit and Nuisances
        Nuisances of K + 1 arms: g_k pi_k of the arms 0 to K - 1, the rest of the last; Q of the last is the mean outcome. And g with
        pi in the place of Q, of K arms.
    """
    report("fitting the chance that the outcome is observed")
    presence = cross_fit(plan, learner, rows._replace(y=observed.astype(np.float64), kind="binary"), covariates, report)
    weights = np.ones(len(observed)) if rows.weights is None else rows.weights
    outcome = cross_fit(plan, learner, rows._replace(weights=weights * observed), covariates, report)
    fitted = Nuisances(*presence.nuisances[: rows.arms - 1], *outcome.nuisances.outcomes)
    extended = with_presence(fitted, presence.nuisances.outcomes, float(np.average(rows.y, weights=weights * observed)))
    return CrossFit(extended, outcome.models, outcome.rows), presence.nuisances
