"""The language model: what it may write, what it learns, what it keeps, and the layer card."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.registry import resolve
from tasks.contract.roles import Column, pack_field
from tasks.covariates.folds import assign_folds
from tasks.covariates.journal import Curve, MemoryJournal, Trained
from tasks.covariates.language.cells import to_cells, to_coded
from tasks.covariates.language.grammar import Grammar, draw_orders, make_grammar, shares, write
from tasks.covariates.language.layers import Layer, LayerCard, choose_layers, mark
from tasks.covariates.language.likelihood import log_likelihood, make_board
from tasks.covariates.language.model import LanguageModel, read_frame
from tasks.covariates.language.sampling import draw_cells
from tasks.covariates.language.vocabulary import borrowed_vocabulary, own_vocabulary
from tasks.covariates.margins import fit_margin
from tasks.report.layers import layer_panel

SMALL = {"epochs": 2, "width": 16, "heads": 1, "depth": 1, "bins": 6}


def describe(name: str, cells: pd.Series, kind: str) -> Column:
    if isinstance(cells.dtype, pd.CategoricalDtype):
        field = pack_field(pa.field(name, pa.string()))
        return Column(id=cells.name, name=name, field=field, role="covariate", kind=kind, levels=tuple(cells.cat.categories))
    known = np.sort(cells.dropna().to_numpy())
    field = pack_field(pa.field(name, pa.float64()))
    return Column(
        id=cells.name, name=name, field=field, role="covariate", kind=kind, low=float(known[:5].mean()), high=float(known[-5:].mean())
    )


def world(n: int, seed: int = 0) -> tuple[pd.DataFrame, tuple[Column, ...]]:
    """A level, a number that goes with it and is missing at times, an integer, an atom at zero."""
    rng = np.random.default_rng(seed)
    level = rng.integers(0, 3, n)
    dose = np.where(rng.random(n) < 0.3, 0.0, np.exp(rng.standard_normal(n)))
    marker = level * 2 + rng.standard_normal(n)
    marker[rng.random(n) < 0.2] = np.nan
    table = pd.DataFrame(
        {
            "w0": pd.Categorical.from_codes(level, ["low, or none", "low", "high"]),
            "w1": marker,
            "w2": np.rint(50 + 10 * rng.standard_normal(n)),
            "w3": dose,
        }
    )
    kinds = ("categorical", "continuous", "integer", "continuous")
    return table, tuple(
        describe(name, table[column], kind) for name, column, kind in zip(("stage", "marker", "age", "dose"), table, kinds, strict=True)
    )


def margins_of(table: pd.DataFrame, columns: tuple[Column, ...]) -> list:
    rng = np.random.default_rng(0)
    fold = assign_folds(table, rng)
    return [fit_margin(table[column.id], column, fold, rng)[0] for column in columns]


def letters(text: str) -> list[int]:
    """A tokenizer of single characters."""
    return [ord(character) for character in text]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return world(400)[0]


@pytest.fixture(scope="module")
def columns() -> tuple[Column, ...]:
    return world(400)[1]


@pytest.fixture(scope="module")
def model(table: pd.DataFrame, columns: tuple[Column, ...]) -> LanguageModel:
    return resolve("synthesizer", "llm", SMALL).fit(table, columns, np.random.default_rng(1))


# grammar


def test_a_written_row_reads_back_as_its_cells() -> None:
    grammar = make_grammar([[[1, 2], [1, 3, 4], [1, 3, 5]], [[6, 7], [6, 8]]], start=0)
    cells = np.array([[2, 3], [0, 4]])
    sentences = write(grammar, cells, np.array([[1, 0], [0, 1]]))
    assert sentences.tokens.tolist() == [[0, 6, 7, 1, 3, 5], [0, 1, 2, 6, 8, 0]]
    # names of columns leave no choice
    assert (sentences.choices >= 0).sum(axis=1).tolist() == [3, 2]
    assert grammar.longest == 6


def test_cells_that_begin_with_one_another_are_refused() -> None:
    with pytest.raises(ValueError, match="none begins with another"):
        make_grammar([[[1, 2], [1, 2, 3]]], start=0)
    with pytest.raises(ValueError, match="none begins with another"):
        make_grammar([[[1, 2, 3], [1, 2]]], start=0)
    with pytest.raises(ValueError, match="none begins with another"):
        make_grammar([[[1, 2], [1, 2]]], start=0)


def test_option_shares_are_those_of_the_rows() -> None:
    grammar = make_grammar([[[1, 2], [1, 3]]], start=0)
    found = np.exp(shares(grammar, np.array([[0], [0], [0], [1]])))
    assert found[1 if grammar.fan[0] == 1 else 0, :2] == pytest.approx([4 / 6, 2 / 6])


@pytest.mark.parametrize("digits", [0, 1, 2])
def test_own_tokens_hold_many_rows_and_cells_read_back(table: pd.DataFrame, columns: tuple[Column, ...], digits: int) -> None:
    vocabulary = own_vocabulary(margins_of(table, columns), len(table), 100, digits)
    cells = read_frame(vocabulary, table)
    assert (cells >= 0).all()
    marker = vocabulary.cells[1]
    rows = int(table["w1"].notna().sum())
    counts = np.bincount(marker.piece[cells[:, 1] - vocabulary.grammar.first[1]][table["w1"].notna()] // 10**digits)
    # bins of 20 rows by rank; the smooth margin moves a few over the edges
    assert len(counts) == rows // 20
    assert counts.min() >= 10
    for j, column in enumerate(vocabulary.cells):
        mine = cells[:, j] - vocabulary.grammar.first[j]
        assert (to_cells(column, to_coded(column, mine, np.full(len(mine), 0.5))) == mine).all()


def test_borrowed_words_tell_levels_apart_that_begin_alike(table: pd.DataFrame, columns: tuple[Column, ...]) -> None:
    vocabulary = borrowed_vocabulary(margins_of(table, columns), columns, letters, 0)
    cells = read_frame(vocabulary, table)
    sentences = write(vocabulary.grammar, cells, draw_orders(len(table), 4, np.random.default_rng(0)))
    texts = ["".join(chr(vocabulary.borrowed[token]) for token in row if vocabulary.borrowed[token]) for row in sentences.tokens]
    assert all(" stage is " in text and " age is " in text for text in texts)
    k = int(np.flatnonzero(table["w1"].isna())[0])
    assert " marker is missing," in texts[k]
    k = int(np.flatnonzero((table["w3"] == 0).to_numpy())[0])
    assert " dose is =0" in texts[k]
    # integers are written in full
    assert f" age is {int(table['w2'][0])}," in texts[0]
    # 'low, or none,' begins with 'low,': both got a number
    assert " #" in texts[int(np.flatnonzero((table["w0"] == "low").to_numpy())[0])]


def test_a_tokenizer_that_can_not_tell_cells_apart_is_refused(table: pd.DataFrame, columns: tuple[Column, ...]) -> None:
    with pytest.raises(SpecError, match="column 'stage' apart"):
        borrowed_vocabulary(margins_of(table, columns), columns, lambda text: [7] * min(len(text), 2), 0)


class Even:
    """A network whose logits are all the same: writing and likelihood follow the grammar and the prior alone."""

    def __init__(self, size: int) -> None:
        self.head = torch.nn.Linear(1, size)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def eval(self) -> None: ...

    def get_output_embeddings(self):
        return self.head

    def base_model(self, input_ids, past_key_values=None, use_cache=False):
        return SimpleNamespace(last_hidden_state=torch.zeros(*input_ids.shape, 1), past_key_values=None)


def test_writing_and_likelihood_are_of_one_law() -> None:
    grammar: Grammar = make_grammar([[[1, 2], [1, 3, 4], [1, 3, 5]], [[6, 7], [6, 8]]], start=0)
    prior = shares(grammar, np.array([[0, 3]] * 7 + [[1, 4]] * 3))
    board = make_board(grammar, prior, torch.device("cpu"))
    drawn = draw_cells(Even(9), board, grammar, 6_000, np.random.default_rng(0))
    every = np.array([[one, two] for one in (0, 1, 2) for two in (3, 4)])
    chance = np.exp(log_likelihood(Even(9), board, grammar, every, 2, np.random.default_rng(0)))
    assert chance.sum() == pytest.approx(1.0, abs=1e-5)
    found = np.array([(drawn == pair).all(axis=1).mean() for pair in every])
    assert np.abs(found - chance).max() < 4 * np.sqrt(0.25 / 6_000)
    # a cell the vocabulary does not know can't be
    assert log_likelihood(Even(9), board, grammar, np.array([[-1, 3]]), 2, np.random.default_rng(0))[0] == -np.inf


# the fitted law


def test_every_drawn_cell_is_one_of_its_column(model: LanguageModel, table: pd.DataFrame, columns: tuple[Column, ...]) -> None:
    drawn = model.sample(2_000, np.random.default_rng(2))
    assert set(drawn["w0"].cat.categories) == set(table["w0"].cat.categories)
    assert drawn["w0"].notna().all()
    assert drawn["w2"].notna().all()
    assert (drawn["w2"] == np.rint(drawn["w2"])).all()
    for column in columns[1:]:
        assert drawn[column.id].min() >= column.low - 0.5
        assert drawn[column.id].max() <= column.high + 0.5
    assert abs((drawn["w3"] == 0).mean() - 0.3) < 0.1
    assert abs(drawn["w1"].isna().mean() - 0.2) < 0.1


def test_likelihood_knows_columns_apart_and_missing_cells(model: LanguageModel, table: pd.DataFrame) -> None:
    found = model.log_likelihood(table)
    assert found.shape == (400,)
    assert (found < 0).all()
    np.testing.assert_array_equal(found, model.log_likelihood(table))
    np.testing.assert_allclose(
        model.log_likelihood(table.iloc[5:9].reset_index(drop=True), 16), model.log_likelihood(table, 16)[5:9], atol=2.0
    )
    gone = table.assign(w2=np.where(np.arange(400) < 3, np.nan, table["w2"]))
    assert np.isneginf(model.log_likelihood(gone)[:3]).all()
    assert np.isfinite(model.log_likelihood(gone)[3:]).all()


class Cut(Exception):
    """The process is gone."""


class Interrupted(MemoryJournal):
    """Dies at an epoch, once."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def tell(self, done: int, total: int, figure: float | None) -> None:
        if done == self.at:
            self.at = -1
            raise Cut


