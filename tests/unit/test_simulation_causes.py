"""Simulated data sets with competing causes: the truth in closed form, what is drawn, and estimators of it, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flows.check import check
from flows.simulate import replicate
from tasks.contract.errors import SpecError
from tasks.contract.nuisance import Nuisances
from tasks.contract.roles import Column, pack_field
from tasks.contract.spec import MechanismsSpec, Spec
from tasks.contract.spec.simulate import SimulateSpec
from tasks.contract.survival import TimesToEvent
from tasks.mechanisms.survival_law import Placement, TimesLaw
from tasks.nuisance.survival_fold import Hazards
from tasks.simulation.batches import unadjusted_of
from tasks.simulation.contrasts import Contrast, Effect
from tasks.simulation.grid import Cell
from tasks.simulation.population import source_of, truths
from tasks.simulation.survival import TimesPopulation
from tasks.simulation.unadjusted import unadjusted
from tests.direct import directly, run_of
from tests.unit.test_causes_release import HORIZON, spec, trial

PERIODS, HAZARD, SHARE = 6, (0.1, 0.2), (0.3, 0.6)
NAMES = ("time lost", "incidence at 3")


def constant() -> TimesPopulation:
    """Hazards of 0.1 and 0.2 in each of six periods of length 1, three tenths and six tenths of events of the first cause."""
    ends = tuple(float(end) for end in range(1, PERIODS + 1))
    outcome = TimesToEvent(horizon=ends[-1], times=(3.0,), edges=ends, centres=(0.5,) * PERIODS, causes=("relapse", "death"))
    placed = tuple(Placement((0.0, 1.0), (end - 1.0, end)) for end in ends)
    shape = (50, PERIODS)
    event, splits = (np.stack([np.full(shape, each) for each in pair]) for pair in (HAZARD, SHARE))
    field = pack_field(pa.field("days", pa.float64()))
    return TimesPopulation(
        covariates=pd.DataFrame({"w0": np.linspace(0.0, 1.0, 50)}),
        nuisances=Nuisances(*np.full((3, 50), 0.5)),
        law=None,  # type: ignore[arg-type]
        kind="survival",
        columns=(Column(id="w0", name="x", role="covariate", kind="continuous", field=field),),
        outcome=Column(id="y", name="days", role="outcome", kind="continuous", field=field),
        labels=("0", "1"),
        mechanisms=MechanismsSpec(),
        hazards=Hazards(event, np.full((2, *shape), 0.02), splits[None]),
        times=TimesLaw(outcome, 0.0, 0.0, placed, placed),
    )


def cell(scale: float) -> Cell:
    return Cell(4_000, "randomized", None, scale, None, 1.0, "glm")


def test_the_truth_is_that_of_geometric_times() -> None:
    """F(j) = share (1 - (1 - hazard)^j); the time lost is the area under it, straight between the ends of periods."""
    curves = [s * (1.0 - (1.0 - h) ** np.arange(PERIODS + 1)) for h, s in zip(HAZARD, SHARE, strict=True)]
    lost = [float(np.sum(0.5 * (curve[1:] + curve[:-1]))) for curve in curves]
    found = truths(source_of(constant(), cell(1.0)))
    wanted = (lost[1] - lost[0], curves[1][3] - curves[0][3])
    for name, value in zip(NAMES, wanted, strict=True):
        assert found[Effect("ate", Contrast(outcome=name))].value == pytest.approx(value, abs=1e-12)
    null = truths(source_of(constant(), cell(0.0)))
    assert all(null[Effect("ate", Contrast(outcome=name))].value == pytest.approx(0.0, abs=1e-12) for name in NAMES)


def test_data_sets_have_the_law_s_incidence() -> None:
    """Of twenty data sets the mean of Aalen and Johansen's estimates lies at the truth, and their intervals are of the right width."""
    source = source_of(constant(), cell(1.0))
    found, rng = truths(source), np.random.default_rng(4)
    draws = [source.draw(4_000, rng) for _ in range(20)]
    answers = [unadjusted("aj", draw, ("0", "1")) for draw in draws]
    for place, name in enumerate(NAMES):
        ones = [each[place] for each in answers]
        truth, se = found[Effect("ate", Contrast(outcome=name))].value, np.mean([one.se for one in ones])
        assert abs(np.mean([one.estimate for one in ones]) - truth) < 3.5 * se / np.sqrt(20)
        assert np.std([one.estimate for one in ones]) == pytest.approx(se, rel=0.5)


def test_estimators_are_tried_on_times_lost_and_incidences(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"rows": [300, 600], "replicates": 20, "estimators": ["aipw", "tmle", "aj"], "learners": ["glm"], "folds": 2}
    settings |= {"pool": 2000, "draws": 0, "designs": ["randomized"], "effect_scales": [0.0, 1.0]}
    reply, _ = directly(replicate, run_of(spec(tmp_path, trial(), simulate=settings), tmp_path / "workspace"), None)
    names = ["time lost", "incidence at 5", "incidence at 10"]
    assert [each["outcome"] for each in reply["outcomes"]] == names
    assert reply["truth"] == reply["outcomes"][0]["truth"]
    assert -HORIZON < reply["truth"] < -0.2
    assert len(reply["rows"]) == 2 * 2 * 3 * 3
    for row in reply["rows"]:
        assert row["failures"] == 0
        # censoring depends on a covariate here, which Aalen and Johansen don't see
        slack = {"time lost": 0.15}.get(row["outcome"], 0.015) if row["estimator"] == "aj" else 0.0
        assert abs(row["bias"]) < 4.0 * row["bias_mcse"] + slack
        assert row["coverage"] >= 0.7
        assert (row["truth"] == pytest.approx(0.0, abs=1e-9)) == (row["effect_scale"] == 0.0)
    assert {(each["estimator"], each["outcome"]) for each in reply["sizes"]} == {(e, n) for e in ("aipw", "tmle", "aj") for n in names}
    assert "Aalen–Johansen" in (Path(reply["uri"].removeprefix("file://")) / "simulate.html").read_text()


def test_a_check_takes_what_needs_no_covariates(tmp_path: Path) -> None:
    reply, _ = check(Spec.model_validate(spec(tmp_path, trial(240), simulate={"estimators": ["aj", "tmle"]})), "simulate")
    assert not reply["findings"]


def test_tests_of_all_events_are_refused_where_causes_compete() -> None:
    assert unadjusted_of(SimulateSpec(), "survival", causes=True) == ("aj",)
    for name, causes, words in (
        ("km", True, "causes compete"),
        ("logrank", True, "causes compete"),
        ("aj", False, "causes do not compete"),
    ):
        with pytest.raises(SpecError, match=words):
            unadjusted_of(SimulateSpec(estimators=(name,)), "survival", causes)
