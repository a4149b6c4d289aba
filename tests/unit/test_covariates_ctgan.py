"""GAN and autoencoder: the encoding, the sampling of conditions, the losses, resumed training, what a saved model holds."""

from __future__ import annotations

import pickle
import struct

import numpy as np
import pandas as pd
import pytest
import torch

from tasks.contract.registry import resolve
from tasks.covariates.closeness import two_sample
from tasks.covariates.gan.adversary import Critic, Generator, freeze
from tasks.covariates.gan.conditions import plan_conditions, plan_sampler
from tasks.covariates.gan.correction import balance, softmax
from tasks.covariates.gan.modes import encode, values_of
from tasks.covariates.gan.tensors import shape_of, to_rows
from tasks.covariates.journal import MemoryJournal, Trained
from tasks.covariates.margins import MISSING
from tasks.covariates.protocol import MIN_ROWS
from tests.contract.test_synthesizers import QUICK, describe, mixed

NETWORKS = ("ctgan", "tvae")
CPU = torch.device("cpu")


def learn(method: str, table: pd.DataFrame, journal=None, **params):
    synthesizer = resolve("synthesizer", method, {**QUICK[method], **params})
    return synthesizer.train(table, describe(table), np.random.default_rng(1), journal or MemoryJournal())


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return mixed(600)


@pytest.fixture(scope="module")
def encoded(table: pd.DataFrame):
    return encode(table, describe(table), np.random.default_rng(0))


def test_every_cell_finds_its_way_back(table, encoded) -> None:
    layout, rows = encoded
    assert layout.names == tuple(table.columns)
    for j, block in enumerate(layout.blocks):
        cells, state = table[block.margin.id], block.states[rows.codes[:, j]]
        assert ((state == MISSING) == cells.isna().to_numpy()).all()
        if block.margin.levels is not None:
            assert (state == cells.cat.codes.to_numpy()).all()
        if j in layout.numbers:
            inside = block.modes[rows.codes[:, j]] >= 0
            place = rows.places[:, layout.numbers.index(j)]
            assert (place[~inside] == 0).all()
            back = values_of(block, rows.codes[inside, j], place[inside].astype(float))
            # smoothed, not copied: near the cell and hardly ever the cell
            real = cells.to_numpy()[inside]
            assert np.corrcoef(back, real)[0, 1] > 0.98
            assert np.isin(real, back).mean() < 0.02


def test_blocks_of_a_width_stand_together(encoded) -> None:
    layout, rows = encoded
    assert sum(group.blocks for group in layout.groups) == len(layout.blocks)
    assert layout.groups[-1].stop == layout.size
    taken = to_rows(layout, rows, CPU).take(torch.arange(50)).numpy()
    for group in layout.groups:
        cells = taken[:, group.start : group.stop].reshape(50, group.blocks, group.width)
        assert (cells.sum(axis=2) == 1).all()


def test_no_mode_stands_on_fewer_than_twenty_rows() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.standard_normal(480), 50 + 0.01 * rng.standard_normal(5), -40 + 0.5 * rng.standard_normal(115)])
    table = pd.DataFrame({"w0": values})
    layout, rows = encode(table, describe(table), rng)
    block = layout.blocks[0]
    counts = np.bincount(rows.codes[:, 0])
    assert len(block.centre) >= 2
    assert (counts[counts > 0] >= MIN_ROWS * 0.5).all()  # rows choose their mode at random
    assert not (abs(block.centre - 50) < 1).any()


def test_conditions_show_rare_levels_often_and_draw_them_at_their_share(encoded) -> None:
    layout, rows = encoded
    torch.manual_seed(0)
    sampler, conditions = plan_sampler(layout, rows), plan_conditions(layout)
    chosen, category = sampler.draw(40_000)
    flat = rows.codes + layout.starts - len(layout.numbers)
    cells = conditions.cells[category.numpy()]
    assert (flat[chosen.numpy()] == cells[:, None]).any(axis=1).all()  # each row meets its condition
    rare = next(j for j, block in enumerate(layout.blocks) if block.margin.id == "w6")
    share = layout.blocks[rare].shares.min()
    code = layout.starts[rare] - len(layout.numbers) + int(layout.blocks[rare].shares.argmin())
    blocks = sampler.blocks
    assert (cells == code).mean() > 5 * share / blocks
    drawn = conditions.draw(200_000, np.random.default_rng(0))[:, conditions.cells == code].mean()
    assert drawn == pytest.approx(share / blocks, abs=4 * np.sqrt(share / blocks / 200_000))


def test_balanced_logits_have_the_shares_of_the_source(encoded) -> None:
    layout, _ = encoded
    logits = 2 * np.random.default_rng(0).standard_normal((2000, layout.size - len(layout.numbers))).astype(np.float32)
    shifted = logits + balance(layout, logits)
    for block, start in zip(layout.blocks, layout.starts - len(layout.numbers), strict=True):
        found = softmax(shifted[:, start : start + len(block.states)]).mean(axis=0)
        np.testing.assert_allclose(found, block.shares, atol=2e-3)


