"""TSTR: how well a model trained on the release predicts the source, beside one trained on the source."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64
from tasks.estimation.fidelity import EACH_ROW, Counting, Term, term

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


def transfer_scores(y: Float64, by_release: Float64, by_source: Float64, kind: str, counting: Counting = EACH_ROW) -> list[TransferScore]:
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
    counting : Counting
        How the source's rows count: scores are means over the weighted population, errors are over clusters.

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
        (tstr, tstr_values), (trtr, trtr_values) = (metric(arrays[0], predicted, counting) for predicted in arrays[1:])
        pairs = ((tstr, tstr_values), (trtr, trtr_values), (tstr - trtr, tstr_values - trtr_values))
        results.append(TransferScore(name, *(term(value, counting.error(influence)) for value, influence in pairs)))
    return results


def _rmse(y: Float64, prediction: Float64, counting: Counting) -> tuple[float, Float64]:
    squares = (y - prediction) ** 2
    value = math.sqrt(counting.mean(squares))
    return value, (squares - value**2) / (2.0 * value) if value > 0.0 else np.zeros_like(squares)


def _log_loss(y: Float64, prediction: Float64, counting: Counting) -> tuple[float, Float64]:
    p = np.clip(prediction, LOG_LOSS_MARGIN, 1.0 - LOG_LOSS_MARGIN)
    losses = -(y * np.log(p) + (1.0 - y) * np.log1p(-p))
    value = counting.mean(losses)
    return value, losses - value


def _auc(y: Float64, prediction: Float64, counting: Counting) -> tuple[float, Float64]:
    positive = y == 1.0
    ones, zeros = int(np.count_nonzero(positive)), int(np.count_nonzero(~positive))
    if min(ones, zeros) == 0:
        raise EstimationError(f"classes of a binary outcome must have at least 1 row each; got {zeros} and {ones}.")
    if counting.weights is not None:
        return _weighted_auc(positive, prediction, counting.weights)
    overall = np.asarray(rankdata(prediction), dtype=np.float64)
    placement = np.empty_like(overall)
    # share of the other class that each row beats (positives) or is beaten by (negatives), ties halved
    placement[positive] = (overall[positive] - rankdata(prediction[positive])) / zeros
    placement[~positive] = 1.0 - (overall[~positive] - rankdata(prediction[~positive])) / ones
    value = float(np.mean(placement[positive]))
    share = np.where(positive, ones, zeros) / len(y)
    return value, (placement - value) / share


def _weighted_auc(positive: npt.NDArray[np.bool_], prediction: Float64, weights: Float64) -> tuple[float, Float64]:
    """Return the same over a weighted population: each row of the other class counts by its weight."""
    beaten = {side: _weight_below(prediction, prediction[positive == side], weights[positive == side]) for side in (False, True)}
    placement = np.where(positive, beaten[False], 1.0 - beaten[True])
    value = float(np.average(placement[positive], weights=weights[positive]))
    share = np.where(positive, weights[positive].sum(), weights[~positive].sum()) / weights.sum()
    return value, (placement - value) / share


def _weight_below(values: Float64, others: Float64, weights: Float64) -> Float64:
    """Return the share of the others' weight that lies below each value, ties halved."""
    order = np.argsort(others, kind="stable")
    total = np.concatenate(([0.0], np.cumsum(weights[order])))
    below, up_to = (total[np.searchsorted(others[order], values, side=side)] for side in ("left", "right"))
    return np.asarray((below + up_to) / (2.0 * total[-1]), dtype=np.float64)
