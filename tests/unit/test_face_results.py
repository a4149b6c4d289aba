"""Results: frozen, with frames, text for a terminal, a table for a notebook, and figures."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import waymint
from tests.releasing import table
from waymint.results import Audit, Comparison, Estimates, Release, Result, Simulation, SurvivalEstimates

ROOT = Path(__file__).parents[2]
MANIFEST = json.loads((ROOT / "tests/data/manifest-0.1.0.json").read_text())


def estimate(estimator: str, estimand: str = "ate", value: float = 1.0) -> dict[str, Any]:
    return {
        "estimand": estimand,
        "estimator": estimator,
        "estimate": value,
        "se": 0.1,
        "ci_low": value - 0.2,
        "ci_high": value + 0.2,
        "p": 0.01,
        "n": 90,
        "ess": 80.0,
        "clipped": 0.0,
    }


def cell(n: int, scale: float, estimator: str, power: float) -> dict[str, Any]:
    errors = dict.fromkeys(("power_mcse", "coverage_mcse", "bias_mcse", "rmse_mcse"), 0.01)
    measures = {"bias": 0.01, "rmse": 0.2, "coverage": 0.94, "ci_width": 0.8, "power": power, "failures": 0.0}
    measures["type1_error"] = power if scale == 0.0 else None
    place = {"title": f"n {n}, effect × {scale}", "n": n, "design": "fitted", "effect_scale": scale, "estimator": estimator, "truth": scale}
    return {**place, **measures, **errors, "replicates": 200, "withheld": None, "noise": 1.0, "learner": "glm"}


RELEASE = Release({"status": "published", "uri": "file:///s/trial/v000001", "version": MANIFEST["version"], "manifest": MANIFEST})
ESTIMATES = Estimates(
    {
        "n": 90,
        "estimates": [estimate("or"), estimate("tmle", value=1.1), estimate("aipw", "att")],
        "overlap": MANIFEST["overlap"]["source"],
        "balance": [
            {"covariate": "age", "level": None, "before": -0.4, "after": 0.02},
            {"covariate": "<b>site", "level": "a", "before": 0.1, "after": 0.0},
        ],
        "fit": {"learner": "glm", "rows": 90, "out_of_core": False},
    }
)
CURVE = [
    {"arm": arm, "estimator": "km", "time": time, "survival": 1 - time / 20, "se": 0.02, "band_low": 0.0, "band_high": 1.0, "at_risk": 9}
    for arm in "01"
    for time in (5.0, 9.0)
]
SURVIVAL = SurvivalEstimates(
    {
        "n": 90,
        "horizon": 9.0,
        "estimates": [estimate("km", "rmst_difference") | {"arm": "1", "control": "0"}],
        "curves": CURVE,
        "fit": {"learner": "glm"},
        "warnings": ["poor overlap"],
    }
)
ROWS = [
    cell(n, scale, name, power)
    for n, power in ((100, 0.3), (400, 0.9))
    for scale in (1.0, 0.0)
    for name in ("or", "ipw", "aipw", "tmle", "adaptive", "att")
]
SIMULATION = Simulation({"uri": "file:///s/t", "truth": 1.0, "truth_se": 0.01, "rows": ROWS, "ranking": [], "cautions": ["few copies"]})
ERRORS = {"or": 0.1, "aipw": None, "tmle": 0.2}
COMPARISON = Comparison(
    {
        "uri": "file:///s/c",
        "rows": [
            {
                "synthesizer": name,
                "mode": "hybrid",
                "seed": 1,
                "refused": None,
                "tstr": 0.6,
                "effect_error": {"or": 0.1, "aipw": None, "tmle": 0.2},
            }
            for name in ("copula", "forest")
        ]
        + [{"synthesizer": "llm", "mode": "full", "seed": 1, "refused": "too few rows", "effect_error": {"or": None}}],
        "recommendation": None,
    }
)
ATTACKS = [
    dict(zip(("attack", "statistic", "value", "ci_low", "ci_high", "baseline", "control", "verdict"), values))
    for values in (
        ("membership", "auc", 0.52, 0.48, 0.56, 0.5, 0.51, "none found at this size"),
        ("linkability", "rate", None, None, None, None, None, "inconclusive"),
        ("mechanism", "bits", 0.2, None, None, 0.1, None, "leak found"),
    )
]
AUDIT = Audit({"uri": "file:///s/a", "attacks": ATTACKS})
RESULTS = [RELEASE, ESTIMATES, SURVIVAL, SIMULATION, COMPARISON, AUDIT]
names = [type(result).__name__ for result in RESULTS]


@pytest.mark.parametrize("result", RESULTS, ids=names)
def test_a_result_is_frozen_and_shows_itself(result: Result) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.reply = {}  # type: ignore[misc]
    text, page = repr(result), result._repr_html_()
    assert text.startswith(result.headline())
    assert len(text.splitlines()) > 2
    assert "<table" in page
    assert "<b>" not in page


def test_a_codebook_has_a_row_for_each_column() -> None:
    book = RELEASE.codebook()
    added = ["waymint_g", "waymint_q0", "waymint_q1"]  # that release has its nuisances beside the table's columns
    assert list(book["column"]) == [*(column["name"] for column in MANIFEST["schema"]["columns"]), *added]
    assert {"label", "unit", "role", "kind", "drawn"} <= set(book)
    assert set(book["role"]) >= {"treatment", "outcome", "covariate"}


def test_frames_hold_what_the_reply_holds() -> None:
    assert list(ESTIMATES.frame()["estimate"]) == [1.0, 1.1, 1.0]
    assert list(ESTIMATES.balance()["before"]) == [-0.4, 0.1]
    assert ESTIMATES.combined().empty
    assert len(SIMULATION.frame()) == len(ROWS)
    assert COMPARISON.frame()["effect_error_tmle"].tolist()[:2] == [0.2, 0.2]
    assert AUDIT.frame()["value"].iloc[0] == 0.52
    effects = RELEASE.effects()
    assert set(effects["table"]) == {"source", "release", "combined"}
    main = RELEASE.table().set_index("table")["estimate"]
    assert main["source"] == MANIFEST["effects"]["source"]["ate"]["estimate"]
    assert len(RELEASE.gates()) == len(MANIFEST["gates"])
    assert (RELEASE.name, RELEASE.version, RELEASE.report) == ("trial", MANIFEST["version"], "file:///s/trial/v000001/report.html")


def test_headlines_count() -> None:
    assert COMPARISON.headline() == "2 of 3 variants compared"
    assert AUDIT.headline() == "leak found by 1 of 3 statistics"
    assert SIMULATION.headline() == "true average effect 1; 4 cells"
    assert "warning: few copies" in repr(SIMULATION)


KINDS = [(result, kind) for result in RESULTS for kind in result.PLOTS if kind != "margins"]


@pytest.mark.parametrize(("result", "kind"), KINDS, ids=[f"{type(result).__name__}-{kind}" for result, kind in KINDS])
def test_every_plot_is_drawn_and_saved(result: Result, kind: str, tmp_path: Path) -> None:
    figure = result.plot(kind)
    for ending, start in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")):
        figure.savefig(tmp_path / f"figure.{ending}")
        assert (tmp_path / f"figure.{ending}").read_bytes().startswith(start)
    assert all(axis.get_xlabel() for axis in figure.axes)


def test_a_figure_shows_itself_and_pyplot_holds_none() -> None:
    assert ESTIMATES.plot()._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def texts(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    return buffer.getvalue().decode()


def test_a_forest_plot_has_a_point_for_every_estimate() -> None:
    axis = ESTIMATES.plot().axes[0]
    assert sorted(axis.lines[0].get_xdata()) == [1.0, 1.0, 1.1]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels == ["ATE  OR", "ATE  TMLE", "ATT  AIPW"]


def test_a_love_plot_has_the_largest_difference_on_top() -> None:
    axis = ESTIMATES.plot("love").axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["age", "<b>site = a"]
    assert axis.collections[1].get_offsets()[0].tolist() == [0.4, 0.0]


def test_power_without_an_effect_is_called_type_1_error() -> None:
    panels = {axis.get_title(): axis for axis in SIMULATION.plot("power").axes}
    assert panels["fitted, effect × 0"].get_ylabel() == "type-1 error"
    assert panels["fitted, effect × 1"].get_ylabel() == "power"
    assert [line.get_ydata()[0] for line in panels["fitted, effect × 0"].lines if line.get_linestyle() == ":"] == [0.05]
    assert "ATT" not in texts(SIMULATION.plot("power"))
    shown = SIMULATION.table()
    null = shown["effect_scale"] == 0.0
    assert shown.loc[null, "power"].isna().all()
    assert shown.loc[~null, "type1_error"].isna().all()
    assert shown.loc[null, "type1_error"].notna().all()


def test_margins_lay_release_and_source_together(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table(300).assign(day=pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(300) % 90, "D"))
    monkeypatch.setattr(Release, "frame", lambda self, copy=0: frame)
    figure = RELEASE.plot("margins", source=frame)
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == list(frame.columns)
    for axis in shown:
        source, release = (patch.get_data().values for patch in axis.patches)
        assert source == pytest.approx(release)
        assert source.sum() == pytest.approx(1.0)
    assert [axis.get_title() for axis in RELEASE.plot("margins", columns=["age"]).axes] == ["age"]
    with pytest.raises(waymint.SpecError, match="columns of margins must be in the release; got 'none'"):
        RELEASE.plot("margins", columns=["none"])


def test_a_plot_that_is_not_there_is_told() -> None:
    with pytest.raises(waymint.SpecError, match="kind of plot must be among effects, overlap, love; got 'forest'"):
        ESTIMATES.plot("forest")
    with pytest.raises(waymint.SpecError, match="copy of trial version"):
        RELEASE.to_arrow(5)


def test_svg_is_the_same_each_time_but_for_the_date() -> None:
    first, second = (re.sub(r"<dc:date>.*?</dc:date>", "", texts(ESTIMATES.plot())) for _ in range(2))
    assert first == second


def test_without_matplotlib_the_command_is_told() -> None:
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import waymint\nfrom waymint.results import Audit\n"
        "try:\n    Audit({'uri': '', 'attacks': []}).plot()\nexcept waymint.SpecError as error:\n    print(error)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "matplotlib must be installed to draw; it is not. Run: pip install 'waymint[plot]'"
