"""A comparison of five synthesizers, one of which could not be made with one seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.comparison.recommend import recommend
from tasks.comparison.row import ESTIMATORS, Row
from tasks.comparison.summary import summarize
from tasks.comparison.variants import seeds
from tasks.contract.spec import parse_spec

#: Synthesizer: two-sample AUC, TSTR in mode "full", effect error there in standard errors of the source.
MODELS = {
    "forest": (0.53, 4.30, -1.1),
    "copula": (0.56, 4.33, -6.2),
    "ctgan": (0.83, 4.92, -14.0),
    "tvae": (0.77, 4.60, 4.0),
    "bootstrap": (0.5, 4.28, 0.1),
}


def rows_of(count: int) -> list[Row]:
    """Plausible rows of five synthesizers and the last one refused in one mode."""
    rng, found = np.random.default_rng(1), []
    for seed in range(count):
        for name, (auc, score, error) in MODELS.items():
            for mode in ("hybrid", "full"):
                if (name, mode, seed) == ("tvae", "hybrid", 0):
                    found.append(
                        Row(synthesizer=name, mode=mode, seed=seed, refused="pool of calibration must be at least 1 usable rows; got 0.")
                    )
                    continue
                full = mode == "full"
                off = 0.48 * ((error if full else 0.0) + rng.normal(0, 0.25))
                found.append(
                    Row(
                        synthesizer=name,
                        mode=mode,
                        seed=seed,
                        tstr=(score if full else 4.29) + rng.normal(0, 0.01),
                        tstr_source=4.28,
                        tstr_metric="rmse",
                        c2st_auc=auc + rng.normal(0, 0.01),
                        c2st_low=auc - 0.03,
                        c2st_high=auc + 0.03,
                        dcr_share=(0.86 if name == "bootstrap" else 0.5) + rng.normal(0, 0.006),
                        contrast_term=off if full else 1e-14,
                        contrast_se=0.5,
                        covariate_term=rng.normal(0, 0.02),
                        covariate_se=0.05,
                        effect_error={each: off + rng.normal(0, 0.02) for each in ESTIMATORS},
                        release_se=dict.fromkeys(ESTIMATORS, 0.2),
                        source_effect=3.41 + rng.normal(0, 0.02),
                        source_se=0.48,
                        cate_ratio=1.1 + full,
                        gates_failed=("near_copies", "closeness_z", "exact_copies") if name == "bootstrap" else (),
                        fit_seconds=0.3 if name == "copula" else 45.0,
                        sample_seconds=0.21,
                        peak_mib=None if name == "forest" else 812.0,
                    )
                )
    return found


def record_of(count: int = 3, title: str = "wt82_71") -> dict[str, Any]:
    rows = rows_of(count)
    values = {
        "name": "nhefs",
        "seed": 7,
        "source": {"uri": "builtin:nhefs"},
        "roles": {"treatment": "qsmk", "outcome": title},
        "compare": {"synthesizers": [*list(MODELS)[:4], {"name": "bootstrap", "params": {"x": 1}}], "seeds": count},
    }
    spec = parse_spec(values)
    assert len(seeds(spec)) == count
    summaries = summarize(rows)
    return {
        "format": "waymint-comparison/1",
        "id": "20260101T000000Z-00000000",
        "created": "2026-01-01T00:00:00+00:00",
        "name": "nhefs",
        "spec": spec.model_dump(mode="json"),
        "source": {"uri": "builtin:nhefs", "fingerprint": "0", "rows": 1566},
        "outcome": {"name": title, "kind": "continuous"},
        "treatment": "qsmk",
        "released": 10_000,
        "estimator": "adaptive",
        "packages": {"numpy": "2.4"},
        "rows": [row.model_dump(mode="json") for row in rows],
        "summary": [each.as_dict() for each in summaries],
        "recommendation": recommend(summaries, rows).model_dump(mode="json"),
    }
