"""Numbers as people read them, scales with round ticks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.pages.axis import nice_step, short, spanning, tick_labels
from tasks.pages.numbers import decimals_of, fixed, interval, moment, number, percent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.0, "0"),
        (1044.23, "1,044"),
        (1.0, "1"),
        (0.000173, "0.000173"),
        (-2.5, "−2.5"),
        (10_000, "10,000"),
        (1e-7, "1.00e-07"),
        (-0.0, "0"),
        ("text", "text"),
    ],
)
def test_numbers(value: object, text: str) -> None:
    assert number(value) == text


def test_an_estimate_has_two_digits_of_its_error() -> None:
    assert fixed(3.5089, decimals_of(0.491)) == "3.51"
    assert fixed(-1234.5, decimals_of(33.0)) == "−1,234"
    assert fixed(0.012345, decimals_of(0.0021)) == "0.0123"
    assert fixed(-0.001, 2) == "0.00"
    assert decimals_of(None) == decimals_of(math.nan) == 3
    assert interval(-1.0, 2.0, 1) == "−1.0 to 2.0"
    assert interval(None, 2.0, 1) == "–"


def test_shares() -> None:
    assert [percent(share) for share in (None, 0.0, 0.0001, 0.012, 0.5, 1.0)] == ["–", "0 %", "< 0.1 %", "1.2 %", "50 %", "100 %"]


def test_moments() -> None:
    assert moment("2026-11-21T23:36:09+00:00") == "21 November 2026, 23:36 UTC"
    assert moment("some day") == "some day"


@given(st.floats(1e-12, 1e12))
def test_steps_are_round_and_just_wide_enough(width: float) -> None:
    step = nice_step(width)
    assert width * (1 - 1e-6) <= step <= 2.5 * width * (1 + 1e-6)
    assert f"{step:.6e}"[:8] in ("1.000000", "2.000000", "5.000000")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_every_value_is_on_its_scale_with_some_ticks(values: list[float]) -> None:
    axis = spanning(values, 0.0, 100.0)
    assert all(axis.low <= value <= axis.high for value in values)
    assert 1 <= len(axis.ticks(5)) <= 7
    assert all(0.0 <= axis.at(tick) <= 100.0 for tick in axis.ticks(5))


def test_zero_is_on_the_scale_where_it_is_near() -> None:
    assert spanning([1.0, 3.0], 0, 100).low < 0
    assert spanning([370.0, 375.0], 0, 100).low > 300


def test_tick_labels() -> None:
    assert tick_labels([-0.5, 0.0, 0.5]) == ("−0.5", "0.0", "0.5")
    assert tick_labels([1980.0, 1990.0]) == ("1980", "1990")
    assert tick_labels([0.0, 20_000.0, 40_000.0]) == ("0", "20k", "40k")
    assert tick_labels([]) == ()
    assert [short(value) for value in (1.0, 2000.0, 5e5, 2e6, 0.02)] == ["1", "2000", "500k", "2M", "0.02"]
    assert len(set(tick_labels([1e-7, 2e-7, 3e-7]))) == 3
