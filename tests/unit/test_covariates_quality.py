"""How good the synthesizers are: fit on one side, memory on the other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import NearestNeighbors

from tasks.contract.errors import SpecError
from tasks.contract.registry import resolve
from tests.contract.test_synthesizers import describe, mixed, sample


def world(n: int, seed: int) -> pd.DataFrame:
    """World B of the benchmarks: three binary and three continuous covariates (Xu 2026)."""
    rng = np.random.default_rng(seed)
    one, two = rng.integers(0, 2, (2, n))
    three = (rng.random(n) < 0.3 + 0.35 * (one + two) / 2).astype(int)
    four, five = rng.standard_normal((2, n))
    six = four / 2 + five / 2 + rng.standard_normal(n)
    flags = {f"w{k}": pd.Categorical.from_codes(x, categories=["0", "1"]) for k, x in enumerate((one, two, three))}
    return pd.DataFrame({**flags, "w3": four, "w4": five, "w5": six})


def numbers(table: pd.DataFrame) -> np.ndarray:
    return np.column_stack([x.cat.codes if isinstance(x.dtype, pd.CategoricalDtype) else x for _, x in table.items()]).astype(float)


def separation(real: pd.DataFrame, drawn: pd.DataFrame) -> float:
    """Out-of-fold AUC of a classifier that tells two samples apart; 0.5 is ideal."""
    truth = np.repeat([0, 1], [len(real), len(drawn)])
    model = HistGradientBoostingClassifier(max_iter=40, random_state=0)
    guess = cross_val_predict(model, np.vstack([numbers(real), numbers(drawn)]), truth, cv=3, method="predict_proba")[:, 1]
    return float(roc_auc_score(truth, guess))


def memory(seed: pd.DataFrame, hold: pd.DataFrame, drawn: pd.DataFrame) -> float:
    """z of the number of drawn rows whose nearest record is a training row, under exchangeable labels."""
    pool = np.vstack([numbers(seed), numbers(hold)])
    scale = np.where(np.arange(pool.shape[1]) < 3, 1.0, np.subtract(*np.percentile(pool, [75, 25], axis=0)))
    nearest = NearestNeighbors(n_neighbors=1).fit(pool / scale).kneighbors(numbers(drawn) / scale)[1].ravel()
    count = np.bincount(nearest, minlength=len(pool)).astype(float)
    n, total = len(pool), len(drawn)
    variance = len(seed) * len(hold) / (n * (n - 1)) * ((count**2).sum() - total**2 / n)
    return float((count[: len(seed)].sum() - total * len(seed) / n) / np.sqrt(variance))


@pytest.mark.parametrize(("method", "bound"), [("forest", 0.56), ("copula", 0.58)])
def test_a_classifier_hardly_tells_release_and_truth_apart(method: str, bound: float) -> None:
    truth = world(10_000, 100)
    found = [separation(truth, sample(method, world(1000, seed), 10_000, seed)) for seed in range(3)]
    assert np.mean(found) < bound


def test_the_forest_beats_a_product_of_margins() -> None:
    table, truth = mixed(1500, 1), mixed(6000, 2)
    joint = sample("forest", table, 6000)
    rng = np.random.default_rng(0)
    product = pd.DataFrame({name: joint[name].iloc[rng.permutation(len(joint))].reset_index(drop=True) for name in joint})
    ours, theirs = separation(truth, joint), separation(truth, product)
    assert theirs > 0.7
    assert ours < theirs - 0.12


def test_the_forest_sees_what_a_correlation_does_not() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(2000)
    table = pd.DataFrame({"w0": x, "w1": x**2 + 0.3 * rng.standard_normal(2000), "w2": np.abs(x) * rng.standard_normal(2000)})
    table["w3"] = np.sin(3 * x) + 0.3 * rng.standard_normal(2000)
    drawn = sample("forest", table, 20_000)
    assert np.corrcoef(np.sin(3 * drawn["w0"]), drawn["w3"])[0, 1] > 0.5
    assert np.corrcoef(drawn["w0"] ** 2, drawn["w1"])[0, 1] > 0.8
    assert np.corrcoef(np.abs(drawn["w0"]), np.abs(drawn["w2"]))[0, 1] > 0.45


@pytest.mark.parametrize("method", ["forest", "copula"])
def test_nearest_records_do_not_point_at_the_seed(method: str) -> None:
    found = []
    for seed in range(4):
        table, hold = world(700, seed), world(300, 1000 + seed)
        found.append(memory(table, hold, sample(method, table, 10_000, seed)))
    assert np.mean(found) < 1.5
    assert memory(table, hold, sample("bootstrap", table, 10_000)) > 10  # the control is caught


@pytest.mark.parametrize("method", ["forest", "copula"])
def test_no_record_and_no_extreme_of_the_seed_comes_back(method: str) -> None:
    table = world(700, 3)
    drawn = sample(method, table, 20_000)
    assert not set(map(tuple, numbers(table))) & set(map(tuple, numbers(drawn)))
    for column in describe(table)[3:]:
        inside = drawn[column.id]
        assert inside.min() > table[column.id].min()
        assert inside.max() < table[column.id].max()
        # none piles up at the safe range either
        assert (inside == column.low).mean() + (inside == column.high).mean() < 0.002
        assert not np.isin(table[column.id], inside).any()


def test_leaves_below_twenty_rows_are_refused() -> None:
    with pytest.raises(SpecError, match="min_leaf"):
        resolve("synthesizer", "forest", {"min_leaf": 5})
