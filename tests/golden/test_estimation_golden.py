"""A small table, the numbers expected of it, and the plain loops they come from.

``python -m tests.golden.test_estimation_golden`` writes both files anew.
"""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq

from tasks.contract.nuisance import Nuisances
from tasks.estimation.evaluate import evaluate

HERE = Path(__file__).parent
TRUNCATION = 0.05
NAMES = ("or", "ipw", "aipw", "tmle", "att", "atc", "ato")


def make_table() -> list[dict[str, float]]:
    """Sixty rows from a recurrence, so that no library decides them."""
    state, rows = 12345, []

    def uniform() -> float:
        nonlocal state
        state = (1103515245 * state + 12345) % 2**31
        return (state + 0.5) / 2**31

    for _ in range(60):
        w = 4 * uniform() - 2
        g = 1 / (1 + math.exp(-1.8 * w))
        a = int(uniform() < g)
        q0, q1 = 1 / (1 + math.exp(-w + 0.5)), 1 / (1 + math.exp(-0.5 * w - 0.4))
        y = int(uniform() < (q1 if a else q0))
        rows.append({"a": a, "binary": y, "continuous": round(5 * w + 3 * a + 4 * uniform(), 6), "g": g, "q0": q0, "q1": q1})
    return rows


def plain(rows: list[dict[str, float]], kind: str) -> dict[str, list[float]]:
    """Every estimator by loops over rows: [estimate, se]."""
    n = len(rows)
    ys = [row[kind] for row in rows]
    q0s, q1s = ([row[q] if kind == "binary" else 10 * row[q] for row in rows] for q in ("q0", "q1"))
    gs = [min(max(row["g"], TRUNCATION), 1 - TRUNCATION) for row in rows]
    a = [row["a"] for row in rows]

    def with_se(point: float, values: list[float]) -> list[float]:
        return [point, math.sqrt(sum(v * v for v in values) / (n - 1) / n)]

    def phis(lower: list[float], upper: list[float]) -> list[float]:
        return [upper[i] - lower[i] + (a[i] * (ys[i] - upper[i]) / gs[i]) - (1 - a[i]) * (ys[i] - lower[i]) / (1 - gs[i]) for i in range(n)]

    phi = phis(q0s, q1s)
    aipw = sum(phi) / n
    found = {"aipw": with_se(aipw, [p - aipw for p in phi])}
    found["or"] = [sum(q1s[i] - q0s[i] for i in range(n)) / n, found["aipw"][1]]
    mass1, mass0 = sum(a[i] / gs[i] for i in range(n)), sum((1 - a[i]) / (1 - gs[i]) for i in range(n))
    mu1 = sum(a[i] * ys[i] / gs[i] for i in range(n)) / mass1
    mu0 = sum((1 - a[i]) * ys[i] / (1 - gs[i]) for i in range(n)) / mass0
    found["ipw"] = with_se(
        mu1 - mu0, [n / mass1 * a[i] * (ys[i] - mu1) / gs[i] - n / mass0 * (1 - a[i]) * (ys[i] - mu0) / (1 - gs[i]) for i in range(n)]
    )
    low, high = 0.0, 1.0
    if kind == "continuous":
        low, high = min(ys + q0s + q1s), max(ys + q0s + q1s)
        low, high = low - 0.01 * (high - low), high + 0.01 * (high - low)
    stars = []
    for arm, q in ((0, q0s), (1, q1s)):
        h = [1 / (gs[i] if arm else 1 - gs[i]) for i in range(n)]
        logit = [math.log((q[i] - low) / (high - q[i])) for i in range(n)]

        def star(e: float, h=h, logit=logit) -> list[float]:
            return [low + (high - low) / (1 + math.exp(-logit[i] - e * h[i])) for i in range(n)]

        def score(e: float, arm=arm, h=h, star=star) -> float:
            return sum(h[i] * (ys[i] - s) for i, s in enumerate(star(e)) if a[i] == arm)

        stars.append(star(brentq(score, -5, 5, xtol=1e-15, rtol=1e-15)))
    tmle = sum(stars[1][i] - stars[0][i] for i in range(n)) / n
    found["tmle"] = with_se(tmle, [p - tmle for p in phis(*stars)])
    treated = sum(a)
    top = [a[i] * (ys[i] - q0s[i]) - (1 - a[i]) * gs[i] / (1 - gs[i]) * (ys[i] - q0s[i]) for i in range(n)]
    att = sum(top) / treated
    found["att"] = with_se(att, [(top[i] - a[i] * att) * n / treated for i in range(n)])
    top = [a[i] * (1 - gs[i]) / gs[i] * (ys[i] - q1s[i]) - (1 - a[i]) * (ys[i] - q1s[i]) for i in range(n)]
    atc = sum(top) / (n - treated)
    found["atc"] = with_se(atc, [(top[i] - (1 - a[i]) * atc) * n / (n - treated) for i in range(n)])
    raw = [row["g"] for row in rows]
    bottom = sum((a[i] - raw[i]) ** 2 for i in range(n))
    top = [(a[i] - raw[i]) * (ys[i] - raw[i] * q1s[i] - (1 - raw[i]) * q0s[i]) for i in range(n)]
    ato = sum(top) / bottom
    found["ato"] = with_se(ato, [(top[i] - (a[i] - raw[i]) ** 2 * ato) * n / bottom for i in range(n)])
    return found


def read() -> list[dict[str, float]]:
    with (HERE / "estimation.csv").open(encoding="utf-8", newline="") as file:
        return [{key: float(cell) for key, cell in row.items()} for row in csv.DictReader(file)]


def expected() -> dict[str, dict[str, list[float]]]:
    return json.loads((HERE / "estimation.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", ["binary", "continuous"])
def test_stored_numbers_are_those_of_the_plain_loops(kind):
    again = plain(read(), kind)
    for name, numbers in expected()[kind].items():
        assert again[name] == pytest.approx(numbers, rel=1e-9), name


def test_the_stored_table_is_the_recurrence():
    for stored, made in zip(read(), make_table(), strict=True):
        assert stored == pytest.approx(made, rel=1e-14)


@pytest.mark.parametrize("kind", ["binary", "continuous"])
def test_estimators_agree_with_stored_numbers(kind):
    rows = read()
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    scale = 1.0 if kind == "binary" else 10.0
    nuisances = Nuisances(columns["g"], scale * columns["q0"], scale * columns["q1"])
    found = evaluate(columns["a"].astype(np.int8), columns[kind], nuisances, kind, NAMES, TRUNCATION)
    for name, one in zip(NAMES, found):
        assert [one.estimate, one.se] == pytest.approx(expected()[kind][name], rel=1e-8), name


def write() -> None:
    rows = make_table()
    with (HERE / "estimation.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    numbers = {kind: plain(rows, kind) for kind in ("binary", "continuous")}
    (HERE / "estimation.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
