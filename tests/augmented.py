"""What the report of an augmentation is rendered from."""

from __future__ import annotations

from typing import Any

HOSTILE = "<script>alert(1)</script>"


def point(rows: int, error: float) -> dict[str, Any]:
    """Return a point of the curve."""
    return {
        "level": rows / 100,
        "rows": rows,
        "share": rows / (rows + 100),
        "shift": -0.01,
        "noise": error / 2,
        "borrowed": error / 2,
        "conflict": 0.0,
        "covariates": 0.0001,
        "gain": 0.001,
        "error": error,
    }


def rival(name: str, error: float | None) -> dict[str, Any]:
    known = None if error is None else 0.4
    return {"name": name, "estimate": known, "se": known, "shift": known, "error": error, "detail": f"how {name} is done"}


def estimate(name: str, estimand: str = "ate") -> dict[str, Any]:
    return {
        "estimand": estimand,
        "estimator": name,
        "estimate": 0.4,
        "se": 0.1,
        "ci_low": 0.2,
        "ci_high": 0.6,
        "n": 100,
        "ess": 90.0,
        "clipped": 0.0,
    }


def manifest(published: bool = True) -> dict[str, Any]:
    """Return a manifest's values, hostile names among them."""
    before = [estimate("or"), estimate("tmle"), estimate("aipw", "ato")]
    told = {
        "outcome": {"source": HOSTILE, "rows": 1_000, "fingerprint": "f", "flip": 0.1, "adds_information": True},
        "averaging": "real",
        "marker": "waymint_added",
        "bound": 0.03,
        "lacking": {"treated": 60, "control": 3, "rows": 100},
        "regions": [{"arm": 1, "words": "age > 61", "rows": 140, "of_arm": 2, "lacking": 130, "sentence": "age > 61: 2 treated of 140"}],
        "curve": [point(rows, 0.01 / rows) for rows in (1, 4, 20, 100, 400)],
        "chosen": point(100, 0.0001),
        "conflict": {"change": -0.1, "se": 0.02, "chance": 0.001, "squared": 0.0096},
        "rivals": [rival("augment", 0.001), rival("nothing", 0.01), rival("trimming", None), rival("pooling", 0.002)],
        "worth": 0.5,
        "tolerance": 1.1,
        "estimates": {"before": before, "after": before if published else None, "other_averaging": before if published else None},
        "rows": 100 if published else None,
        "treated": 90 if published else None,
    }
    gate = {"name": "worth", "value": 0.5, "threshold": 1.1, "rule": "at most", "passed": True, "status": "passed", "detail": "seen"}
    return {
        "name": "filled",
        "version": 1 if published else None,
        "created": "2026-11-22T06:00:00+00:00",
        "run": "r",
        "source": {"uri": "s", "rows": 100},
        "spec": {"augment": {"leaf": 20}},
        "warnings": ["be warned"],
        "gates": [gate],
        "augmentation": told,
    }
