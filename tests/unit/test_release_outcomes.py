"""Several outcomes and missing ones: what a SPEC may say, which cells are missing, and outcomes that are asked for in full."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.contract.errors import SourceError, SpecError
from tasks.contract.nuisance import Nuisances, Predictions
from tasks.contract.spec import parse_spec
from tasks.mechanisms.presence import PresenceLaw, both_known, draw_presence, fit_presence
from tests.direct import directly, run_of
from tests.releasing import write
from tests.visits import village_spec, visits, visits_spec

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"roles__outcomes": ["early", "early"]}, "outcomes must not name a column twice"),
    ({"roles__outcomes": ["early", "lab"]}, "passengers must not name a column of outcomes"),
    ({"roles__outcomes": ["early", "drug"]}, "treatment and outcome must be two different columns"),
    ({"roles__outcome": "late"}, "outcome and outcomes must not both be given"),
    ({"roles__outcomes": ["early"], "roles__visits": True}, "visits needs two outcomes or more"),
    ({"roles__covariates": ["age", "late"]}, "covariates must not contain the treatment or the outcome"),
    ({"outcomes__lab__kind": "count"}, "outcomes must be named in roles.outcomes, 'early', 'late'; got 'lab'"),
    ({"release__mode": "full", "release__draws": "iid", "roles__visits": True}, 'roles.visits needs release.mode "hybrid"'),
    (
        {"release__mode": "full", "release__draws": "iid", "release__complete_outcomes": True},
        "release.complete_outcomes needs release.mode",
    ),
    ({"outcomes__late": {"kind": "survival", "event": "lab", "horizon": 9}}, "kind of outcomes must be another than 'survival'"),
    ({"roles__missing_outcome": "drop", "release__complete_outcomes": True}, "release.complete_outcomes needs roles.missing_outcome"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_wrong_outcomes_are_named(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as raised:
        parse_spec(visits_spec(tmp_path, **settings))
    assert message in str(raised.value)


def test_an_outcome_that_is_not_there_or_missing_without_leave_is_refused(tmp_path: Path) -> None:
    from flows.release import mint

    for settings, message in (
        ({"roles__outcomes": ["early", "never"]}, "outcomes of roles must name a column of the source; got 'never'"),
        ({"roles__missing_outcome": "error"}, "outcome 'early' or 'late' must be known in every row"),
    ):
        with pytest.raises(SourceError, match=message):
            directly(mint, run_of(visits_spec(tmp_path, **settings), tmp_path / "work"))


def test_dropout_that_is_not_for_good_is_no_visit(tmp_path: Path) -> None:
    """Rows that miss the first visit and come to the second contradict the order."""
    from flows.release import mint

    frame = visits()
    frame.loc[np.flatnonzero(frame["late"].notna())[:60], "early"] = np.nan
    spec = visits_spec(tmp_path, roles__visits=True)
    write(frame, tmp_path / "visits.csv")
    with pytest.raises(SourceError, match="visits of roles must be missing for good"):
        directly(mint, run_of(spec, tmp_path / "work"))


def predictions(rows: int, arms: int = 2) -> Predictions:
    """Chances to be known of two outcomes that depend on a covariate."""
    x = np.random.default_rng(1).normal(size=rows)
    first = Nuisances(*(np.full(rows, 1.0 / arms) for _ in range(arms - 1)), *(x for _ in range(arms)))
    chances = tuple(tuple(1.0 / (1.0 + np.exp(-(shift + 0.5 * x + 0.3 * arm))) for arm in range(arms)) for shift in (1.5, 0.8))
    return Predictions(first, (first.outcomes,), chances)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("monotone", [False, True])
def test_missing_cells_are_as_many_and_as_joint_as_in_the_source(balanced: bool, monotone: bool) -> None:
    rows, rng = 6_000, np.random.default_rng(2)
    given, a = predictions(rows), (np.arange(rows) % 2).astype(np.int8)
    source = draw_presence(PresenceLaw((0, 1), ((0.6,), (0.6,)), monotone), a, given, False, rng)
    law = fit_presence(a, source, given, monotone)
    drawn = draw_presence(law, a, given, balanced, rng)
    if monotone:
        assert not (drawn[:, 1] & ~drawn[:, 0]).any()
    else:
        assert np.abs(np.array(law.correlations) - 0.6).max() < 0.1
    for arm in (0, 1):
        here = a == arm
        assert np.abs(drawn[here].mean(axis=0) - source[here].mean(axis=0)).max() < 0.03
        assert abs(np.mean(drawn[here].all(axis=1)) - np.mean(source[here].all(axis=1))) < 0.03
        high = here & (given.first.q0 > 0.0)  # and not in shares alone: who is missing depends on the covariate
        assert np.abs(drawn[high].mean(axis=0) - source[high].mean(axis=0)).max() < 0.04


def test_the_chance_to_know_both_is_that_of_two_normal_numbers() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.multivariate_normal([0, 0], [[1.0, -0.7], [-0.7, 1.0]], size=400_000).T
    found = both_known(np.array([0.5, 0.2]), np.array([0.5, 0.9]), -0.7)
    wanted = [np.mean((x < 0.0) & (y < 0.0)), np.mean((x < -0.8416) & (y < 1.2816))]
    assert found == pytest.approx(wanted, abs=0.003)


def test_complete_outcomes_of_three_arms_have_no_missing_cell(tmp_path: Path) -> None:
    """One outcome that rows lack, yes or no: the release has it in every row, and the effects of all rows, of arms and of the overlap."""
    from flows.release import mint

    frame = visits(1500)
    rng = np.random.default_rng(4)
    frame["drug"] = np.where(frame["drug"] == 0, "none", np.where(rng.random(len(frame)) < 0.5, "low", "high"))
    frame["late"] = (frame["late"] > frame["late"].median()).astype(float).where(frame["late"].notna())
    roles = {"treatment": "drug", "control": "none", "outcome": "late", "exclude": ["early", "lab", "person"], "missing_outcome": "ipcw"}
    targets = {"mechanisms__targets": ["ate", "att", "ato"], "mechanisms__treatment": "fitted"}
    spec = visits_spec(tmp_path, release__complete_outcomes=True, **targets)
    spec["roles"] = roles
    spec.setdefault("gates", {})["isolated_rows"] = False  # one table in a hundred is rejected by chance
    write(frame, tmp_path / "visits.csv")
    reply, work = directly(mint, run_of(spec, tmp_path / "work"))
    assert reply["status"] == "published", [gate for gate in work.tables["gates"] if gate["outcome"] == "fail"]
    released = pd.concat([pd.read_parquet(path) for path in sorted((tmp_path / "store").rglob("part-*.parquet"))])
    assert set(released["late"]) == {0.0, 1.0}
    effects = reply["manifest"]["effects"]
    assert abs(effects["release"]["ate"]["estimate"] - effects["source"]["ate"]["estimate"]) < 0.5 * effects["source"]["ate"]["se"]
    source = {(e["estimand"], e["arm"], e["control"]): e for e in effects["source"]["all"] if e["estimator"] == "aipw"}
    for truth in effects["truth"]["others"]:
        own = source[truth["estimand"], truth["arm"], truth["control"]]
        assert abs(truth["value"] - own["estimate"]) < 0.25 * own["se"], truth
    assert [row["release"] for row in reply["manifest"]["fidelity"]["together"]["missing"]] == [0.0] * 3


def test_visits_of_people_in_villages_are_released_in_two_copies(tmp_path: Path) -> None:
    """Clusters beside two outcomes, of which a quarter misses the second: as alike within villages, and both effects kept."""
    from flows.estimate import estimate
    from flows.release import mint

    spec = village_spec(tmp_path, release__copies=2, roles__passengers=[], roles__exclude=["lab"])
    reply, work = directly(mint, run_of(spec, tmp_path / "work"))
    assert reply["status"] == "published", [gate for gate in work.tables["gates"] if gate["outcome"] == "fail"]
    told = reply["manifest"]["source"]["study"]["clusters"]
    assert [each["outcome"] for each in told["outcomes"]] == ["early", "late"]
    for each in told["outcomes"]:
        assert each["icc_release"] == pytest.approx(each["icc_source"], abs=0.03)
    drawn = [pd.read_parquet(path) for path in sorted((tmp_path / "store").rglob("part-*.parquet"))]
    released = pd.concat(drawn[:2])  # the first copy
    assert released["village"].nunique() == told["release"]
    assert 0.1 < released["late"].isna().mean() < 0.4
    effects = reply["manifest"]["effects"]
    assert [len(copy["all"]) for copy in effects["release"]["copies"]] == [len(effects["source"]["all"])] * 2
    truth = {each["outcome"]: each["ate"] for each in effects["truth"]["outcomes"]}
    source, combined = _ates(effects["source"]["all"]), _ates(effects["release"]["combined"])
    for outcome, (value, se) in source.items():
        assert abs(combined[outcome][0] - value) < 2.5 * se
        assert abs(truth[outcome] - value) < 3.0 * se  # of the first copy, whose rows are a Bayesian bootstrap's
        assert combined[outcome][1] > se  # the source's error, and that of two draws of the mechanisms
    page = next((tmp_path / "store").rglob("report.html")).read_text()
    assert "all copies" in page[page.index('id="outcomes"') :]
    options = {"estimators": ("tmle",), "seed": 0, "folds": 2, "repeats": 1, "learner": "glm", "propensity": None}
    estimated, _ = estimate(str(tmp_path / "store" / "visits"), {}, options)
    assert [(each["outcome"], each["copies"]) for each in estimated["combined"]] == [("early", 2), ("late", 2)]


def test_the_synthesizer_alone_draws_both_visits(tmp_path: Path) -> None:
    """Mode "full": outcomes and their missing cells are columns of one joint law; no effect is built in."""
    from flows.release import mint

    settings = {"release__mode": "full", "release__draws": "iid", "roles__passengers": [], "roles__exclude": ["lab"]}
    reply, work = directly(mint, run_of(visits_spec(tmp_path, **settings), tmp_path / "work"))
    assert reply["status"] == "published", [gate for gate in work.tables["gates"] if gate["outcome"] == "fail"]
    effects = reply["manifest"]["effects"]
    assert effects["truth"] is None
    source, release = _ates(effects["source"]["all"]), _ates(effects["release"]["all"])
    for outcome, (value, se) in source.items():
        assert abs(release[outcome][0] - value) < 4.0 * se
    for row in reply["manifest"]["fidelity"]["together"]["spearman"]:
        assert row["release"] == pytest.approx(row["source"], abs=0.12)
    page = next((tmp_path / "store").rglob("report.html")).read_text()
    assert "Effects on late" in page[page.index('id="outcomes"') :]


def _ates(estimates: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    found = (each for each in estimates if (each["estimand"], each["estimator"]) == ("ate", "adaptive"))
    return {each["outcome"]: (each["estimate"], each["se"]) for each in found}
