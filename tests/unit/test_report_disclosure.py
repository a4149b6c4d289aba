"""No cell of a picture tells of one to four rows, nor can one be found by subtraction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.contract.disclosure import SMALLEST_CELL
from tasks.report.disclosure import folded, groups, rounded, small
from tasks.report.distance_plot import distance_histograms
from tasks.report.marginals import paired
from tasks.report.overlap_plot import arm_shares
from tests.reporting import counts, overlap, schema, table

CELLS = st.integers(1, 12).flatmap(
    lambda cells: st.lists(st.lists(st.integers(0, 9), min_size=cells, max_size=cells), min_size=1, max_size=3).map(np.array)
)


@given(CELLS)
def test_merged_cells_hold_no_row_or_at_least_five(cells: np.ndarray) -> None:
    runs = groups(cells)
    assert [place for run in runs for place in range(run.start, run.stop)] == list(range(cells.shape[1]))
    sums = np.stack([cells[:, run].sum(axis=1) for run in runs], axis=1)
    assert len(runs) == 1 or not small(sums).any()


def test_cells_that_may_be_shown_are_not_merged() -> None:
    assert len(groups(np.array([[5, 0, 7, 12], [0, 0, 5, 400]]))) == 4


def test_a_small_cell_joins_its_emptier_neighbour() -> None:
    assert groups(np.array([[50, 2, 9, 40]])) == [slice(0, 1), slice(1, 3), slice(3, 4)]


@given(CELLS, st.integers(2, 8))
def test_folded_levels_hold_no_row_or_at_least_five(cells: np.ndarray, most: int) -> None:
    together = folded(cells, most)
    shown = cells[:, ~together]
    assert not small(shown).any()
    assert together.all() or not small(cells[:, together].sum(axis=1)).any()
    assert shown.shape[1] + together.any() <= most or not together.any()


def test_one_rare_level_takes_another_with_it() -> None:
    # else the rows of the rare level would be all rows minus those shown
    assert folded(np.array([[500, 300, 3]]), 8).tolist() == [False, True, True]


def test_no_share_of_a_page_is_one_of_one_to_four_rows() -> None:
    like = schema()
    for rows, seed in ((40, 1), (200, 2), (1000, 3)):
        for row in paired(like, counts(like, table(like, rows, seed)), counts(like, table(like, 500, seed + 9))):
            for where, total in (("source", rows), ("release", 500)):
                shown = np.array(row[where]) * total
                assert shown.sum() == pytest.approx(total)  # nothing is hidden, so nothing is left to subtract
                assert len(shown) == 1 or not small(np.rint(shown).astype(int)).any(), (row["name"], where)


def test_distances_are_shown_in_bins_of_five_rows_and_on_round_edges() -> None:
    rng = np.random.default_rng(1)
    series = {"release to seed": rng.gamma(2, 1, 300), "release to holdout": rng.gamma(2, 1, 300), "holdout to seed": rng.gamma(2, 1, 40)}
    found = distance_histograms(series)
    widths = np.diff(found["edges"])
    for name, values in series.items():
        rows = np.array(found["series"][name]) * widths * len(values)
        assert rows.sum() == pytest.approx(len(values))
        assert not small(np.rint(rows).astype(int)).any()
    every = np.concatenate(list(series.values()))
    assert not np.isclose(np.array(found["edges"])[:, None], every[None, :], rtol=1e-9, atol=0).any()


def test_bars_beside_suppressed_ones_are_rounded() -> None:
    record = overlap(1000, 4)
    assert None in record["histogram1"]
    shares = arm_shares(record)
    assert [share is None for share in shares["treated"]] == [count is None for count in record["histogram1"]]
    rows = [share * record["n"] for share in shares["treated"] if share is not None]
    assert all(abs(count / SMALLEST_CELL - round(count / SMALLEST_CELL)) < 1e-9 for count in rows)
    assert rounded(None) is None
    assert [rounded(count) for count in (0, 5, 7, 8, 1163)] == [0, 5, 5, 10, 1165]
