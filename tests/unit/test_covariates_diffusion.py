"""The diffusion synthesizer: cells as numbers and categories, the path, the start from a linear law, training that resumes."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.registry import resolve
from tasks.covariates.diffusion.cells import decode, draw_numbers, encode
from tasks.covariates.diffusion.denoiser import Denoiser, Prior, freeze, thaw
from tasks.covariates.diffusion.schedule import flow, times, weights
from tasks.covariates.folds import assign_folds
from tasks.covariates.journal import MemoryJournal, Trained
from tasks.covariates.margins import decode as to_cells
from tasks.covariates.margins import fit_margin
from tests.contract.test_synthesizers import describe, mixed
from tests.unit.test_covariates_quality import memory, numbers, separation, world

QUICK = {"epochs": 3, "every": 1, "patience": 10, "width": 32, "layers": 1, "steps": 12}


def laid_out(table: pd.DataFrame):
    rng = np.random.default_rng(0)
    fold = assign_folds(table, rng)
    pairs = [fit_margin(table[column.id], column, fold, rng) for column in describe(table)]
    return pairs, *encode(pairs)


def fit(table: pd.DataFrame, params: dict[str, object] = QUICK, seed: int = 1, journal=None):
    synthesizer = resolve("synthesizer", "diffusion", params)
    return synthesizer.train(table, describe(table), np.random.default_rng(seed), journal or MemoryJournal())


class Interrupted(Exception):
    """The machine went down."""


class FragileJournal(MemoryJournal):
    """Loses the process once, right after a state was saved."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.told = at, []

    def tell(self, done: int, total: int, figure: float | None) -> None:
        self.told.append(done)
        if done == self.at:
            self.at = -1
            raise Interrupted


def test_cells_survive_the_way_to_numbers_and_back() -> None:
    rng = np.random.default_rng(1)
    table = mixed(2000).assign(w7=pd.Categorical.from_codes(rng.integers(-1, 150, 2000), categories=[f"{k:03d}" for k in range(150)]))
    pairs, layout, cells = laid_out(table)
    # age, dose, marker are numbers; the marker's gaps, four categories and two digits of the long one are blocks
    assert layout.numbers == 3
    assert len(layout.widths) == 1 + 4 + 2
    assert max(layout.widths) <= 64
    back = decode(layout, draw_numbers(cells, rng), cells.codes)
    for (margin, coded), again in zip(pairs, back, strict=True):
        np.testing.assert_array_equal(coded.state, again.state)
        if margin.smooth >= 0:
            inside = coded.state == margin.smooth
            # a rank is spread over its own width
            assert np.corrcoef(coded.score[inside], again.score[inside])[0, 1] > 0.999
            spread = to_cells(margin, again).dropna()
            assert abs(spread.mean() - table[margin.id].mean()) < 0.1 * table[margin.id].std()
    assert (cells.low < cells.high).all()


def test_digits_without_a_level_become_one() -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"w0": pd.Categorical.from_codes(np.arange(1400) % 70, categories=[f"{k:02d}" for k in range(70)])})
    _, layout, _ = laid_out(table)
    anything = np.column_stack([rng.integers(0, width, 500) for width in layout.widths])
    assert anything[:, 0].max() + layout.parts[0].base * anything[:, 1].max() >= 70  # such digits are among them
    state = decode(layout, np.zeros((500, 0)), anything)[0].state
    assert 0 <= state.min() <= state.max() < 70


def test_the_path_runs_from_noise_to_data() -> None:
    path = times(40)
    assert (np.diff(path) > 0).all()
    assert path[0] < 0.03
    assert 0.98 < path[-1] < 1
    # where the estimate of the data never changes, the point ends where the straight line from noise to it does
    x, before, data = -2.0 * (1 - path[0]) + 3.0 * path[0], 0.0, 3.0
    for now, after in zip(path, [*path[1:], 1.0], strict=True):
        keep, new, old = weights(before, now, after) if after < 1 else (0.0, 1.0, 0.0)
        x, before = keep * x + new * data + old * data, now
        assert x == pytest.approx(-2.0 * (1 - after) + 3.0 * after)


def test_an_untrained_network_draws_from_a_gaussian_copula() -> None:
    wanted = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, -0.4], [0.0, -0.4, 1.0]])
    values, vectors = np.linalg.eigh(wanted)
    shares = (np.array([0.1, 0.9]), np.array([0.5, 0.3, 0.15, 0.05]))
    prior = Prior(vectors.astype(np.float32), values.astype(np.float32), tuple(share.astype(np.float32) for share in shares))
    net = Denoiser(prior, 16, 1)
    numbers_, codes = flow(net, 40, 10_000, np.random.default_rng(2))
    assert np.abs(np.corrcoef(numbers_.T) - wanted).max() < 0.03
    assert np.abs(numbers_.std(axis=0) - 1).max() < 0.03
    for block, share in enumerate(shares):
        assert np.abs(np.bincount(codes[:, block]) / len(codes) - share).max() < 0.02
    again = thaw(freeze(net), (2, 4))
    np.testing.assert_array_equal(flow(again, 5, 100, np.random.default_rng(3))[0], flow(net, 5, 100, np.random.default_rng(3))[0])


