"""The SPEC's section, the grid it spans, and how work is cut."""

import pytest

from tasks.contract.errors import SpecError
from tasks.contract.spec import Spec, parse_spec
from tasks.contract.spec.simulate import SimulateSpec
from tasks.simulation.batches import batches, enough, estimators_of
from tasks.simulation.grid import Cell, cells
from tasks.simulation.performance import Tally


def spec(**simulate: object) -> Spec:
    return parse_spec({"name": "a", "source": {"uri": "x.csv"}, "roles": {"treatment": "a", "outcome": "y"}, "simulate": simulate})


def test_the_grid_holds_every_combination_once() -> None:
    asked = spec(
        rows=[100, 500],
        designs=["randomized", "tilted"],
        tilts=[1.5, 3.0],
        effect_scales=[1, 0, 2],
        withheld=["age"],
        learners=["glm", "boosted"],
    ).simulate
    found = cells(asked)
    assert len(found) == asked.cells == 2 * 3 * 3 * 2 * 2
    assert len({cell.key for cell in found}) == len({cell.title for cell in found}) == len(found)
    assert {cell.tilt for cell in found if cell.design == "tilted"} == {1.5, 3.0}
    assert {cell.tilt for cell in found if cell.design == "randomized"} == {None}


def test_a_cell_goes_by_what_it_is_not_by_its_place() -> None:
    small, large = cells(SimulateSpec(rows=(500,))), cells(SimulateSpec(rows=(100, 500), learners=("boosted", "glm")))
    assert {cell.key for cell in small} < {cell.key for cell in large}


@pytest.mark.parametrize(
    ("simulate", "said"),
    [
        ({"rows": [20]}, "simulate.rows.0 of SPEC"),
        ({"rows": []}, "simulate.rows of SPEC"),
        ({"rows": [100, 100]}, "rows must not hold a value twice"),
        ({"designs": ["rigged"]}, "simulate.designs.0 of SPEC"),
        ({"estimators": []}, "estimators must name at least one"),
        ({"estimators": ["tmle", "tmle"]}, "estimators must not hold a name twice"),
        ({"params": {"boosted": {}}}, "params must be of learners that are tried, 'boosted' is not"),
        ({"replicates": 3}, "simulate.replicates of SPEC"),
        ({"precision": 0.7}, "simulate.precision of SPEC"),
        ({"effect_scales": [k / 100 for k in range(300)]}, "at most 200 cells"),
        ({"replicate": 30}, "simulate.replicate of SPEC must be a known key"),
    ],
)
def test_what_can_not_be_simulated_is_told(simulate: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said.replace(".", r"\.")):
        spec(**simulate)


def test_only_this_flow_s_digest_depends_on_the_section() -> None:
    one, other = spec(replicates=100), spec(replicates=200)
    assert one.digest("release") == other.digest("release")
    assert one.digest("simulate") != other.digest("simulate")


def test_all_estimators_are_those_of_the_registry_that_need_no_subgroup() -> None:
    found = estimators_of(SimulateSpec())
    assert {"or", "ipw", "aipw", "tmle", "adaptive", "att", "atc", "ato"} <= set(found)
    assert "gate" not in found
    assert estimators_of(SimulateSpec(estimators=("ipw",))) == ("ipw",)


@pytest.mark.parametrize(("n", "learner"), [(100, "glm"), (1_000, "glm"), (90_000, "glm"), (1_000, "boosted")])
def test_batches_hold_every_replicate_once(n: int, learner: str) -> None:
    cell = Cell(n, "fitted", None, 1.0, None, 1.0, learner)
    work = batches(3, cell, 1, 40, 333)
    assert [number for each in work for number in range(each.first, each.first + each.replicates)] == list(range(40, 333))
    assert {(each.cell, each.draw) for each in work} == {(3, 1)}
    assert len(work) < 294 or n > 50_000
    if learner == "boosted":
        assert len(work) > len(batches(3, cell._replace(learner="glm"), 1, 40, 333))


def test_a_cell_is_done_when_every_estimator_is_known_well_enough() -> None:
    asked = SimulateSpec(replicates=1_000, precision=0.01)
    sharp, blunt = Tally(600, 570, 600.0, 1_800.0), Tally(600, 400, 600.0, 1_800.0)
    assert enough({"tmle": sharp}, 600, asked)
    assert not enough({"tmle": sharp, "ipw": blunt}, 600, asked)
    assert enough({"tmle": sharp, "ipw": blunt}, 1_000, asked)
    assert not enough({"tmle": sharp}, 600, asked.model_copy(update={"precision": 0.0}))
    assert not enough({"tmle": sharp._replace(fourth=60_000.0)}, 600, asked)
    # all twenty covered is no certainty
    assert not enough({"tmle": Tally(20, 20, 20.0, 20.0)}, 20, asked)