def test_interrupted_training_ends_with_the_same_bytes(table: pd.DataFrame, columns: tuple[Column, ...]) -> None:
    synthesizer, table = resolve("synthesizer", "llm", {**SMALL, "epochs": 3}), table.head(120)
    assert isinstance(synthesizer, Trained)
    whole = synthesizer.train(table, columns, np.random.default_rng(1), MemoryJournal())
    journal = Interrupted(2)
    with pytest.raises(Cut):
        synthesizer.train(table, columns, np.random.default_rng(1), journal)
    assert journal.load() is not None
    resumed = synthesizer.train(table, columns, np.random.default_rng(1), journal)
    assert pickle.dumps(resumed) == pickle.dumps(whole)
    assert isinstance(whole.curve, Curve)
    assert whole.curve.kept in whole.curve.epochs


def test_the_artifact_holds_no_row(table: pd.DataFrame, columns: tuple[Column, ...]) -> None:
    canary = 3.7294615283
    planted = table.head(120).copy()
    planted.loc[7, "w1"] = canary
    fitted = resolve("synthesizer", "llm", SMALL).fit(planted, columns, np.random.default_rng(1))
    blob = pickle.dumps(fitted)
    for kind in (np.float64, np.float32):
        assert kind(canary).tobytes() not in blob
    assert repr(canary).encode() not in blob
    # the search would find it
    assert np.float64(canary).tobytes() in pickle.dumps(planted)