def test_the_loss_of_the_right_law_cannot_be_beaten_by_another() -> None:
    rng = np.random.default_rng(4)
    clean = rng.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], 4000)
    t = rng.random((4000, 1)) * 0.98 + 0.01
    row = t * clean + (1 - t) * rng.standard_normal(clean.shape)
    tensors = [torch.from_numpy(part.astype(np.float32)) for part in (row, t, clean)]
    codes = torch.zeros((4000, 0), dtype=torch.int64)

    def loss(rho: float) -> float:
        values, vectors = np.linalg.eigh(np.array([[1, rho], [rho, 1]]))
        net = Denoiser(Prior(vectors.astype(np.float32), values.astype(np.float32), ()), 8, 1)
        return float(net.loss(*tensors, codes).detach())

    assert loss(0.9) == pytest.approx(1.0, abs=0.05)  # half a squared unit for each number
    assert loss(0.98) > loss(0.9) + 0.1


def test_interrupted_training_ends_with_the_same_weights() -> None:
    table = mixed(200)
    whole = fit(table)
    journal = FragileJournal(2)
    with pytest.raises(Interrupted):
        fit(table, journal=journal)
    resumed = fit(table, journal=journal)
    assert journal.told == [1, 2, 3]  # it went on where it stopped
    assert resumed.curve == whole.curve
    assert {name: value.tobytes() for name, value in resumed.weights.items()} == {
        name: value.tobytes() for name, value in whole.weights.items()
    }


def test_one_seed_gives_one_model_and_another_seed_another() -> None:
    table = mixed(300)
    params = {**QUICK, "epochs": 1}
    first, again, other = fit(table, params), fit(table, params), fit(table, params, seed=2)
    assert pickle.dumps(first) == pickle.dumps(again)
    assert any((first.weights[name] != other.weights[name]).any() for name in first.weights if name.startswith("leave"))
    long = first.sample(13_000, np.random.default_rng(3))
    pd.testing.assert_frame_equal(long, again.sample(13_000, np.random.default_rng(3)), check_exact=True)
    assert long.index.equals(pd.RangeIndex(13_000))


def test_training_is_known_to_the_flow_and_its_curve_is_kept() -> None:
    synthesizer = resolve("synthesizer", "diffusion", QUICK)
    assert isinstance(synthesizer, Trained)
    model = fit(mixed(200))
    assert model.curve.epochs == (1, 2, 3)
    assert all(0.5 <= figure <= 1 for figure in model.curve.figures)
    assert model.curve.figures[model.curve.epochs.index(model.curve.kept)] == min(model.curve.figures)


def test_a_model_holds_no_row() -> None:
    table = mixed(400)
    canary = 3.1415926535897
    table.loc[17, "w3"] = canary
    stored = pickle.dumps(fit(table, {**QUICK, "epochs": 1}))
    assert np.float64(canary).tobytes() not in stored
    assert np.float32(canary).tobytes() not in stored
    assert not any(np.float64(value).tobytes() in stored for value in table["w3"].dropna().to_numpy()[:50])


def test_small_tables_are_drawn_and_smaller_refused() -> None:
    drawn = fit(mixed(20), {**QUICK, "epochs": 1}).sample(30, np.random.default_rng(1))
    assert drawn.shape == (30, 7)
    with pytest.raises(EstimationError, match="synthesizer 'diffusion' must be at least 20; got 19"):
        fit(mixed(19))
    with pytest.raises(SpecError, match="steps"):
        resolve("synthesizer", "diffusion", {"steps": 1})


@pytest.mark.slow
def test_a_classifier_hardly_tells_release_and_truth_apart() -> None:
    truth, found, leaning = world(10_000, 100), [], []
    for seed in range(2):
        table, hold = world(1000, seed), world(430, 1000 + seed)
        drawn = fit(table, {}, seed).sample(10_000, np.random.default_rng(seed))
        found.append(separation(truth, drawn))
        leaning.append(memory(table, hold, drawn))
        assert not set(map(tuple, numbers(table))) & set(map(tuple, numbers(drawn)))
    assert np.mean(found) < 0.575
    assert np.mean(leaning) < 1.7


@pytest.mark.slow
def test_the_network_learns_what_a_correlation_does_not_know() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(2000)
    table = pd.DataFrame({"w0": x, "w1": x**2 + 0.3 * rng.standard_normal(2000)})
    table["w2"] = pd.Categorical.from_codes((x * table["w1"] > 0).astype(int), categories=["no", "yes"])
    drawn = fit(table, {}).sample(10_000, np.random.default_rng(1))
    assert np.corrcoef(drawn["w0"] ** 2, drawn["w1"])[0, 1] > 0.8
    assert (drawn["w2"] == "yes")[drawn["w0"] > 0.5].mean() > 0.9
    assert (drawn["w2"] == "yes")[drawn["w0"] < -0.5].mean() < 0.1
