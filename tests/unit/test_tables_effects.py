"""The effect of a table with traits is the true one: what was read wrongly once shows in the estimate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.estimate import estimate
from tasks.contract.errors import SourceError, SpecError, WaymintError
from tests.tables import traits
from tests.tables.base import Made, base, roles, text_csv

OPTIONS = {"estimators": ("aipw",), "learner": "glm", "folds": 5, "repeats": 1, "propensity": None, "weights": None, "seed": 0}


def effect(made: Made, **options: Any) -> dict[str, Any]:
    reply: dict[str, Any] = estimate(str(made.uri), dict(made.roles), OPTIONS | {"reading": dict(made.source)} | options)[0]
    return reply


@pytest.mark.parametrize(
    "make",
    [
        traits.hive,
        lambda to: traits.hive(to, 2),
        lambda to: traits.hive(to, text=True),
        lambda to: traits.coded(to, "."),
        lambda to: traits.coded(to, "<NA>"),
        lambda to: traits.coded(to, "n/a"),
        lambda to: traits.coded(to, "?", missing=["", "?"]),
        lambda to: traits.sentinel(to, declared=True),
        traits.quoted_levels,
        lambda to: traits.quoted_levels(to, ("null", "N/A", ".")),
        traits.spreadsheet,
        traits.index,
        lambda to: traits.index(to, "named"),
        lambda to: traits.index(to, "levels"),
        lambda to: traits.index(to, "csv"),
        lambda to: traits.dialect(to, "\t", "utf-16", "tsv", ","),
        lambda to: traits.titled(to, "Export of ward 3\n\n"),
        lambda to: traits.titled(to, "# device 7\n# site: A, B; C\n", ";"),
        lambda to: traits.labels(to, "0.0", "1.0", 1),
        lambda to: traits.labels(to, "01", "02", 2),
        lambda to: traits.labels(to, "False", "True", True),
        lambda to: traits.labels(to, 1.5, 2.5, "2.5"),
        traits.identifiers,
        lambda to: traits.identifiers(to, "text"),
    ],
)
def test_the_true_effect(make: Callable[[Path], Made], tmp_path: Path) -> None:
    found = effect(make(tmp_path))["estimates"][0]
    assert abs(found["estimate"] - 1.0) < 4 * found["se"]
    assert found["se"] < 0.15


def test_two_valued_outcomes_have_the_effect_of_zero_and_one(tmp_path: Path) -> None:
    pairs = [(0, 1), ("No", "Yes"), ("non", "oui"), ("Nein", "Ja"), (1, 2), ("false", "TRUE")]
    found = []
    for number, pair in enumerate(pairs):
        (folder := tmp_path / str(number)).mkdir()
        found.append(effect(traits.answers(folder, pair))["estimates"][0]["estimate"])
    assert found == pytest.approx([found[0]] * len(pairs), abs=1e-9)
    (folder := tmp_path / "declared").mkdir()
    assert effect(traits.answers(folder, ("alive", "dead"), event="alive"))["estimates"][0]["estimate"] == pytest.approx(
        -found[0], abs=0.01
    )


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (traits.sentinel, {}, "--missing-value bmi=-99 makes it missing"),
        (traits.identifiers, {}, "--kind case_no=KIND keeps it"),
        (traits.post_treatment, {}, "'score_again' nearly determines outcome 'y'"),
        (traits.units, {}, "--cluster 'person' takes them into account"),
        (traits.rule, {}, "'x' nearly determines treatment 'a'"),
    ],
)
def test_warnings_stand_in_text_and_reply_and_name_options(
    make: Callable[[Path], Made], options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    made = make(tmp_path)
    reply, lines = estimate(str(made.uri), dict(made.roles), OPTIONS | options)
    assert any(said in line for line in reply["warnings"])
    assert any(line.startswith("warning   ") and said in line for line in lines)
    assert "roles." not in "".join(reply["warnings"])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda to: traits.coded(to, "-"), "--missing-value age=-"),
        (lambda to: traits.dates(to, "%d/%m/%Y", 12), "--csv 'dates.visit=%d/%m/%Y'"),
        (traits.only_thousands, "--csv decimal=. --csv thousands=,"),
        (traits.free_text, "to --exclude, else raise --max-levels"),
        (lambda to: traits.answers(to, ("alive", "dead")), "Set --event"),
        (lambda to: traits.labels(to, "north", "south", 1), "Set --treated"),
    ],
)
def test_hints_name_options(make: Callable[[Path], Made], said: str, tmp_path: Path) -> None:
    with pytest.raises(WaymintError) as caught:
        effect(make(tmp_path))
    assert said in caught.value.hint
    assert "roles." not in str(caught.value)
    assert "source." not in str(caught.value)


def test_separation_gives_no_interval(tmp_path: Path) -> None:
    made = traits.rule(tmp_path)
    reply, lines = estimate(str(made.uri), dict(made.roles), OPTIONS)
    found = reply["estimates"][0]
    assert found["clipped"] > 0.5
    assert [found[name] for name in ("se", "ci_low", "ci_high", "p")] == [None] * 4
    assert any("separation" in line and "no standard error" in line for line in reply["warnings"])
    assert any("none (separation)" in line for line in lines)


def test_clusters_double_the_standard_error_of_five_rows_each(tmp_path: Path) -> None:
    made = traits.units(tmp_path)
    plain, clustered = effect(made)["estimates"][0], effect(made, cluster="person")
    found = clustered["estimates"][0]
    # residual variance 1.36 per row, 1 + 0.36 / 5 per person: the ratio of standard errors is sqrt(5 * 1.072 / 1.36)
    assert found["se"] / plain["se"] == pytest.approx(np.sqrt(5 * 1.072 / 1.36), rel=0.15)
    assert clustered["fit"]["clusters"] == 120
    assert not any("person" in line for line in clustered["warnings"])
    assert (found["ci_high"] - found["ci_low"]) / 2 / found["se"] == pytest.approx(1.9801, abs=1e-3)
    with pytest.raises(SourceError, match="weights, propensity and cluster"):
        effect(made, cluster="nobody")
    with pytest.raises(SpecError, match="without another part"):
        effect(made, cluster="a")


def test_excluded_columns_are_no_covariates(tmp_path: Path) -> None:
    made = traits.post_treatment(tmp_path)
    reply = effect(made._replace(roles=roles(exclude=("score_again",))))
    assert {row["covariate"] for row in reply["balance"]} == {"x", "z"}


def test_a_quoted_comma_is_no_separator_and_late_commas_are_read(tmp_path: Path) -> None:
    frame, rng = base(30)
    frame["amount"] = [f'"{value:.1f}"'.replace(".", ",") for value in rng.normal(10, 3, len(frame))]
    frame["whole"] = [str(value) for value in rng.integers(0, 99, len(frame))]
    frame.loc[len(frame) - 1, "whole"] = '"7,5"'
    frame[["x", "y"]] = frame[["x", "y"]].map(lambda value: f'"{value}"'.replace(".", ","))
    frame["z"] = frame["z"].map(lambda value: f'"{value}"'.replace(".", ","))
    reply = effect(Made(text_csv(frame, tmp_path / "t.csv"), roles()))
    assert {row["covariate"] for row in reply["balance"]} == {"x", "z", "amount", "whole"}


def test_a_point_in_a_file_of_decimal_commas_is_refused(tmp_path: Path) -> None:
    frame, _ = base(31)
    text = frame.astype(str).map(lambda value: value.replace(".", ","))
    text.loc[5, "x"] = "12.75"
    with pytest.raises(SourceError, match=r"one decimal mark|decimal mark ','"):
        effect(Made(text_csv(text, tmp_path / "t.csv", ";"), roles()))


def test_a_partition_of_missing_values(tmp_path: Path) -> None:
    made = traits.hive(tmp_path)
    (made.uri / "site=north").rename(made.uri / "site=__HIVE_DEFAULT_PARTITION__")
    found = effect(made)["estimates"][0]
    assert abs(found["estimate"] - 1.0) < 4 * found["se"]


def test_folders_of_different_partition_columns_are_refused(tmp_path: Path) -> None:
    made = traits.hive(tmp_path)
    pd.read_parquet(made.uri / "site=north" / "part.parquet").to_parquet(made.uri / "loose.parquet")
    with pytest.raises(SourceError, match="same partition columns"):
        effect(made)