def test_the_penalty_is_the_gradient_that_differentiation_finds() -> None:
    torch.manual_seed(0)
    critic = Critic(6, (16, 12), 2, 0.5)
    packs = torch.randn(9, 12, requires_grad=True)
    keep = torch.get_rng_state()
    score = critic.judge(packs).sum()
    gradient = torch.autograd.grad(score, packs)[0]
    torch.set_rng_state(keep)  # the same dropout
    assert float(critic._penalty(packs).detach()) == pytest.approx(float(((gradient.norm(dim=1) - 1) ** 2).mean()), rel=1e-5)


def test_soft_rows_are_rows_and_have_no_number_outside_modes(encoded) -> None:
    layout, _ = encoded
    torch.manual_seed(0)
    shape = shape_of(layout, CPU)
    soft = shape.soften(20 * torch.randn(300, layout.size))
    for group in layout.groups:
        sums = soft[:, group.start : group.stop].reshape(300, group.blocks, group.width).sum(2)
        np.testing.assert_allclose(sums.numpy(), 1.0, rtol=1e-5)
    for k, j in enumerate(layout.numbers):
        start = int(layout.starts[j])
        outside = soft[:, start + np.flatnonzero(layout.blocks[j].modes < 0)].sum(1) > 0.999
        assert (soft[outside, k].abs() < 0.01).all()


def test_a_frozen_generator_is_the_generator(encoded) -> None:
    layout, _ = encoded
    torch.manual_seed(0)
    conditions = plan_conditions(layout)
    generator = Generator(8 + len(conditions.cells), (16, 12), layout.size)
    network = freeze(generator, conditions, 8, len(layout.numbers), np.random.default_rng(0))
    rng = np.random.default_rng(0)
    given = conditions.draw(4000, rng)
    noise = rng.standard_normal((4000, 8), dtype=np.float32)
    with torch.no_grad():
        wanted = generator(torch.from_numpy(np.hstack([noise, given]))).numpy()
    np.testing.assert_allclose(network.run(noise, given), wanted, atol=1e-4)


class Interrupted(Exception):
    """The process was killed."""


class Failing(MemoryJournal):
    """A journal whose process dies after an epoch."""

    def tell(self, done: int, total: int, figure: float | None) -> None:
        if done == 3:
            raise Interrupted


@pytest.mark.parametrize("method", NETWORKS)
def test_interrupted_training_ends_with_the_same_bytes(method, table) -> None:
    assert isinstance(resolve("synthesizer", method), Trained)
    whole = learn(method, table, epochs=4, every=2)
    broken = Failing()
    with pytest.raises(Interrupted):
        learn(method, table, broken, epochs=4, every=2)
    second = MemoryJournal()
    second.save(broken.load())
    resumed = learn(method, table, second, epochs=4, every=2)
    assert pickle.dumps(resumed) == pickle.dumps(whole)
    assert whole.curve.epochs == (2, 4)


@pytest.mark.parametrize("method", NETWORKS)
def test_a_saved_model_holds_no_row(method) -> None:
    table = mixed(600)
    table.loc[300, ["w2", "w3"]] = [123.456789, -98.7654321]
    table.loc[301, "w3"] = 0.123456789012345
    table.loc[302, "w1"] = 4711.0
    canaries = (123.456789, -98.7654321, 0.123456789012345, 4711.0)
    saved = pickle.dumps(learn(method, table))
    forms = [pack for value in canaries for pack in (struct.pack("<d", value), struct.pack(">d", value), struct.pack("<f", value))]
    assert any(form in pickle.dumps(table) for form in forms)  # the search finds what is there
    assert not any(form in saved for form in forms)
    assert not any(str(value).encode() in saved for value in canaries)


@pytest.mark.parametrize("method", NETWORKS)
def test_more_rows_than_a_block_are_drawn_block_by_block(method, table) -> None:
    model = learn(method, table)
    drawn = model.sample(13_000, np.random.default_rng(0))
    assert len(drawn) == 13_000
    assert drawn.index.equals(pd.RangeIndex(13_000))
    pd.testing.assert_frame_equal(drawn, model.sample(13_000, np.random.default_rng(0)), check_exact=True)
    # the first block is what a request of its size gives
    pd.testing.assert_frame_equal(drawn.iloc[:12_500], model.sample(12_500, np.random.default_rng(0)), check_exact=True)


@pytest.mark.parametrize("method", NETWORKS)
def test_margins_are_right_even_where_little_was_learnt(method, table) -> None:
    drawn = learn(method, table).sample(20_000, np.random.default_rng(3))
    for name in table:
        assert abs(drawn[name].isna().mean() - table[name].isna().mean()) < 0.02
        if isinstance(table[name].dtype, pd.CategoricalDtype):
            shares, found = (x[name].value_counts(normalize=True, sort=False) for x in (table, drawn))
            assert (abs(found - shares) < 0.02).all()
        else:
            assert abs(drawn[name].mean() - table[name].mean()) < 0.08 * table[name].std()
            assert 0.9 < drawn[name].std() / table[name].std() < 1.1


@pytest.mark.slow
@pytest.mark.parametrize(("method", "bound"), [("tvae", 0.58), ("ctgan", 0.70)])
def test_drawn_rows_are_hard_to_tell(method, bound) -> None:
    table, fresh = mixed(1000), mixed(4000, 99)
    drawn = resolve("synthesizer", method).fit(table, describe(table), np.random.default_rng(1)).sample(4000, np.random.default_rng(2))
    assert two_sample(fresh, drawn, describe(table), np.random.default_rng(3)) < bound
