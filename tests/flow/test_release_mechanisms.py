"""What the mechanisms of a release can be asked for: exact fits over partitions, further targets, known propensities, balanced draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.releasing import ROWS, Ran, manifest, save, spec_of

FITTED = "fit treatment and outcome: pass"


def mint(waymint: Callable[..., Ran], source: Path, folder: Path, **settings: object) -> tuple[dict, Ran]:
    store = folder / "store"
    spec = save(spec_of(source, store, **{"mechanisms__repeats": 1, **settings}), folder / "spec.yaml")
    ran = waymint("release", spec)
    assert ran.code == 0, ran.err
    return manifest(store), ran


@pytest.mark.slow  # two releases of many passes; tests/property/test_mechanisms_cuttings.py has the arithmetic
def test_glms_are_fitted_to_all_rows_however_they_are_cut(waymint: Callable[..., Ran], source: Path, tmp_path: Path) -> None:
    """Rows beyond fit_rows are not lost to a learner that can go on from a sample, and partitions change rounding only."""
    found = []
    for rows in (200, 10_000):
        folder = tmp_path / str(rows)
        folder.mkdir()
        told, ran = mint(waymint, source, folder, mechanisms__fit_rows=300, source__partition_rows=rows)
        assert FITTED in ran.err
        found.append(told)
    one, other = ({each["estimator"]: each for each in told["effects"]["source"]["all"]} for told in found)
    for name in ("or", "aipw", "tmle"):
        assert one[name]["estimate"] == pytest.approx(other[name]["estimate"], rel=1e-9)
        assert one[name]["se"] == pytest.approx(other[name]["se"], rel=1e-9)
    assert found[0]["effects"]["truth"]["ate"] == pytest.approx(found[1]["effects"]["truth"]["ate"], rel=1e-6)
    _, whole = mint(waymint, source, tmp_path, mechanisms__fit_rows=ROWS)
    assert FITTED not in whole.err


def test_subgroups_and_treated_carry_their_effects(waymint: Callable[..., Ran], source: Path, tmp_path: Path) -> None:
    settings = {"roles__subgroups": ["sex"], "mechanisms__targets": ["ate", "att"], "mechanisms__treatment": "fitted"}
    told, _ = mint(waymint, source, tmp_path, release__rows=4000, release__part_rows=4000, **settings)
    built_in = {each["estimand"]: each for each in told["effects"]["truth"]["others"]}
    real = {each["estimand"]: each for each in told["effects"]["source"]["all"] if each["estimand"] != "ate"}
    assert set(built_in) == {"att", "gate[sex=f]", "gate[sex=m]"}
    for estimand, each in built_in.items():
        # TMLE against AIPW of the same nuisances, and the Monte-Carlo error of 4,000 rows
        assert abs(each["value"] - real[estimand]["estimate"]) < 0.25 * real[estimand]["se"] + 3 * each["mc_se"]
    # the effect of the table: 1 for one sex, 1.5 for the other
    assert built_in["gate[sex=f]"]["value"] - built_in["gate[sex=m]"]["value"] > 0.2
    assert told["fidelity"]["targeting"][0]["reason"] == "overlap suffices"


def test_known_propensities_are_used_and_repeats_are_averaged(waymint: Callable[..., Ran], source: Path, tmp_path: Path) -> None:
    told, _ = mint(waymint, source, tmp_path, mechanisms__propensity=0.5)
    assert sum(cell > 0 for cell in told["overlap"]["source"]["histogram1"] if cell) == 1
    (tmp_path / "again").mkdir()
    twice, ran = mint(waymint, source, tmp_path / "again", mechanisms__repeats=2)
    assert "fit treatment and outcome: 6 of 6" in ran.err
    assert twice["effects"]["source"]["ate"]["estimate"] != told["effects"]["source"]["ate"]["estimate"]


def test_a_balanced_release_of_the_sources_size_carries_the_estimate(waymint: Callable[..., Ran], source: Path, tmp_path: Path) -> None:
    settings = {"release__rows": ROWS, "release__part_rows": ROWS}
    told, _ = mint(waymint, source, tmp_path, release__draws="balanced", **settings)
    estimate, built_in = told["effects"]["release"]["ate"], told["effects"]["truth"]["ate"]
    assert abs(estimate["estimate"] - built_in) < 0.3 * estimate["se"]
    assert abs(estimate["estimate"] - told["effects"]["source"]["ate"]["estimate"]) < 0.3 * told["effects"]["source"]["ate"]["se"]
    report = (tmp_path / "store" / "trial" / "v000001" / "report.html").read_text()
    assert "naive standard errors" in report


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('mechanisms.targets=["att"]', "must be 'ate' where the design is randomized"),
        ("mechanisms.repeats=0", "repeats"),
        ("mechanisms.propensity=1.5", "propensity"),
        ('mechanisms.targeting="soft"', "targeting"),
        ('release.draws="lucky"', "draws"),
    ],
)
def test_wrong_settings_are_named(waymint: Callable[..., Ran], source: Path, tmp_path: Path, setting: str, said: str) -> None:
    ran = waymint("release", save(spec_of(source, tmp_path / "store"), tmp_path / "spec.yaml"), "--set", setting)
    assert ran.code == 2
    assert said in ran.err