def test_parameters_that_contradict_are_refused() -> None:
    for params, word in (
        ({"layers": "card"}, "name one as model"),
        ({"model": "x", "layers": ()}, "at least one"),
        ({"model": "x", "layers": (1, 1)}, "distinct"),
        ({"width": 10, "heads": 4}, "heads must divide width"),
    ):
        with pytest.raises(SpecError, match=word):
            resolve("synthesizer", "llm", params)
    with pytest.raises(SpecError, match="parameters of synthesizer 'llm' must be valid: layers chooses"):
        resolve("synthesizer", "llm", {"layers": "card"})
    with pytest.raises(EstimationError, match="at least 20"):
        resolve("synthesizer", "llm", SMALL).fit(*world(12), np.random.default_rng(0))


def test_a_model_that_is_not_there_is_refused_at_once_and_a_broken_one_when_it_is_loaded(
    table: pd.DataFrame, columns: tuple[Column, ...], tmp_path: Path
) -> None:
    for name in (str(tmp_path / "none"), "nobody/no-such-model"):
        with pytest.raises(SpecError, match="Download it first"):
            resolve("synthesizer", "llm", {"model": name})
    (tmp_path / "config.json").write_text("{}")
    broken = resolve("synthesizer", "llm", {"model": str(tmp_path)})
    with pytest.raises(SpecError, match="Download it first"):
        broken.fit(table, columns, np.random.default_rng(0))


# a pretrained model


def byte_level_tokenizer():
    """Byte pairs learnt from a few words; every byte is a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=["<end>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([" stage is low, age is 41, marker is missing, dose is high"] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<end>", eos_token="<end>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as the hub would hold it."""
    from transformers import GPT2Config, GPT2LMHeadModel

    path = tmp_path_factory.mktemp("pretrained")
    byte_level_tokenizer().save_pretrained(path)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=300, n_positions=128, n_embd=16, n_layer=3, n_head=2, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(path)
    return path


