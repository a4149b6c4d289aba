"""A release by a plain pandas and scikit-learn script, everything in memory: the peer of benchmarks/release_scale.py.

Run ``python -m benchmarks.plain_script FOLDER`` on a source of benchmarks/make_source.py. Five-fold cross-fitting of g, Q0 and Q1, each by
histogram boosting and by a linear model (three and three a fold, averaged), a one-step fluctuation, rows drawn from the source with
replacement (no synthesizer: nothing is learnt of the covariates), treatment and outcome drawn, the same cross-fitting and AIPW on the
release, and the distance to the closest of 20,000 source rows by brute force for 20,000 released ones. No gate, no leak test, no manifest.
One thread. JSON on stdout: CPU seconds by stage and the peak of memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks.make_source import LEVELS, OUTCOME, TREATMENT

Float64 = npt.NDArray[np.float64]
FOLDS = 5
CAP = 20_000


def encoder(frame: pd.DataFrame) -> Any:
    """Return scaled numbers and one-hot levels."""
    numbers = [name for name in frame if name not in LEVELS]
    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    return make_column_transformer((scaled, numbers), (OneHotEncoder(handle_unknown="ignore"), list(LEVELS)))


def averaged(
    frame: pd.DataFrame, target: npt.NDArray[Any], train: npt.NDArray[np.bool_], test: npt.NDArray[np.bool_], binary: bool
) -> Float64:
    """Fit one boosted and one linear model on some rows; return their mean prediction of others."""
    trees = HistGradientBoostingClassifier if binary else HistGradientBoostingRegressor
    linear = LogisticRegression(max_iter=200) if binary else Ridge()
    total = np.zeros(int(test.sum()))
    for model in (trees(categorical_features="from_dtype"), make_pipeline(encoder(frame), linear)):
        model.fit(frame[train], target[train])
        total += model.predict_proba(frame[test])[:, 1] if binary else model.predict(frame[test])
    return total / 2


def cross_fit(frame: pd.DataFrame, a: npt.NDArray[np.int64], y: Float64) -> tuple[Float64, Float64, Float64]:
    """Return out-of-fold g, Q0 and Q1, each of shape (n,)."""
    fold = np.random.default_rng(0).permutation(len(a)) % FOLDS
    g, q0, q1 = np.empty((3, len(a)))
    for number in range(FOLDS):
        test = fold == number
        g[test] = averaged(frame, a, ~test, test, True)
        q0[test] = averaged(frame, y, ~test & (a == 0), test, False)
        q1[test] = averaged(frame, y, ~test & (a == 1), test, False)
    return np.clip(g, 0.01, 0.99), q0, q1


def aipw(a: npt.NDArray[np.int64], y: Float64, g: Float64, q0: Float64, q1: Float64) -> Float64:
    """Return the influence values of the average effect."""
    return np.asarray(q1 - q0 + a * (y - q1) / g - (1 - a) * (y - q0) / (1 - g))


def main() -> None:
    """Do the work and print what it took."""
    parser = argparse.ArgumentParser(description="A release by pandas and scikit-learn.")
    parser.add_argument("source", type=Path)
    seconds: dict[str, float] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        seconds[name] = round(time.process_time() - start, 2)

    folder, rng = parser.parse_args().source, np.random.default_rng(1)
    with threadpool_limits(1):
        with stage("read"):
            frame = pd.read_parquet(folder)
            a, y = frame.pop(TREATMENT).to_numpy(), frame.pop(OUTCOME).to_numpy()
            frame = frame.astype(dict.fromkeys(LEVELS, "category") | {"smoker": "float64"})
        with stage("cross-fit"):
            g, q0, q1 = cross_fit(frame, a, y)
        with stage("target and draw"):
            h = a / g - (1 - a) / (1 - g)
            epsilon = float(h @ (y - np.where(a == 1, q1, q0)) / (h @ h))
            q0, q1 = q0 - epsilon / (1 - g), q1 + epsilon / g
            spread = float(np.std(y - np.where(a == 1, q1, q0)))
            chosen = rng.integers(0, len(a), len(a))
            drawn = frame.iloc[chosen].reset_index(drop=True)
            drawn_a = (rng.random(len(a)) < 0.5).astype(np.int64)
            drawn_y = np.where(drawn_a == 1, q1[chosen], q0[chosen]) + spread * rng.normal(size=len(a))
        with stage("estimate on release"):
            again = cross_fit(drawn, drawn_a, drawn_y)
        effects = [float(aipw(a, y, g, q0, q1).mean()), float(aipw(drawn_a, drawn_y, *again).mean())]
        with stage("closest records"):
            x = encoder(frame).fit(frame)
            near = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(x.transform(frame.iloc[:CAP]))
            distance = near.kneighbors(x.transform(drawn.iloc[:CAP]))[0]
        with stage("write"):
            drawn.assign(**{TREATMENT: drawn_a, OUTCOME: drawn_y}).to_parquet(folder.parent / "plain.parquet")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {"rows": len(a), "effects": effects, "median_distance": float(np.median(distance)), "cpu_seconds": seconds}
    print(json.dumps(result | {"total_cpu_seconds": round(time.process_time(), 1), "peak_mib": round(peak)}, indent=1))


if __name__ == "__main__":
    main()
