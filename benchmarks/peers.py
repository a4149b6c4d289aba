"""The same question put to other packages: DoubleML, EconML, zEpid and statsmodels. Each is imported only where it is asked.

A frame has covariates, a treatment ``a`` (0, 1) and an outcome ``y``; ``bound`` is d: propensities are kept in [d, 1-d].
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import clone, is_classifier
from sklearn.model_selection import cross_val_predict

from benchmarks.learners import Cuts


class Answer(NamedTuple):
    """A point, its standard error, and the package's own object."""

    point: float
    se: float
    model: Any = None


def doubleml_model(frame: pd.DataFrame, cuts: Cuts, propensity: Any, outcome: Any, bound: float, score: str = "ATE") -> Any:
    """DoubleML's interactive regression model with its data and its folds, not fitted."""
    import doubleml
    from doubleml.utils import PSProcessorConfig

    data = doubleml.DoubleMLData(frame, "y", "a")
    clipping = PSProcessorConfig(clipping_threshold=bound)
    model = doubleml.DoubleMLIRM(
        data, outcome, propensity, n_folds=len(cuts), score=score, ps_processor_config=clipping, draw_sample_splitting=False
    )
    return model.set_sample_splitting([cuts])


def doubleml_irm(model: Any) -> Answer:
    """AIPW (or the ATT with score "ATTE") by DoubleML's interactive regression model."""
    model.fit()
    return Answer(float(model.coef[0]), float(model.se[0]), model)


def econml_dr(frame: pd.DataFrame, cuts: Cuts, propensity: Any, outcome: Any, bound: float) -> Answer:
    """AIPW by EconML's LinearDRLearner without features: its final stage is a constant."""
    from econml.dr import LinearDRLearner

    model = LinearDRLearner(
        model_propensity=propensity,
        model_regression=outcome,
        discrete_outcome=is_classifier(outcome),
        min_propensity=bound,
        cv=cuts,
        random_state=0,
    )
    model.fit(frame["y"].to_numpy(), frame["a"].to_numpy(), X=None, W=_matrix(frame))
    found = model.ate_inference()
    return Answer(float(found.mean_point), float(found.stderr_mean), model)


def zepid_tmle(a: np.ndarray, y: np.ndarray, g: np.ndarray, q0: np.ndarray, q1: np.ndarray, bound: float) -> Answer:
    """TMLE by zEpid, which knows no folds: predictions come in as models that already know them.

    zEpid takes an outcome with two values for binary, and scales any other to [0, 1] itself.
    """
    from zepid.causal.doublyrobust import TMLE

    class Positional(TMLE):  # type: ignore[misc]  # zEpid has no types
        """zEpid 0.9.1 reads its two coefficients by position from a Series, which pandas 3 refuses."""

        @property
        def _epsilon(self) -> Any:
            return self._coefficients

        @_epsilon.setter
        def _epsilon(self, values: Any) -> None:
            self._coefficients = None if values is None else np.asarray(values)

    binary = bool(np.all((y == 0) | (y == 1)))
    if not binary:
        q0, q1 = ((q - y.min()) / (y.max() - y.min()) for q in (q0, q1))
    model = Positional(pd.DataFrame({"a": a, "y": y, "row": np.arange(len(y))}), "a", "y")
    model.exposure_model("row", custom_model=_Probabilities(g), bound=float(bound), print_results=False)
    model.outcome_model("a + row", custom_model=_Probabilities(q0, q1) if binary else _Means(q0, q1), print_results=False)
    model.fit()
    if binary:
        return Answer(float(model.risk_difference), float(model.risk_difference_se), model)
    return Answer(float(model.average_treatment_effect), float(model.average_treatment_effect_se), model)


class _Means:
    """A "model" that knows its predictions by row, and by the treatment in the design's first column where there are two."""

    def __init__(self, *values: np.ndarray) -> None:
        self.values = values

    def fit(self, X: np.ndarray, y: np.ndarray) -> _Means:
        del X, y
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        rows = X[:, -1].astype(int)
        if X.shape[1] == 1:
            return np.asarray(self.values[0][rows])
        return np.asarray(np.where(X[:, 0] == 1, self.values[1][rows], self.values[0][rows]))


class _Probabilities(_Means):
    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        p = self.predict(X)
        return np.column_stack([1 - p, p])


def statsmodels_ipw(a: np.ndarray, y: np.ndarray, g: np.ndarray, bound: float) -> Answer:
    """IPW by weighted least squares of Y on A, with a robust standard error."""
    import statsmodels.api as sm

    p1 = np.clip(g, bound, 1 - bound)
    fit = sm.WLS(y, sm.add_constant(a), weights=a / p1 + (1 - a) / (1 - p1)).fit(cov_type="HC1")
    return Answer(float(fit.params[1]), float(fit.bse[1]), fit)


def statsmodels_or(contrasts: np.ndarray) -> Answer:
    """OR: the mean of the contrasts, with the error of that mean alone."""
    import statsmodels.api as sm

    fit = sm.OLS(contrasts, np.ones(len(contrasts))).fit(cov_type="HC1")
    return Answer(float(fit.params[0]), float(fit.bse[0]), fit)


def cross_fitted_propensity(frame: pd.DataFrame, cuts: Cuts, model: Any) -> np.ndarray:
    """Return out-of-fold g by scikit-learn alone."""
    found = cross_val_predict(model, _matrix(frame), frame["a"].to_numpy(), cv=cuts, method="predict_proba")
    return np.asarray(found[:, 1])


def cross_fitted_outcomes(frame: pd.DataFrame, cuts: Cuts, model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return out-of-fold Q0 and Q1 by scikit-learn alone, one regression per arm."""
    x, a, y = _matrix(frame), frame["a"].to_numpy(), frame["y"].to_numpy()
    method = "predict_proba" if is_classifier(model) else "predict"
    found = []
    for arm in (0, 1):
        within = [(train[a[train] == arm], test) for train, test in cuts]
        predicted = cross_val_predict(clone(model), x, y, cv=within, method=method)
        found.append(np.asarray(predicted[:, 1] if method == "predict_proba" else predicted))
    return found[0], found[1]


def _matrix(frame: pd.DataFrame) -> np.ndarray:
    return np.asarray(frame.drop(columns=["a", "y"]).to_numpy())