def test_a_pretrained_model_is_adapted_by_its_card(table: pd.DataFrame, columns: tuple[Column, ...], folder: Path) -> None:
    synthesizer = resolve("synthesizer", "llm", {"model": str(folder), "layers": "card", "budget": 0.67, "epochs": 1, "rank": 2})
    fitted = synthesizer.fit(table.head(100), columns, np.random.default_rng(1))
    again = synthesizer.fit(table.head(100), columns, np.random.default_rng(1))
    assert pickle.dumps(fitted) == pickle.dumps(again)
    chosen = [layer.layer for layer in fitted.card.layers if layer.chosen]
    assert len(chosen) == 2
    json.dumps(fitted.card.as_dict())
    assert all(layer.residual > 0 and layer.rank >= 1 and layer.condition >= 1 for layer in fitted.card.layers)
    assert np.diag(np.array(fitted.card.coupling)) == pytest.approx(np.ones(3))
    drawn = pickle.loads(pickle.dumps(fitted)).sample(60, np.random.default_rng(0))
    assert drawn["w0"].isin(table["w0"].cat.categories).all()
    assert (drawn["w2"] == np.rint(drawn["w2"])).all()
    assert np.isfinite(fitted.log_likelihood(table.head(20))).all()
    # only chosen layers moved
    before = weights(folder)
    after = torch.load(io.BytesIO(fitted.packed.weights), weights_only=True)
    moved = {k for k in range(3) for name in before if f".h.{k}." in name and not torch.equal(before[name], after[name])}
    assert moved == set(chosen)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from transformers import GPT2LMHeadModel

    return GPT2LMHeadModel.from_pretrained(folder).state_dict()


def test_layers_beyond_the_model_are_refused(table: pd.DataFrame, columns: tuple[Column, ...], folder: Path) -> None:
    with pytest.raises(SpecError, match="numbers below 3"):
        resolve("synthesizer", "llm", {"model": str(folder), "layers": (3,)}).fit(table.head(60), columns, np.random.default_rng(0))


def test_rows_longer_than_the_model_reads_are_refused(columns: tuple[Column, ...], folder: Path) -> None:
    wide = tuple(column.model_copy(update={"name": f"{column.name} {'X' * 60}"}) for column in columns)
    with pytest.raises(SpecError, match="at least the"):
        resolve("synthesizer", "llm", {"model": str(folder)}).fit(world(40)[0], wide, np.random.default_rng(0))


# the card


def card_of(residual: list[float], coupling: list[list[float]]) -> LayerCard:
    layers = tuple(Layer(k, r, 1.0, 2.0, 3.0, 100, 600.0, 1e3, False) for k, r in enumerate(residual))
    return LayerCard(layers, tuple(map(tuple, coupling)), 8)


def test_the_card_chooses_what_promises_most() -> None:
    assert choose_layers(card_of([1.0, 3.0, 2.0, 0.5], np.eye(4).tolist()), 0.5) == (1, 2)
    # the second best does what the best does: the third is worth more
    twins = np.eye(4)
    twins[1, 2] = twins[2, 1] = 1.0
    assert choose_layers(card_of([1.8, 3.0, 2.9, 0.5], twins.tolist()), 0.5) == (0, 1)
    # of equals the upper ones; at least one whatever the budget
    assert choose_layers(card_of([1.0, 1.0, 1.0, 1.0], np.eye(4).tolist()), 0.5) == (2, 3)
    assert choose_layers(card_of([1.0, 2.0], np.eye(2).tolist()), 0.01) == (1,)
    assert choose_layers(card_of([1.0, 2.0], np.eye(2).tolist()), 1.0) == (0, 1)


def test_the_card_is_printed_and_shown() -> None:
    coupled = np.eye(3)
    coupled[0, 1] = coupled[1, 0] = 0.5
    card = mark(card_of([1.0, 1.0, 2.0], coupled.tolist()), (2,))
    text = str(card).splitlines()
    assert len(text) == 4
    assert text[3].endswith("yes")
    assert "1 (0.50)" in text[1]
    panel = layer_panel(card.as_dict())
    assert panel is not None
    assert [row["chosen"] for row in panel["rows"]] == [False, False, True]
    assert panel["rows"][1]["coupled"] == "0 (0.50)"
    assert "67" in panel["reading"]
    assert layer_panel(None) is None


@pytest.mark.slow
def test_it_learns_a_table() -> None:
    from tasks.covariates.closeness import two_sample

    train, columns = world(1_000)
    fitted = resolve("synthesizer", "llm").fit(train, columns, np.random.default_rng(1))
    drawn, fresh = fitted.sample(2_000, np.random.default_rng(2)), world(2_000, 99)[0]
    assert two_sample(fresh, drawn, columns, np.random.default_rng(3)) < 0.6
    # the bar can be missed: independent columns do not pass it
    mixed = pd.DataFrame({name: train[name].sample(2_000, replace=True, random_state=k).to_numpy() for k, name in enumerate(train)})
    mixed["w0"] = mixed["w0"].astype(train["w0"].dtype)
    assert two_sample(fresh, mixed, columns, np.random.default_rng(3)) > 0.65
