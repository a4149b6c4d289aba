import pickle

import numpy as np
import pandas as pd
import pytest

from tasks.contract.errors import SourceError, SpecError
from tasks.distance import closest, fit_scale


def width(values, metric="l2"):
    return fit_scale([pd.DataFrame({"x": values})], metric).widths[0]


def test_unit_is_the_interquartile_range():
    assert width([0.0, 1.0, 2.0, 3.0, 4.0, np.nan]) == 2.0


def test_unit_falls_back_to_the_standard_deviation_then_to_one():
    assert width([0.0] * 9 + [10.0]) == pytest.approx(3.0)
    assert width([5.0] * 4) == 1.0
    assert width([5.0] * 4, "gower") == 1.0


def test_gower_unit_is_the_range_of_all_frames_pooled():
    frames = [pd.DataFrame({"x": [0.0, 1.0]}), pd.DataFrame({"x": [7.0]})]
    assert fit_scale(frames, "gower").widths == (7.0,)


def test_unit_survives_a_far_offset():
    values = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 4.0]) + 2.0**40
    assert width(values) == pytest.approx(np.std([0, 0, 0, 0, 0, 4.0]))


def test_kinds():
    frame = pd.DataFrame(
        {
            "float": [1.5, np.nan],
            "int": [1, 2],
            "nullable": pd.array([1, None], dtype="Int64"),
            "instant": pd.to_datetime(["2020-01-01", None]),
            "bool": [True, False],
            "text": ["a", None],
            "object": pd.Series(["a", None], dtype=object),
            "category": pd.Categorical([1, 2]),
        }
    )
    scale = fit_scale([frame])
    assert scale.numeric == ("float", "int", "nullable", "instant")
    assert scale.categorical == ("bool", "text", "object", "category")


def test_a_column_without_known_cells_takes_the_other_frames_kind():
    frames = [pd.DataFrame({"x": pd.Series([None, None], dtype=object)}), pd.DataFrame({"x": [1.0, 2.0]})]
    assert fit_scale(frames).kinds == ("numeric",)


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([], "at least one frame"),
        ([pd.DataFrame({"x": pd.Series([], dtype=float)})], "at least one row"),
        ([pd.DataFrame({"x": [1.0]}), pd.DataFrame({"y": [1.0]})], "lacking x; extra y"),
        ([pd.DataFrame([[1, 2]], columns=["x", "x"])], "each name once"),
        ([pd.DataFrame({"x": [1.0]}), pd.DataFrame({"x": ["secret"]})], "of one kind"),
        ([pd.DataFrame({"x": [1.0, np.inf]})], "1 infinite cells"),
    ],
)
def test_refusals_name_the_fault_and_no_cell(frames, said):
    with pytest.raises(SourceError, match=said) as caught:
        fit_scale(frames)
    assert "secret" not in str(caught.value)


def test_unknown_metric_is_refused():
    with pytest.raises(SpecError, match="one of l2, l1, gower; got 'cosine'"):
        fit_scale([pd.DataFrame({"x": [1.0]})], "cosine")


def test_scale_pickles_and_its_copy_measures_the_same():
    frame = pd.DataFrame({"x": [0.0, 1.0, 5.0], "c": ["a", "b", "a"]})
    scale = fit_scale([frame])
    again = pickle.loads(pickle.dumps(scale))
    assert again == scale
    assert np.array_equal(closest(frame, frame[::-1], scale=again)[0], closest(frame, frame[::-1], scale=scale)[0])
