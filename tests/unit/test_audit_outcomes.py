"""Outcomes as secrets: several of them, with gaps, and times to an event."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.audit import probe
from flows.release import mint
from flows.stages.audits import compose
from tasks.audit.canaries import plant
from tasks.audit.case import Case, Outcome, Rows
from tasks.audit.finding import Finding
from tasks.audit.methods import mechanism
from tasks.audit.methods.outcomes import Outcomes, Params
from tasks.audit.secret import outcome_secrets, secret_bits
from tasks.contract.roles import ColumnRoles
from tests.direct import directly, run_of
from tests.leaky.world import covariates, described
from tests.visits import visits, visits_spec

SEVERAL = (Outcome("y", "days", "time", (1.0, 9.0)), Outcome("e", "died", "event"), Outcome("y1", "late", "continuous"))


def rows(n: int, rng: np.random.Generator) -> Rows:
    """Times, events and a late outcome, a third of it missing, that nothing else predicts."""
    further = pd.DataFrame({"e": (rng.random(n) < 0.5).astype(float), "y1": np.where(rng.random(n) < 0.67, rng.normal(size=n), np.nan)})
    return Rows(covariates(n, rng), rng.integers(0, 2, n).astype(np.int8), rng.exponential(10, n), 2, further)


def case(copied: bool, mode: str = "full", n: int = 400, seed: int = 0) -> Case:
    rng = np.random.default_rng(seed)
    own, out = rows(n, rng), rows(n, rng)
    return Case(described(own.covariates), SEVERAL, mode, own, out, own if copied else rows(n, rng), n, "forest", {})


def attacked(given: Case, seed: int = 0) -> dict[str, Finding]:
    return {each.statistic: each for each in Outcomes(Params(columns=6)).run(given, np.random.default_rng(seed))}


def test_secrets_of_an_outcome_are_its_side_and_its_gaps() -> None:
    released = np.array([1.0, 2.0, 10.0, 20.0])
    (time,) = outcome_secrets(SEVERAL[0], released)
    assert (time.above, time.statement) == (9.0, "is beyond the declared time 9")
    side, gap = outcome_secrets(SEVERAL[2], np.array([1.0, 3.0, np.nan]))
    frame = pd.DataFrame({"y1": [0.5, 2.5, np.nan]})
    assert secret_bits(frame, side).tolist() == [False, True, False]
    assert secret_bits(frame, gap).tolist() == [False, False, True]
    assert not outcome_secrets(SEVERAL[2], np.full(3, np.nan))


def test_a_release_of_the_rows_themselves_gives_times_events_and_gaps_away() -> None:
    found = attacked(case(copied=True))
    assert list(found) == [f"accuracy_{attacker}_{name}" for name in ("y", "e", "y1", "y1_missing") for attacker in ("program", "forest")]
    for name in ("y", "e", "y1"):
        leak = found[f"accuracy_forest_{name}"]
        assert leak.verdict == "leak found"
        assert leak.value > 0.9
        assert abs(leak.control - 0.5) < 0.2
    assert "'days' is beyond the declared time 9" in found["accuracy_forest_y"].detail
    assert found["accuracy_forest_y1_missing"].verdict == "leak found"


def test_fresh_draws_give_no_outcome_away_and_hybrid_clears_none() -> None:
    quiet = [attacked(case(copied=False, seed=seed), seed) for seed in range(3)]
    # eight intervals hold together with 95 %
    assert sum(each.verdict == "leak found" for found in quiet for each in found.values()) <= 1
    for each in attacked(case(copied=False, mode="hybrid", seed=1)).values():
        assert each.verdict != "none found at this size"
        assert "plant canaries" in each.detail


def test_a_secret_that_few_rows_know_is_inconclusive() -> None:
    given = case(copied=True)
    late = np.where(np.arange(400) < 30, given.training.further["y1"], np.nan)
    rare = replace(given.training, further=given.training.further.assign(y1=late))
    found = attacked(replace(given, training=rare))
    assert (found["accuracy_forest_y1"].value, found["accuracy_forest_y1"].verdict) == (None, "inconclusive")
    assert "too few rows know it" in found["accuracy_forest_y1"].detail


def test_the_likelihood_of_all_outcomes_tells_copies_apart() -> None:
    attack = mechanism.build(mechanism.Params(trees=30))
    leak, quiet = (attack.run(case(copied), np.random.default_rng(1))[0] for copied in (True, False))
    assert leak.verdict == "leak found"
    assert leak.value > 0.9
    assert "of every outcome" in leak.detail
    assert quiet.verdict != "leak found"


def _trial(rows: int = 600) -> pd.DataFrame:
    """Draw whole days to an event, or to dropout, under three arms."""
    rng = np.random.default_rng(1)
    x, z = rng.normal(size=(2, rows))
    a = rng.integers(0, 3, size=rows)
    until, lost = rng.exponential(np.exp(2.6 - 0.5 * x + 0.3 * a)), np.minimum(rng.exponential(np.exp(3.3 + 0.3 * x)), 30.0)
    days = np.ceil(np.minimum(until, lost)).astype(np.int64)
    return pd.DataFrame({"drug": a, "x": x.round(3), "z": z.round(3), "days": days, "died": (until <= lost).astype(np.int64)})


def _planted(folder: Path, table: pd.DataFrame, outcomes: list[str]) -> pd.DataFrame:
    names = tuple(name for name in table if name in ("age", "sex", "x", "z"))
    roles = ColumnRoles(treatment="drug", outcome=outcomes[0], covariates=names, treated=1, control=0)
    planted = plant(table, roles, 40, np.random.default_rng(2), outcomes[1:])
    assert planted.canaries[outcomes].notna().all().all()
    assert (planted.canaries[outcomes].nunique() == 2).all()
    planted.canaries.to_csv(folder / "canaries.csv", index=False)
    return planted.table


def _audited(folder: Path, spec: dict[str, Any], attacks: str) -> dict[tuple[str, str], dict[str, Any]]:
    reply, _ = directly(mint, run_of(spec, folder / "work"))
    assert reply["status"] == "published", [gate for gate in reply["manifest"]["gates"] if gate["passed"] is False]
    request = compose(f"{folder}/store/{spec['name']}", "", [], attacks, str(folder / "canaries.csv"))
    answer, _ = directly(probe, run_of(request, folder / "audit"), request)
    assert "event time or gaps" in (Path(answer["uri"].removeprefix("file://")) / "audit.html").read_text()
    return {(each["attack"], each["statistic"]): each for each in answer["attacks"]}


@pytest.mark.slow
def test_a_release_of_two_visits_with_gaps_is_audited_whole(tmp_path: Path) -> None:
    spec = visits_spec(tmp_path, gates={"fidelity": False})
    _planted(tmp_path, visits(600, seed=5), ["early", "late"]).to_csv(tmp_path / "visits.csv", index=False)
    found = _audited(tmp_path, spec, "all")
    order = list(dict.fromkeys(attack for attack, _ in found))
    assert order == ["membership", "mechanism", "reconstruction", "outcomes", "singling_out", "isolation", "linkability", "distribution"]
    coins = {statistic for _, statistic in found if statistic.startswith("canary")}
    assert coins == {f"canary_{column}_{attacker}" for column in ("a", "y", "y1") for attacker in ("forest", "nearest")}
    assert found["mechanism", "canary_y1_forest"]["baseline"] == 0.5
    assert "'late' is missing" in found["outcomes", "accuracy_program_y1_missing"]["detail"]
    assert {each["verdict"] for (attack, _), each in found.items() if attack == "outcomes"} <= {"inconclusive", "leak found"}


def test_event_times_are_secrets_of_an_audit(tmp_path: Path) -> None:
    table = _planted(tmp_path, _trial(), ["days", "died"])
    table.to_parquet(tmp_path / "trial.parquet", index=False)
    spec = {
        "name": "trial",
        "seed": 7,
        "source": {"uri": str(tmp_path / "trial.parquet")},
        "roles": {"treatment": "drug", "control": 0, "outcome": "days"},
        "outcomes": {"days": {"kind": "survival", "event": "died", "horizon": 20.0, "times": [5.0, 10.0]}},
        "covariates": {"synthesizer": "copula"},
        "mechanisms": {"learner": "glm", "folds": 2, "repeats": 1},
        "release": {"rows": 600},
        "gates": {"rmst_fidelity": False, "curve_distance": False},
        "store": {"uri": f"file://{tmp_path}/store"},
    }
    found = _audited(tmp_path, spec, "mechanism,outcomes")
    assert "'days' is beyond the declared time" in found["outcomes", "accuracy_forest_y"]["detail"]
    assert "'died' says that an event came" in found["outcomes", "accuracy_forest_e"]["detail"]
    coins = {statistic for _, statistic in found if statistic.startswith("canary")}
    assert coins == {f"canary_{column}_{attacker}" for column in ("a", "y", "e") for attacker in ("forest", "nearest")}
