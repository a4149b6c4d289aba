"""What the number of rows rules out, by command, and the smallest setting that would do."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.contract.spec import Spec, parse_spec
from tasks.nuisance.plan import ARM_ROWS_PER_FOLD
from tasks.source.sizes import size_faults, size_warnings

EVEN = {"0": 500, "1": 500}


def spec(**sections: Any) -> Spec:
    """Return a SPEC of some table."""
    values = {"name": "small", "source": {"uri": "t.csv"}, "roles": {"treatment": "a", "outcome": "y"}, "store": {"uri": "file:///s"}}
    return parse_spec({**values, **sections})


@pytest.mark.parametrize("purpose", ["release", "compare", "augment"])
def test_a_holdout_too_small_for_the_gates(purpose: Any) -> None:
    (fault,) = size_faults(spec(), 260, EVEN, purpose)
    assert "got about 78 of 260" in fault.message
    assert fault.hint == "Set source.holdout = 0.45."
    assert size_faults(spec(source={"uri": "t.csv", "holdout": 0.45}), 260, EVEN, purpose) == ()
    off = {"near_copies": False, "exact_copies": False, "closeness_z": False, "dcr_margin": False}
    assert size_faults(spec(gates=off), 260, EVEN, purpose) == ()


def test_a_holdout_that_chance_decides_on() -> None:
    assert size_faults(spec(), 350, EVEN) == ()
    (line,) = size_warnings(spec(), 350, EVEN)
    assert "105 of 350 rows are expected" in line
    assert size_warnings(spec(), 2_000, EVEN) == ()


def test_a_small_arm_is_for_the_release_to_refuse() -> None:
    arms = {"0": 1_960, "1": 40}
    (fault,) = size_faults(spec(), 2_000, arms)
    assert fault.message == "rows of the smaller arm must be at least 50 (gates.min_arm); got 40."
    assert size_faults(spec(), 2_000, arms, "compare") == ()
    assert size_warnings(spec(), 2_000, arms, "compare")[0].startswith("A release will be refused: rows of the smaller arm")
    assert size_faults(spec(), 2_000, arms, "augment") == size_warnings(spec(), 2_000, arms, "augment") == ()


def test_simulated_tables_hold_both_arms_in_every_fold() -> None:
    arms = {"0": 1_960, "1": 40}
    (fault,) = size_faults(spec(simulate={"rows": [100, 5_000]}), 2_000, arms, "simulate")
    assert f"must be at least {5 * ARM_ROWS_PER_FOLD} (simulate.folds = 5); got about 2 of 100" in fault.message
    needed = int("".join(filter(str.isdigit, fault.hint)))
    assert size_faults(spec(simulate={"rows": [needed]}), 2_000, arms, "simulate") == ()
    assert size_warnings(spec(simulate={"rows": [needed]}), 2_000, arms, "simulate") == ()
    (line,) = size_warnings(spec(simulate={"rows": [needed - 1]}), 2_000, arms, "simulate")
    assert line.startswith(f"simulated tables of {needed - 1:,} rows may have fewer than 10 rows in an arm")
    randomized = {"rows": [100], "designs": ["randomized"]}
    assert size_faults(spec(simulate=randomized), 2_000, arms, "simulate") == ()
    rare = {**randomized, "rows": [50]}
    (fault,) = size_faults(spec(simulate=rare, mechanisms={"probability": 0.05}), 2_000, EVEN, "simulate")
    assert "got about 2 of 50" in fault.message


def test_a_table_that_no_size_helps() -> None:
    arms = {"0": 2_000_000, "1": 10}
    (fault,) = size_faults(spec(simulate={"rows": [1_000]}), 2_000_010, arms, "simulate")
    assert fault.hint == "Simulate the design 'randomized' alone (simulate.designs)."
