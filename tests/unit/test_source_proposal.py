"""What names and cells of a table say of its columns, before anybody has described it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flows.init import draft, profile, release_name, screen
from tasks.contract.errors import SpecError
from tasks.source import hints
from tasks.source.proposal.column import Examined, examine
from tasks.source.proposal.document import _other_roles, quoted
from tasks.source.proposal.roles import Named, candidates, positive_label, reference_label, require_column

ROWS = 200


def column(values: list[object], name: str = "x", text: bool = True) -> Examined:
    return examine(name, pa.chunked_array([pa.array(values, pa.string() if text else None)]), text)


@pytest.mark.parametrize(
    ("name", "later"),
    [
        ("Wiederaufnahme", True),
        ("readmitted_30d", True),
        ("readmission", True),
        ("followUpVisit", True),
        ("bp_fu", True),
        ("DeathDate", True),
        ("yrdth", True),
        ("Entlassungsart", True),
        ("length_of_stay", True),
        ("Aufnahme", False),
        ("admission_date", False),
        ("baseline_response", False),
        ("history_of_stay", False),
        ("age", False),
        ("fun", False),
    ],
)
def test_names_of_what_is_measured_later(name: str, later: bool) -> None:
    assert hints.measured_later(name) is later


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("sampling_weight", True),
        ("pweight", True),
        ("Hochrechnungsfaktor", True),
        ("survey wt", True),
        ("weight", False),
        ("Gewicht kg", False),
    ],
)
def test_names_of_sampling_weights_are_none_of_bodies(name: str, weight: bool) -> None:
    assert hints.like_weight(name) is weight


def test_words_alone_need_no_kind() -> None:
    """Text is categorical anyway; a kind is declared where most of few levels are numbers, or numbers name things."""
    assert column(["Ja", "Nein", "unbekannt"] * 30, "smoker").wish == ""
    assert column(["1", "2", "both"] * 30, "side").wish == "categorical"
    assert column(["1", "2", "3"] * 30, "site").wish == "categorical"
    assert column(["1", "2", "3"] * 30, "children").wish == ""


def test_later_waves_name_the_earliest() -> None:
    names = ["wt71", "wt82", "score_t0", "score_t2", "q1", "q2", "revenue_2019", "revenue_2021", "wt82_71", "lab0", "lab1"]
    assert hints.later_waves(names) == {"wt82": "wt71", "score_t2": "score_t0", "revenue_2021": "revenue_2019"}
    assert hints.later_waves([f"x{number}" for number in range(1, 100)]) == {}


@pytest.mark.parametrize(
    ("cells", "codes", "kind"),
    [
        ([*[f"{20 + number % 30}.5" for number in range(ROWS)], *["-99"] * 12], (-99.0,), "continuous"),
        ([*[str(20 + number % 30) for number in range(ROWS)], *["k.A."] * 12], ("k.A.",), "integer"),
        ([*[f"2020-01-{1 + number % 28:02d}" for number in range(ROWS)], *["9999-12-31"] * 12], ("9999-12-31",), "datetime"),
        ([*[str(number % 7) for number in range(ROWS)]], (), "integer"),
        ([*["a", "b", "unknown"] * 70], (), "categorical"),  # a level of a category is a level
    ],
)
def test_codes_for_missing(cells: list[object], codes: tuple[object, ...], kind: str) -> None:
    seen = column(cells)
    assert (seen.codes, seen.kind, seen.unfit) == (codes, kind, "")
    assert seen.missing == seen.coded == (12 if codes else 0)


def test_words_among_numbers_that_are_no_codes_are_never_made_missing() -> None:
    stages = column([*["1", "2", "3"] * 60, *["IVb"] * 12], "stage")
    assert (stages.codes, stages.wish, stages.kind) == ((), "categorical", "categorical")
    below = column([*[str(number) for number in range(300)], *["<0.5"] * 12], "crp")
    assert below.codes == ()
    assert "must all read as numbers" in below.unfit


def test_identifiers_free_text_and_persons_are_left_out() -> None:
    assert "identifier" in column([f"{number:05d}" for number in range(ROWS)], "nr").unfit
    assert "free text" in column([f"note {number}" for number in range(ROWS)], "note").unfit
    assert "free text or codes" in column([f"note {number % 250}" for number in range(500)], "note").unfit
    assert "persons" in column([f"{number % 90}" for number in range(ROWS)], "phone").unfit
    assert "units" in column([str(number % 50) for number in range(ROWS)], "patient_id").unfit
    assert column(["north", "south"] * 100, "clinic").unfit == ""
    assert column([None] * ROWS, "empty").unfit == "no cell is known"


def test_roles_need_fitting_columns() -> None:
    columns = [
        column(["0", "1"] * 100, "smoker"),
        column(["Drug", "Placebo"] * 100, "arm"),
        column([f"{number / 7:.2f}" for number in range(ROWS)], "score"),
        column([str(number) for number in range(ROWS)], "id"),
    ]
    assert candidates(columns, "treatment") == ("arm", "smoker")
    assert candidates(columns, "outcome") == ("score", "smoker", "arm")
    assert require_column("score", columns, "outcome") is columns[2]
    with pytest.raises(SpecError, match="must have two to 8 labels with at least 5 rows each; got 'score'"):
        require_column("score", columns, "treatment")
    with pytest.raises(SpecError, match="not there") as fault:
        require_column("armm", columns, "treatment")
    assert fault.value.hint == "Did you mean 'arm'?"
    assert positive_label(columns[0], None, "treatment") == "1"
    assert positive_label(columns[1], None, "treatment") == "Drug"
    assert positive_label(columns[1], None, "outcome") is None
    assert positive_label(columns[1], "drug", "treatment") == "Drug"
    with pytest.raises(SpecError, match="must be a label of 'arm'"):
        positive_label(columns[1], "other", "treatment")


def test_a_treatment_may_have_more_than_two_labels() -> None:
    """It is a candidate where its name says so, and may be named where not; the reference is a known word, or is asked."""
    arms = column(["low", "high", "placebo"] * 100, "arm")
    grade = column(["1", "2", "3"] * 100, "grade")
    nine = column([str(number % 9) for number in range(ROWS)], "dose")
    columns = [grade, nine, arms]
    assert candidates(columns, "treatment") == ("arm",)
    assert require_column("grade", columns, "treatment") is grade
    with pytest.raises(SpecError, match="got 'dose' of 9 labels"):
        require_column("dose", columns, "treatment")
    assert reference_label(arms, None) == "placebo"
    assert reference_label(grade, None) is None
    assert reference_label(grade, "3.0") == "3"
    with pytest.raises(SpecError, match=r"control of init must be a label of 'grade' \(.*\); got 'none'"):
        reference_label(grade, "none")


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("Reha Export (2).csv", "reha-export-2"),
        ("s3://bucket/data/Trial.parquet", "trial"),
        ("builtin:nhefs", "nhefs"),
        ("data/", "data"),
        ("___.csv", "release"),
        ("x.csv.gz", "x"),
    ],
)
def test_a_release_is_named_like_its_file(uri: str, name: str) -> None:
    assert release_name(uri) == name


def test_columns_that_are_left_out_are_offered_another_role() -> None:
    reasons = {
        "case": "identifier: every row has another value",
        "village": "names units of several rows (about 40 values): rows of one unit are not independent",
        "wgt": "by its name, a sampling weight: it says how many others a row stands for",
        "died_after": "by its name, measured after treatment: adjusting for it biases the effect",
        "note": "no cell is known",
    }
    assert _other_roles(reasons)[1:] == [
        '# id = ["case"] # released as fresh keys',
        '# cluster = "village" # folds, standard errors and gates count its units',
        '# weight = "wgt" # rows count by it in all estimates',
        '# passengers = ["died_after"] # released, drawn after the outcome, not targeted',
    ]
    assert _other_roles({"note": "no cell is known"}) == []


def test_values_are_written_as_toml() -> None:
    assert [quoted(value) for value in (-99.0, 99.9, 'a"b', "ü", "tab\t")] == ["-99", "99.9", '"a\\"b"', '"ü"', '"tab\\t"']


def test_a_second_outcome_and_a_sampling_weight_are_no_covariates_in_silence(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"arm": rng.integers(0, 2, ROWS), "age": rng.integers(20, 80, ROWS), "score": rng.normal(size=ROWS).round(2)})
    frame["cost"], frame["sampling_weight"] = rng.gamma(2, 100, ROWS).round(2), rng.gamma(4, 0.25, ROWS).round(3)
    frame.to_csv(tmp_path / "trial.csv", index=False)
    text, reply = draft(profile(str(tmp_path / "trial.csv")), Named("arm", "score", "1", None, None))
    assert reply["warnings"] == ["covariate 'cost' is an outcome by its name: if treatment can change it, move it to passengers."]
    assert '"cost", # continuous; an outcome by its name: measured before treatment?' in text
    assert list(reply["left_out"]) == ["sampling_weight"]
    assert '# weight = "sampling_weight" # rows count by it in all estimates' in text


def test_codes_of_a_treatment_are_said_on_the_screen(tmp_path: Path) -> None:
    pd.DataFrame({"group": [0, 1, 0, 1, 9] * 40, "x": range(200), "y": range(200)}).to_csv(tmp_path / "t.csv", index=False)
    (line,) = (line for line in screen(profile(str(tmp_path / "t.csv"))) if line.startswith("group"))
    assert "40 cells look like codes for missing (9); two labels and its name" in line
