"""TSTR: how well a model trained on the release predicts the source, beside one trained on the source."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64
from tasks.estimation.fidelity import Term, term

#: Probabilities are kept this far from 0 and 1 in the log loss, so that one sure mistake costs at most 13.8.
LOG_LOSS_MARGIN = 1e-6


class TransferScore(NamedTuple):
    """One score of both models on the same source rows.

    Attributes
    ----------
    metric : str
        ``"rmse"`` (units of the outcome), ``"auc"`` (in [0, 1]) or ``"log_loss"`` (nats).
    tstr : Term
        Trained on the release, tested on the source.
    trtr : Term
        Trained on the source and tested on it, out of fold.
    difference : Term
        tstr - trtr, paired row by row.
    """

    metric: str
    tstr: Term
    trtr: Term
    difference: Term


def transfer_scores(y: Float64, by_release: Float64, by_source: Float64, kind: str) -> list[TransferScore]:
    """Score both models on the source's outcomes, with intervals.

    Intervals treat the models as fixed and come from the scores' influence values: delta method for the RMSE, DeLong, DeLong,
    Clarke-Pearson (1988), DOI 10.2307/2531595, for the AUC.

    Parameters
    ----------
    y : ndarray of float64, shape (n,)
        The source's outcomes.
    by_release : ndarray of float64, shape (n,)
        Q(A_i, W_i) by models fitted on the release alone.
    by_source : ndarray of float64, shape (n,)
        Out-of-fold predictions: :meth:`tasks.contract.nuisance.Nuisances.observed`.
    kind : str
        ``"binary"`` is scored by AUC and log loss, the others by RMSE.

    Returns
    -------
    list of TransferScore

    Raises
    ------
    EstimationError
        If shapes differ, a value is not finite, or a binary outcome has one class only.
    """
    arrays = [np.asarray(values, dtype=np.float64) for values in (y, by_release, by_source)]
    if len({values.shape for values in arrays}) != 1 or len(arrays[0]) < 2 or not all(np.isfinite(values).all() for values in arrays):
        raise EstimationError("outcomes and predictions of a score must be finite and of one length of at least 2; got others.")
    metrics = {"auc": _auc, "log_loss": _log_loss} if kind == "binary" else {"rmse": _rmse}
    results = []
    for name, metric in metrics.items():
        (tstr, tstr_values), (trtr, trtr_values) = metric(arrays[0], arrays[1]), metric(arrays[0], arrays[2])
        results.append(
            TransferScore(name, _term(tstr, tstr_values), _term(trtr, trtr_values), _term(tstr - trtr, tstr_values - trtr_values))
        )
    return results


def _term(value: float, influence: Float64) -> Term:
    return term(value, float(np.std(influence, ddof=1)) / math.sqrt(len(influence)))


def _rmse(y: Float64, prediction: Float64) -> tuple[float, Float64]:
    squares = (y - prediction) ** 2
    value = math.sqrt(float(np.mean(squares)))
    return value, (squares - value**2) / (2.0 * value) if value > 0.0 else np.zeros_like(squares)


def _log_loss(y: Float64, prediction: Float64) -> tuple[float, Float64]:
    p = np.clip(prediction, LOG_LOSS_MARGIN, 1.0 - LOG_LOSS_MARGIN)
    losses = -(y * np.log(p) + (1.0 - y) * np.log1p(-p))
    value = float(np.mean(losses))
    return value, losses - value


def _auc(y: Float64, prediction: Float64) -> tuple[float, Float64]:
    positive = y == 1.0
    ones, zeros = int(np.count_nonzero(positive)), int(np.count_nonzero(~positive))
    if min(ones, zeros) == 0:
        raise EstimationError(f"classes of a binary outcome must have at least 1 row each; got {zeros} and {ones}.")
    overall = np.asarray(rankdata(prediction), dtype=np.float64)
    placement = np.empty_like(overall)
    # share of the other class that each row beats (positives) or is beaten by (negatives), ties halved
    placement[positive] = (overall[positive] - rankdata(prediction[positive])) / zeros
    placement[~positive] = 1.0 - (overall[~positive] - rankdata(prediction[~positive])) / ones
    value = float(np.mean(placement[positive]))
    share = np.where(positive, ones, zeros) / len(y)
    return value, (placement - value) / share
