"""The panel of training: the curve, and a sentence that its numbers earn."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import tasks.report.training as panel
from tasks.pages.template import fill
from tasks.report.training import training_panel
from tests.reporting import Page

CURVE = {"epochs": [10, 20, 30, 40], "figures": [0.8, 0.53, 0.54, 0.56], "kept": 20}


def page(curve):
    return fill(Path(panel.__file__).parent, "training.html.j2", training=training_panel(curve)).decode()


def test_a_synthesizer_without_epochs_has_no_panel() -> None:
    assert training_panel(None) is None
    assert page(None).strip() == ""


def test_the_kept_epoch_is_told_and_marked() -> None:
    found = training_panel(CURVE)
    assert "hardly told" in found["reading"]
    assert "0.530, after epoch 20 of 40" in found["reading"]
    assert "still fell" not in found["reading"]
    assert str(found["plot"]).count("<circle") == 1
    assert "How did the synthesizer learn?" in Page(page(CURVE).encode()).text


@pytest.mark.parametrize(("best", "words"), [(0.54, "hardly"), (0.6, "somewhat"), (0.8, "easily")])
def test_the_reading_follows_the_figure(best, words) -> None:
    assert words in training_panel({"epochs": [10, 20], "figures": [best + 0.1, best], "kept": 20})["reading"]


def test_a_curve_that_still_falls_asks_for_more_epochs() -> None:
    falling = {"epochs": [10, 20, 30, 40], "figures": [0.9, 0.8, 0.7, 0.6], "kept": 40}
    assert "still fell" in training_panel(falling)["reading"]


def test_measurements_that_were_not_finite_are_left_out_of_the_picture() -> None:
    found = training_panel({"epochs": [10, 20], "figures": [math.inf, 0.7], "kept": 20})
    assert "inf" not in str(found["plot"])
    assert "nan" not in str(found["plot"])
