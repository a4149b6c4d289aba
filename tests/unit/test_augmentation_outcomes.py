"""Augmentations of several outcomes, of outcomes that some rows lack, and of tables with ids and passengers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.augment import describe, enlarge
from tasks.augmentation.criterion import Point
from tasks.augmentation.effects import Augmented, effects
from tasks.augmentation.filling import fill, fill_known
from tasks.augmentation.rows import choose_rows
from tasks.augmentation.settings import check_settings
from tasks.augmentation.weighing import Weighed, choose_for_all
from tasks.contract.errors import SpecError
from tasks.contract.nuisance import Nuisances
from tasks.contract.spec import parse_spec
from tasks.targeting.unobserved import observed_of
from tests.augmenting import TRUE_EFFECT, known, small, table
from tests.direct import directly, run_of
from tests.releasing import parts, spec_of, write


def test_rows_without_the_outcome_fill_no_arm() -> None:
    chances = (np.array([0.3, 0.5]), np.array([0.2, 0.4]))  # half and nine tenths of the rows are known
    found = fill_known(chances, 0.4)
    np.testing.assert_allclose(found.added, [[0.1, 0.0], [0.2, 0.0]])
    np.testing.assert_allclose(found.rest, [0.5, 0.1])
    # real and added rows, known or not, have the source's covariate law
    np.testing.assert_allclose(found.tilt, 1.0 / (1.0 + np.sum(found.added, axis=0)))
    np.testing.assert_allclose(fill_known((chances[0], 1.0 - chances[0]), 0.4).tilt, fill((chances[0], 1.0 - chances[0]), 0.4).tilt)


def test_effects_of_a_filled_table_with_gaps_are_those_of_the_law() -> None:
    """Missing at random, more where effects are large: averages over 80 tables within four standard errors, complete rows are off."""
    points: dict[str, list[float]] = {}
    for seed in range(80):
        rng = np.random.default_rng(seed)
        world, pool = small(300, rng), small(3_000, rng)
        pi, pi_pool = (tuple(np.full(len(each.x), 0.9) - 0.4 * (each.x > 0) for _ in (0, 1)) for each in (world, pool))
        own, filling = (
            fill_known(tuple(p * k for p, k in zip(each.chances, chance)), 0.5) for each, chance in ((world, pi), (pool, pi_pool))
        )
        chosen = choose_rows(filling, round(own.rows * 300), (pool.x, pool.x), rng)
        seen = rng.random(300) < pi[0]
        mean = np.where(chosen.arm == 1, pool.q1[chosen.rows], pool.q0[chosen.rows])
        y = np.concatenate((np.where(seen, world.y, np.nan), (rng.random(len(mean)) < mean).astype(np.float64)))
        a = np.concatenate((world.a, chosen.arm)).astype(np.int8)
        joined = [np.concatenate((one, other[chosen.rows])) for one, other in zip((world.q0, world.q1), (pool.q0, pool.q1))]
        # of real and added rows around w: how many are of an arm, and how many of these are known
        sides = ((world, pi, own, slice(None)), (pool, pi_pool, filling, chosen.rows))
        rows = [np.concatenate([(each.chances[arm] + f.added[arm])[at] for each, _, f, at in sides]) for arm in (0, 1)]
        known_rows = [np.concatenate([f.arms[arm][at] for _, _, f, at in sides]) for arm in (0, 1)]
        g = rows[1] / (rows[0] + rows[1])
        tilt = np.concatenate((own.tilt, filling.tilt[chosen.rows]))
        view = observed_of(a, y, Nuisances(g, *joined), tuple(some / every for some, every in zip(known_rows, rows)))
        for each in effects(Augmented(view.a, view.y, view.nuisances, tilt, 300, "binary", 1e-3), "real"):
            points.setdefault(each.estimator, []).append(each.estimate)
    assert set(points) == {"or", "ipw", "aipw", "tmle"}  # overlap weights need g apart from the chance to be known
    for name, values in points.items():
        assert abs(np.mean(values) - TRUE_EFFECT) < 4.0 * np.std(values) / np.sqrt(80) + 1e-9, name


def _weighed(errors: list[float], nothing: float) -> Weighed:
    given = known(small(400, np.random.default_rng(1)), np.random.default_rng(2), external=True)
    points = [Point(0.1 * place, 10 * (place + 1), 0.1, 0.0, 0.0, 0.0, 0.0, nothing, 0.0, error) for place, error in enumerate(errors)]
    return Weighed(given, None, points, None)


def test_the_number_of_rows_is_the_first_outcome_s_among_those_that_harm_none() -> None:
    first = _weighed([0.5, 0.3, 0.1], nothing=10.0)
    assert choose_for_all([first]) == 2
    assert choose_for_all([first, _weighed([0.5, 0.4, 99.0], nothing=10.0)]) == 1
    # where every number harms some outcome it is the first's own: the gate then looks at the worst outcome
    assert choose_for_all([first, _weighed([99.0, 99.0, 99.0], nothing=0.0)]) == 2


def _visits(rows: int, seed: int, randomised: bool, gaps: bool) -> pd.DataFrame:
    """Add a second outcome with effect 2.5 that hangs together with the first, an id, and a lab value that follows the outcome."""
    frame, rng = table(rows, seed, randomised), np.random.default_rng(seed + 100)
    late = 0.5 * frame["score"] + 2.0 * frame["drug"] + rng.normal(0, 1, rows)
    stays = rng.random(rows) < 1 / (1 + np.exp(-(1.2 - 0.03 * (frame["age"] - 55))))
    frame["late"] = late.round(3).where(stays | (not gaps))
    frame["person"] = [f"P-{number:05d}" for number in rng.permutation(90_000)[:rows]]
    frame["lab"] = (0.5 * frame["score"] + rng.normal(0, 0.5, rows)).round(2)
    return frame


def _asked(folder: Path, gaps: bool) -> dict[str, Any]:
    source = write(_visits(600, 1, False, gaps), folder / "source.parquet")
    write(_visits(700, 2, True, False).drop(columns=["person", "lab"]), folder / "trial.csv")
    values = spec_of(source, folder / "store", augment__outcome=str(folder / "trial.csv"), augment__draws=10)
    values["roles"] = {"treatment": "drug", "outcomes": ["score", "late"], "id": ["person"], "passengers": ["lab"]}
    if gaps:
        values["roles"]["missing_outcome"] = "ipcw"
    values["name"] = "filled"
    values["mechanisms"] |= {"repeats": 1}
    return values


@pytest.mark.parametrize("gaps", [False, True])
def test_added_rows_have_all_outcomes_and_every_effect_is_told(gaps: bool, tmp_path: Path) -> None:
    reply, _ = directly(enlarge, run_of(_asked(tmp_path, gaps), tmp_path / "work"))
    assert reply["status"] == "published", [gate for gate in reply["manifest"]["gates"] if gate["passed"] is False]
    told = reply["manifest"]["augmentation"]
    assert [each["outcome"] for each in told["outcomes"]] == ["score", "late"]
    assert told["worth"] == max(each["worth"] for each in told["outcomes"])
    assert {each["chosen"]["rows"] for each in told["outcomes"]} == {told["chosen"]["rows"]}
    worth = next(gate for gate in reply["manifest"]["gates"] if gate["name"] == "worth")
    assert worth["detail"].startswith("on '")
    after = {(each["outcome"], each["estimator"]): each for each in told["estimates"]["after"] if each["estimand"] == "ate"}
    for outcome, truth in (("score", 1.0), ("late", 2.5)):
        assert after[outcome, "tmle"]["ci_low"] < truth < after[outcome, "tmle"]["ci_high"]
    assert {each["outcome"] for each in told["estimates"]["after"] if each["estimand"] == "ato"} == (
        {"score"} if gaps else {"score", "late"}
    )
    assert len(told["estimates"]["before"]) == len(told["estimates"]["after"])

    added = pd.concat([pd.read_parquet(tmp_path / "store" / "filled" / "v000001" / path) for path in parts(tmp_path / "store", "filled")])
    source = pd.read_parquet(tmp_path / "source.parquet")
    assert list(added.columns) == [*source.columns, "waymint_added"]
    assert not added.isna().any().any()
    # outcomes of a row hang together beyond covariates and treatment, as the source's do; passengers follow them
    left = [added[name] - added.groupby("drug")[name].transform("mean") - 0.05 * (added["age"] - 55) for name in ("score", "late")]
    assert np.corrcoef(*left)[0, 1] > 0.2
    assert np.corrcoef(added["lab"], added["score"])[0, 1] > 0.4
    assert added["person"].str.fullmatch(r"P-\d{5}").all()
    assert added["person"].is_unique
    assert not set(added["person"]) & set(source["person"])
    page = (tmp_path / "store" / "filled" / "v000001" / "report.html").read_text()
    assert "doing nothing on late" in page
    assert "TMLE on score moves from" in page
    assert any(line.startswith("tmle on late") for line in describe(reply))


def test_labels_of_several_outcomes_are_not_flipped() -> None:
    from tests.unit.test_checks_laws import SCHEMA

    outcome = SCHEMA.outcome
    several = SCHEMA.model_copy(
        update={"columns": (*SCHEMA.columns, outcome.model_copy(update={"id": "y1", "name": "late"})), "further_kinds": ("continuous",)}
    )
    spec = parse_spec(
        {
            "name": "x",
            "source": {"uri": "s"},
            "roles": {"treatment": "a", "outcome": "y"},
            "augment": {"outcome": "trial.csv", "flip": 0.1},
        }
    )
    with pytest.raises(SpecError, match="flip of augment must be 0 with several outcomes"):
        check_settings(spec, several)
