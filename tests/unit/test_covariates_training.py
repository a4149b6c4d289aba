"""The training loop: stopped by the validation figure, resumed to the same weights; the figure itself."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest
import torch

from tasks.contract.errors import EstimationError
from tasks.covariates.closeness import hold_out, two_sample
from tasks.covariates.journal import Curve, MemoryJournal
from tasks.covariates.training.descent import Adam
from tasks.covariates.training.loop import reproducible, train
from tests.contract.test_synthesizers import describe, mixed


class Interrupted(Exception):
    """The process was killed."""


class Failing(MemoryJournal):
    """A journal whose process dies after an epoch."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def tell(self, done: int, total: int, figure: float | None) -> None:
        if done == self.after:
            raise Interrupted


def learn(journal, epochs=12, every=2, patience=50, figures=None, seed=3):
    """Train a small network with dropout; return the curve and the weights' bytes."""
    with reproducible(np.random.default_rng(seed)) as generator:
        net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
        descent = Adam(net.parameters(), 0.01, decay=1e-4)
        rows = torch.randn(50, 3, generator=generator)
        target = rows.sum(1, keepdim=True)
        given = iter(figures) if figures else None

        def epoch(own: torch.Generator) -> None:
            net.train()
            chosen = torch.randperm(50, generator=own)[:20]
            descent.descend(((net(rows[chosen]) - target[chosen]) ** 2).mean())

        def validate() -> float:
            net.eval()
            with torch.no_grad():
                return next(given) if given else float(((net(rows) - target) ** 2).mean())

        parts = {"net": net, "descent": descent}
        curve = train(parts, epoch, validate, epochs=epochs, every=every, patience=patience, generator=generator, journal=journal)
        return curve, b"".join(value.numpy().tobytes() for value in net.state_dict().values())


@pytest.mark.parametrize("after", [1, 4, 7, 12])
def test_an_interrupted_run_ends_with_the_same_weights(after) -> None:
    whole = learn(MemoryJournal())
    broken = Failing(after)
    with pytest.raises(Interrupted):
        learn(broken)
    second = MemoryJournal()
    if broken.load() is not None:
        second.save(broken.load())
    assert learn(second) == whole


def test_a_finished_run_is_not_trained_again() -> None:
    journal = MemoryJournal()
    first = learn(journal)
    told = []
    journal.tell = lambda *each: told.append(each)
    assert learn(journal) == first
    assert told == []


def test_one_seed_gives_the_same_bytes_whatever_the_threads_and_another_seed_others() -> None:
    first = learn(MemoryJournal())
    threads = torch.get_num_threads()
    torch.manual_seed(99)
    torch.set_num_threads(2)
    assert learn(MemoryJournal()) == first
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert learn(MemoryJournal(), seed=4)[1] != first[1]


def test_the_best_weights_are_restored_and_training_stops_in_time() -> None:
    figures = [0.9, 0.6, 0.7, 0.7, 0.8, 0.5]
    curve, weights = learn(MemoryJournal(), epochs=12, every=2, patience=3, figures=figures)
    assert curve == Curve((2, 4, 6, 8, 10), (0.9, 0.6, 0.7, 0.7, 0.8), 4)
    assert weights == learn(MemoryJournal(), epochs=4, every=2)[1]


def test_of_equal_figures_the_last_is_kept_and_patience_counts_from_it() -> None:
    curve, weights = learn(MemoryJournal(), epochs=12, every=2, patience=2, figures=[0.5, 0.6, 0.5, 0.7, 0.6, 0.5])
    assert curve == Curve((2, 4, 6, 8, 10), (0.5, 0.6, 0.5, 0.7, 0.6), 6)
    assert weights == learn(MemoryJournal(), epochs=6, every=2)[1]


def test_the_last_epoch_is_validated() -> None:
    assert learn(MemoryJournal(), epochs=7, every=3)[0].epochs == (3, 6, 7)


def test_weights_that_are_never_finite_are_an_error() -> None:
    with pytest.raises(EstimationError, match="finite weights"):
        learn(MemoryJournal(), figures=[math.nan] * 6)
    curve, _ = learn(MemoryJournal(), figures=[math.nan, 0.7, math.nan, 0.8, math.nan, math.nan])
    assert curve.kept == 4


def test_a_saved_state_holds_nothing_but_tensors_and_numbers() -> None:
    journal = MemoryJournal()
    learn(journal)
    assert torch.load(io.BytesIO(journal.load()), weights_only=True)["done"] == 12


def test_adam_descends_as_the_reference_does() -> None:
    torch.manual_seed(0)
    start = torch.randn(5, 4)
    own, other = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    descent = Adam([own], 0.05, (0.5, 0.9), decay=0.1)
    first, second = np.zeros((5, 4)), np.zeros((5, 4))
    for step in range(1, 6):
        descent.descend((own**4).sum())
        with torch.no_grad():
            gradient = (4 * other**3 + 0.1 * other).numpy()
            first, second = 0.5 * first + 0.5 * gradient, 0.9 * second + 0.1 * gradient**2
            change = (first / (1 - 0.5**step)) / (np.sqrt(second / (1 - 0.9**step)) + 1e-8)
            other -= torch.from_numpy(0.05 * change).float()
    np.testing.assert_allclose(own.detach().numpy(), other.detach().numpy(), rtol=1e-5, atol=1e-7)


def test_the_figure_tells_same_from_other_laws() -> None:
    validation, drawn = mixed(1500, 1), mixed(1500, 2)
    columns = describe(validation)
    figure = two_sample(validation, drawn, columns, np.random.default_rng(0))
    assert figure == two_sample(validation, drawn, columns, np.random.default_rng(0))
    assert 0.5 <= figure < 0.55
    # each margin is right, the joint law is not
    broken = drawn.assign(w1=drawn["w1"].sample(frac=1, random_state=0).to_numpy())
    assert two_sample(validation, broken, columns, np.random.default_rng(0)) > 0.6
    # cells are missing elsewhere
    gone = drawn.assign(w3=drawn["w3"].sample(frac=1, random_state=0).to_numpy())
    assert two_sample(validation, gone, columns, np.random.default_rng(0)) > 0.6


def test_the_figure_works_on_odd_columns() -> None:
    rng = np.random.default_rng(0)
    many = [f"l{k}" for k in range(400)]

    def odd(n: int) -> pd.DataFrame:
        codes = rng.integers(0, 400, n)
        return pd.DataFrame(
            {
                "w0": pd.Categorical.from_codes(codes, categories=many),
                "w1": np.full(n, np.nan),
                "w2": np.where(np.arange(n) < 2, 1.0, np.nan),
                "w3": rng.standard_normal(n),
            }
        )

    one = odd(300)
    columns = describe(one.assign(w1=0.0))
    assert 0.5 <= two_sample(one, odd(900), columns, rng) < 0.6


@pytest.mark.parametrize(("rows", "held"), [(20, 5), (400, 100), (1000, 200), (5000, 500), (40_000, 2000)])
def test_rows_held_out_by_size(rows, held) -> None:
    table = pd.DataFrame({"w0": np.arange(rows, dtype=float)})
    teaching, validation = hold_out(table, np.random.default_rng(0))
    assert (len(teaching), len(validation)) == (rows - held, held)
    assert not set(teaching["w0"]) & set(validation["w0"])


def test_copies_of_a_row_are_not_on_both_sides() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"w0": rng.standard_normal(1000)}).iloc[rng.integers(0, 1000, 1000)].reset_index(drop=True)
    teaching, validation = hold_out(table, rng)
    assert not set(teaching["w0"]) & set(validation["w0"])
