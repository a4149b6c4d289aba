"""Peers of closest records, on coordinates whose Euclidean distance is the metric l2, and SDMetrics on its own."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from tasks.distance import Scale, closest, fit_scale

Method = Callable[[pd.DataFrame, pd.DataFrame, Scale], np.ndarray]


def one_hot(frame: pd.DataFrame, scale: Scale, dtype: type) -> np.ndarray:
    """Return coordinates whose Euclidean distance is the metric l2."""
    parts = [
        frame[name].to_numpy(np.float64)[:, None] / width
        for name, kind, width in zip(scale.names, scale.kinds, scale.widths)
        if kind == "numeric"
    ]
    for name in scale.categorical:
        codes = frame[name].cat.codes.to_numpy()
        parts.append((codes[:, None] == np.arange(len(frame[name].cat.categories))) * np.sqrt(0.5))
    coordinates = np.concatenate(parts, axis=1)
    return np.ascontiguousarray(coordinates - coordinates.mean(axis=0), dtype=dtype)


def recheck(x: np.ndarray, y: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Measure candidates (n, c) again in float64 and return the smallest distance."""
    best = np.full(len(x), np.inf)
    for column in near.T:
        best = np.minimum(best, np.sqrt(((x - y[column]) ** 2).sum(axis=1)))
    return best


def run_faiss(query: pd.DataFrame, reference: pd.DataFrame, scale: Scale) -> np.ndarray:
    import faiss

    both = one_hot(pd.concat([query, reference]), scale, np.float32)
    index = faiss.IndexFlatL2(both.shape[1])
    index.add(both[len(query) :])
    return np.asarray(np.sqrt(np.maximum(index.search(both[: len(query)], 1)[0][:, 0], 0)))


def run_sklearn(query: pd.DataFrame, reference: pd.DataFrame, scale: Scale, algorithm: str = "brute") -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    both = one_hot(pd.concat([query, reference]), scale, np.float64)
    model = NearestNeighbors(n_neighbors=1, algorithm=algorithm).fit(both[len(query) :])
    return np.asarray(model.kneighbors(both[: len(query)])[0][:, 0])


def run_scipy(query: pd.DataFrame, reference: pd.DataFrame, scale: Scale) -> np.ndarray:
    from scipy.spatial import cKDTree

    both = one_hot(pd.concat([query, reference]), scale, np.float64)
    return np.asarray(cKDTree(both[len(query) :]).query(both[: len(query)])[0])


def run_gemm(query: pd.DataFrame, reference: pd.DataFrame, scale: Scale) -> np.ndarray:
    """Blocked float32 matrix product, smallest entry a row, measured again in float64."""
    both = one_hot(pd.concat([query, reference]), scale, np.float64)
    x, y = both[: len(query)], both[len(query) :]
    x32, y32 = x.astype(np.float32), y.astype(np.float32)
    half = (y32 * y32).sum(axis=1) / 2
    near = np.empty((len(x), 1), dtype=np.int64)
    product = np.empty((1024, 2048), dtype=np.float32)
    for i in range(0, len(x), 1024):
        block = x32[i : i + 1024]
        best, where = np.full(len(block), np.inf, dtype=np.float32), np.zeros(len(block), dtype=np.int64)
        for j in range(0, len(y), 2048):
            part = product[: len(block), : min(2048, len(y) - j)]
            np.matmul(block, y32[j : j + 2048].T, out=part)
            np.subtract(half[j : j + 2048], part, out=part)
            here = part.argmin(axis=1)
            value = part[np.arange(len(block)), here]
            better = value < best
            best[better], where[better] = value[better], here[better] + j
        near[i : i + 1024, 0] = where
    return recheck(x, y, near)


def run_sdmetrics(query: pd.DataFrame, reference: pd.DataFrame, python: str) -> tuple[float, float, float]:
    """Return CPU and wall seconds of SDMetrics under its own Python, and its largest error against ours in its metric.

    Its metric is Gower's with the ranges of the reference alone.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        query.to_csv(folder / "query.csv", index=False)
        reference.to_csv(folder / "reference.csv", index=False)
        scale = fit_scale([reference], "gower")
        asked = [python, str(Path(__file__).with_name("distance_sdmetrics.py")), name, *map(str, scale.categorical)]
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
        spent = json.loads(done.stdout.splitlines()[-1])
        found = np.load(folder / "distances.npy")
    ours = closest(query, reference, scale=scale)[0][:, 0]
    return spent["cpu"], spent["wall"], float(np.abs(found - ours).max())


PEERS: dict[str, Method] = {
    "faiss IndexFlatL2": run_faiss,
    "blocked GEMM + recheck": run_gemm,
    "sklearn brute": run_sklearn,
    "sklearn kd-tree": partial(run_sklearn, algorithm="kd_tree"),
    "sklearn ball tree": partial(run_sklearn, algorithm="ball_tree"),
    "scipy cKDTree": run_scipy,
}
TREES = ("sklearn kd-tree", "sklearn ball tree", "scipy cKDTree")
