import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tasks.contract.errors import SourceError, SpecError
from tasks.distance import Scale, closest, closest_counts, closest_tied, fit_scale


def scale_of(metric, **kinds):
    return Scale(
        metric, tuple(kinds), tuple("numeric" if w else "categorical" for w in kinds.values()), tuple(w or 1.0 for w in kinds.values())
    )


def one(query, reference, scale):
    return closest(pd.DataFrame([query]), pd.DataFrame([reference]), scale=scale)[0][0, 0]


@pytest.mark.parametrize(("metric", "expected"), [("l2", np.sqrt(9 + 1)), ("l1", 3 + 1), ("gower", (1 + 1) / 3)])
def test_metrics_by_hand(metric, expected):
    scale = scale_of(metric, x=2.0, c=0, d=0)
    assert one({"x": 1.0, "c": "a", "d": "u"}, {"x": 7.0, "c": "b", "d": "u"}, scale) == pytest.approx(expected, abs=1e-15)


def test_missing_cells():
    scale = scale_of("l1", x=1.0, c=0)
    query = pd.DataFrame({"x": [np.nan, np.nan, 4.0], "c": [None, "a", None]})
    reference = pd.DataFrame({"x": [np.nan], "c": pd.Series([None], dtype=object)})
    assert closest(query, reference, scale=scale)[0].ravel().tolist() == [0.0, 1.0, 1.0]


def test_columns_go_by_name_and_levels_by_value():
    scale = scale_of("l2", x=1.0, c=0)
    query = pd.DataFrame({"x": [0.0], "c": pd.Categorical(["b"], categories=["a", "b"])})
    reference = pd.DataFrame({"c": pd.Categorical(["b", "zz"], categories=["b", "zz"]), "x": [3.0, 0.0]})
    distances, indices = closest(query, reference, 2, scale=scale)
    assert distances.tolist() == [[1.0, 3.0]]
    assert indices.tolist() == [[1, 0]]


def test_true_and_one_are_two_levels():
    scale = scale_of("l2", c=0)
    assert one({"c": True}, {"c": "1"}, scale) == 1.0
    mixed = pd.DataFrame({"c": pd.Series([1, "a"], dtype=object)})
    assert closest(pd.DataFrame({"c": [True]}), mixed, scale=scale)[0][0, 0] == 1.0


def test_instants_of_any_unit_and_zone_are_compared_in_microseconds():
    scale = scale_of("l1", t=1.0)
    query = pd.DataFrame({"t": pd.to_datetime(["2020-01-01 00:00:01"]).astype("datetime64[s]")})
    reference = pd.DataFrame({"t": pd.to_datetime(["2020-01-01 01:00:00"]).tz_localize("Europe/Paris")})
    assert closest(query, reference, scale=scale)[0][0, 0] == 1e6


def test_ties_take_the_lowest_row_and_split_evenly():
    scale = scale_of("l2", x=1.0)
    query = pd.DataFrame({"x": [0.0, 10.0]})
    reference = pd.DataFrame({"x": [1.0, -1.0, 10.5, 1.0]})
    assert closest(query, reference, 3, scale=scale)[1].tolist() == [[0, 1, 3], [2, 0, 3]]
    tied = closest_tied(query, reference, scale=scale)
    assert tied.starts.tolist() == [0, 3, 4]
    assert tied.indices.tolist() == [0, 1, 3, 2]
    assert closest_counts(query, reference, scale=scale) == pytest.approx([1 / 3, 1 / 3, 1, 1 / 3])


def test_no_query_row_gives_empty_answers():
    reference = pd.DataFrame({"x": [1.0, 2.0]})
    scale = fit_scale([reference])
    distances, indices = closest(reference[:0], reference, 2, scale=scale)
    assert distances.shape == indices.shape == (0, 2)
    assert closest_counts(reference[:0], reference, scale=scale).tolist() == [0.0, 0.0]
    assert closest_tied(reference[:0], reference, scale=scale).starts.tolist() == [0]


def test_refusals():
    frame = pd.DataFrame({"x": [1.0, 2.0]})
    scale = fit_scale([frame])
    with pytest.raises(SourceError, match="at least k = 3 rows; got 2"):
        closest(frame, frame, 3, scale=scale)
    with pytest.raises(SpecError, match="k of closest must be a whole number of at least 1; got 0"):
        closest(frame, frame, 0, scale=scale)
    with pytest.raises(SpecError, match="threads"):
        closest(frame, frame, scale=scale, threads=0)
    with pytest.raises(SourceError, match="columns of query must be those of the scale; got lacking x; extra z"):
        closest(frame.rename(columns={"x": "z"}), frame, scale=scale)
    with pytest.raises(SourceError, match="x of reference must be numeric as in the scale; got categorical"):
        closest(frame, pd.DataFrame({"x": ["a", "b"]}), scale=scale)


def test_small_problems_load_neither_numba_nor_compiled_code():
    code = (
        "import sys, pandas as pd\n"
        "from tasks.distance import closest, fit_scale\n"
        "f = pd.DataFrame({'x': [0.0, 1.0], 'c': ['a', 'b']})\n"
        "closest(f, f, scale=fit_scale([f]))\n"
        "print('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
