"""One rule for labels."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.contract.labels import affirmative, listed_labels, match_label


@pytest.mark.parametrize(
    ("wanted", "labels", "meant"),
    [
        (1, ("0", "1"), "1"),
        (1.0, ("0", "1"), "1"),
        ("1", ("0.0", "1.0"), "1.0"),
        (1, ("00", "01"), "01"),
        (True, ("0", "1"), "1"),
        (True, ("False", "True"), "True"),
        (0, ("false", "true"), "false"),
        ("true", ("FALSE", "TRUE"), "TRUE"),
        (1, ("no", "yes"), "yes"),
        (0, ("Nein", "Ja"), "Nein"),
        (1, ("non", "oui"), "oui"),
        (2, ("1", "2"), "2"),
        (0.5, ("0.5", "1"), "0.5"),
        ("drug", (" Drug", "placebo"), " Drug"),
        (1, ("drug", "placebo"), "drug"),
        (1, ("Verum", "Placebo"), "Verum"),
        (1, ("case", "control"), "case"),
        (0, ("Intervention", "Usual care "), "Usual care "),
        (True, ("Kontrollgruppe", "Training"), "Training"),
        (1, ("sham", "placebo"), None),
        (1, ("drug A", "drug B"), None),
        (1, ("drug", "placebo", "other"), None),
        ("1", ("1.0", "01"), None),
        (1, ("1", "1.0"), "1"),
        ("nan", ("0", "1"), None),
    ],
)
def test_what_a_label_means(wanted: Any, labels: tuple[str, ...], meant: str | None) -> None:
    assert match_label(wanted, labels) == meant


def test_pairs() -> None:
    assert affirmative(("Yes", "No")) == ("No", "Yes")
    assert affirmative(("1.0", "0")) == ("0", "1.0")
    assert affirmative(("alive", "dead")) is None
    assert affirmative(("Case", "Control")) == ("Control", "Case")
    assert affirmative(("placebo", "relapse")) is None  # an outcome has no control arm
    assert affirmative(("yes", "no", "unknown")) is None


def test_rare_labels_stay_unsaid() -> None:
    assert listed_labels({"a": 3, "b": 30, "c": 7}) == " ('b': 30 rows, 'c': 7 rows)"
    assert listed_labels(None) == ""
