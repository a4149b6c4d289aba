"""Nine in ten of the sampled mutants are killed, and docs/testing.md names those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.mutant_areas import AREAS
from benchmarks.mutants import ROOT, Mutant, Study, outcomes, sample, try_mutant
from benchmarks.mutations import Mutation

PAGE = (ROOT / "docs" / "testing.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_nine_in_ten_mutants_are_killed_and_the_survivors_are_listed() -> None:
    results = outcomes(jobs=2)
    survivors = [mutant.name for mutant, outcome in results.items() if outcome == "survived"]
    assert len(results) >= 60
    assert len(survivors) <= 0.1 * len(results), survivors
    assert [name for name in survivors if f"`{name}`" not in PAGE] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_change_that_changes_nothing_survives() -> None:
    mutant = sample("digest", 1, 1.0)[0]
    assert try_mutant(Study(), mutant._replace(mutation=Mutation("nothing", 0, 0, "")))["outcome"] == "survived"


def test_every_area_has_mutants_and_its_tests_exist() -> None:
    for name, area in AREAS.items():
        sampled = sample(name, 1, 1.0)
        assert len(sampled) == area.mutants
        assert len({mutant.name for mutant in sampled}) == area.mutants
        assert sample(name, 2, 1.0) != sampled
        assert all(isinstance(mutant, Mutant) and Path(ROOT, mutant.tests[0].split("::")[0]).is_file() for mutant in sampled)
