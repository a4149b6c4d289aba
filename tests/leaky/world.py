"""Small tables with a known law, and cases made of them for the attacks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.audit.case import Case, Outcome, Rows
from tasks.contract.registry import resolve
from tasks.contract.roles import Column, pack_field

#: The one outcome of cases.
SCORE = (Outcome("y", "score", "continuous"),)


def covariates(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Five correlated numbers, one of them rounded and one with gaps, and two categories."""
    z = rng.normal(size=(n, 5))
    z[:, 1] += 0.7 * z[:, 0]
    z[:, 2] = np.round(z[:, 2] + z[:, 1], 1)
    frame = pd.DataFrame(z, columns=[f"w{at}" for at in range(5)])
    frame["w4"] = frame["w4"].where(rng.random(n) > 0.1)
    frame["w5"] = pd.Categorical.from_codes((rng.random(n) < 1 / (1 + np.exp(-z[:, 0]))).astype(int), categories=["f", "m"])
    frame["w6"] = pd.Categorical.from_codes(rng.integers(0, 4, n), categories=list("abcd"))
    return frame


def categories(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """A fair coin ``w0`` that nothing predicts, and ten independent categories."""
    levels = (2, 2, 2, 3, 3, 4, 4, 5, 6, 3, 4)
    return pd.DataFrame(
        {
            f"w{at}": pd.Categorical.from_codes(rng.integers(0, count, n), categories=[str(level) for level in range(count)])
            for at, count in enumerate(levels)
        }
    )


def described(frame: pd.DataFrame) -> tuple[Column, ...]:
    """Columns as the source step would describe them."""
    found = []
    for name, cells in frame.items():
        own = {"id": name, "name": f"the {name}", "role": "covariate", "missing": int(cells.isna().sum())}
        if isinstance(cells.dtype, pd.CategoricalDtype):
            levels = tuple(cells.cat.categories)
            field = pack_field(pa.field(name, pa.string()))
            found.append(Column(**own, kind="boolean" if len(levels) == 2 else "categorical", levels=levels, field=field))
        else:
            low, high = float(cells.min()), float(cells.max())
            found.append(Column(**own, kind="continuous", low=low, high=high, field=pack_field(pa.field(name, pa.float64()))))
    return tuple(found)


def rows(frame: pd.DataFrame, rng: np.random.Generator) -> Rows:
    """Covariates with a coin for treatment and noise for outcome."""
    return Rows(frame, rng.integers(0, 2, len(frame)).astype(np.int8), rng.normal(size=len(frame)))


def case(synthesizer: str, n: int = 600, released: int | None = None, seed: int = 0, law=covariates, holdout: int | None = None) -> Case:
    """A source of a law, and covariates that a synthesizer fitted on its training rows; "fresh" draws them from the law itself."""
    rng = np.random.default_rng([seed, 17])
    own, out = law(n, rng), law(holdout or n, rng)
    size = released or n
    if synthesizer == "fresh":
        drawn = law(size, rng)
    else:
        drawn = resolve("synthesizer", synthesizer).fit(own, described(own), rng).sample(size, rng)
    return Case(described(own), SCORE, "hybrid", rows(own, rng), rows(out, rng), rows(drawn, rng), n, synthesizer, {})
