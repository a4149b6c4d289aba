"""Simulated clusters: whole ones are sampled, outcomes are alike within them, and only standard errors by cluster cover."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows.simulate import replicate
from flows.stages.study import role_faults
from tasks.contract.nuisance import Nuisances
from tasks.contract.roles import TableSchema
from tasks.contract.survival import TimesToEvent
from tasks.mechanisms.clusters import ClusterLaw, intraclass
from tasks.simulation.answers import to_table
from tasks.simulation.clustered import ClusterData, ClusterPopulation
from tasks.simulation.contrasts import ROWS, Effect
from tasks.simulation.figures import figures
from tasks.simulation.population import source_of, truths
from tasks.simulation.reading import lines
from tasks.simulation.replicate import replicates
from tests.direct import directly, run_of
from tests.reporting import schema
from tests.simulating import CELL, method, population
from tests.unit.test_simulation_study import NormalByRank
from tests.villages import study_spec

SIZE, RHO = 10, 0.4


def villages(whole: bool) -> ClusterPopulation:
    """Return the law of 400 villages of ten whose outcomes' scores correlate by 0.4, treated by village or by person."""
    base = population()
    flat = replace(base, law=NormalByRank(), nuisances=Nuisances(np.full(4_000, 0.5), base.nuisances.q0, base.nuisances.q1))
    alike = ClusterLaw(np.full(400, SIZE), np.full(400, 1 / 400), (), {}, whole, RHO, RHO)
    place = np.random.default_rng(0).permutation(np.repeat(np.arange(400), SIZE))
    order, starts = np.argsort(place, kind="stable"), np.arange(401) * SIZE
    return ClusterPopulation(**vars(flat), order=order, starts=starts, alike=alike)


def test_clusters_are_whole_treated_whole_and_alike() -> None:
    law = villages(True)
    assert np.bincount(law.units).tolist() == [SIZE] * 400
    data = source_of(law, CELL).draw(4_005, np.random.default_rng(1))
    assert isinstance(data, ClusterData)
    place = data.clusters.astype(np.intp)
    sizes = np.bincount(place)
    assert len(data.y) == 4_005
    assert set(sizes[:-1]) == {SIZE}
    assert sizes[-1] == 5  # the last one is cut: data sets have as many rows as the cell says
    assert pd.Series(data.a).groupby(place).nunique().max() == 1
    age = data.covariates["w0"].to_numpy()
    rest = data.y - (0.8 * age + 0.2 * data.covariates["w1"].to_numpy() + data.a * (1.0 + 0.5 * age))
    assert intraclass(rest, place) == pytest.approx(RHO, abs=0.08)
    assert np.std(rest) == pytest.approx(1.0, abs=0.06)
    apart = source_of(villages(False), CELL).draw(2_000, np.random.default_rng(1))
    assert pd.Series(apart.a).groupby(apart.clusters.astype(int)).nunique().max() == 2


def test_the_truth_is_as_uncertain_as_clusters_are_few() -> None:
    law, flat = villages(True), population()
    tau = flat.nuisances.q1 - flat.nuisances.q0
    truth = truths(source_of(law, CELL))[Effect("ate")]
    assert truth.value == pytest.approx(tau.mean())
    sums = np.bincount(law.units, weights=tau - tau.mean())
    assert truth.se == pytest.approx(np.sqrt(np.sum(sums**2)) / len(tau))


def test_standard_errors_by_cluster_cover_and_those_by_row_do_not() -> None:
    """Eighty trials of sixty villages, one treatment each."""
    law, cell = villages(True), CELL._replace(n=60 * SIZE)
    source = source_of(law, cell)
    drawn = replicates(source, method("aipw", "tmle"), cell, 2, 0, range(80))
    rows = {row["estimator"]: row for row in figures(to_table(cell.key, 0, drawn), [cell], [truths(source)])}
    assert set(rows) == {"aipw", "tmle", ROWS}
    by_cluster, by_row = rows["aipw"], rows[ROWS]
    assert by_row["rmse"] == by_cluster["rmse"]
    assert abs(by_cluster["bias"]) < 4 * by_cluster["bias_mcse"]
    assert by_cluster["coverage"] > 0.86
    assert 0.8 < by_cluster["se_ratio"] < 1.2
    assert by_row["coverage"] < by_cluster["coverage"] - 0.1
    # of ten rows that correlate by 0.4 the design effect is 1 + 9 * 0.4
    assert by_cluster["ci_width"] / by_row["ci_width"] == pytest.approx((1.0 + (SIZE - 1) * RHO) ** 0.5, rel=0.15)


def test_a_survey_of_villages_is_simulated(tmp_path: Path) -> None:
    sizes = {"rows": [250], "designs": ["fitted"], "effect_scales": [1.0], "replicates": 20, "draws": 0, "pool": 2_000, "folds": 2}
    spec = study_spec(tmp_path, simulate=sizes | {"estimators": ["aipw"]})
    reply, _ = directly(replicate, run_of(spec, tmp_path / "work"), None)
    assert [row["estimator"] for row in reply["rows"]] == ["aipw", ROWS]
    assert {each["estimator"] for each in reply["recommendation"]} == {"aipw"}
    assert reply["clusters"]["mean_size"] == pytest.approx(6.0, abs=1.0)
    assert not reply["clusters"]["treated_whole"]
    assert 0.05 < reply["clusters"]["icc"] < 0.6
    assert any(line.startswith("aipw_rows: AIPW with the standard error") for line in lines(reply))
    page = next((tmp_path / "store").rglob("simulate.html")).read_text()
    assert "AIPW, rows as independent" in page
    assert "Folds hold whole clusters" in page


def test_clusters_beside_a_time_to_event_or_missing_outcomes_are_refused() -> None:
    plain = schema()
    village = plain.outcome.model_dump() | {"id": "cluster", "name": "village", "role": "cluster"}
    both = TableSchema.model_validate(plain.model_dump() | {"columns": [*plain.model_dump()["columns"], village]})
    assert role_faults(both, "simulate") == []
    gaps = [column.model_dump() | ({"missing": 9} if column.role == "outcome" else {}) for column in both.columns]
    missing = TableSchema.model_validate(both.model_dump() | {"columns": gaps})
    times = both.model_copy(update={"survival": TimesToEvent(horizon=2.0, edges=(1.0, 2.0), centres=(0.5, 1.5))})
    for refused in (missing, times):
        (fault,) = role_faults(refused, "simulate")
        assert fault.message == "cluster of roles must be left out of simulate; got 'village'."
        assert "no time to event" in fault.hint
