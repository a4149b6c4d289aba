"""Does the layer card choose well? Half of the layers by card against all of them, the upper half and the lower half.

A small GPT-2 is taught the text of one table world with all its weights. Then, per seed, a table of another world with the same columns is
learnt by LoRA in the layers that each arm names. Gain is the rise of the log-likelihood of 1,000 fresh rows over the model that was not
adapted; time is CPU seconds of the training epochs, the same number for every arm; arms take turns.

    python -m benchmarks.layer_card --seeds 5 --out layer_card.json
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel

from tasks.contract.roles import Column, pack_field
from tasks.covariates.folds import assign_folds
from tasks.covariates.language.adaptation import adapt_layers
from tasks.covariates.language.layers import LayerCard, choose_layers
from tasks.covariates.language.likelihood import Board, log_likelihood, make_board
from tasks.covariates.language.model import read_frame
from tasks.covariates.language.network import keep_words
from tasks.covariates.language.teaching import Course, make_epoch, make_pupil
from tasks.covariates.language.vocabulary import Vocabulary, borrowed_vocabulary
from tasks.covariates.margins import fit_margin
from tasks.covariates.training.loop import reproducible

DEPTH, WIDTH, HEADS, RANK = 6, 64, 4, 8
PRETRAINING_ROWS, ROWS, FRESH_ROWS, PROBE_ROWS = 4_000, 800, 1_000, 128
LEVELS = ["none", "some", "much"]


class Subject(NamedTuple):
    """A pretrained network, reduced to the words of its table, and what it is asked about."""

    network: Any
    vocabulary: Vocabulary
    board: Board
    cells: np.ndarray
    fresh: np.ndarray


def draw_source(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """World that the model grows up in: dose rises with age, the marker leans on the level."""
    age, level = rng.standard_normal(n), rng.integers(0, 3, n)
    return table_of(age, level, 0.6 * age + 0.8 * rng.standard_normal(n), level - 1 + 0.7 * rng.standard_normal(n))


def draw_target(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """World to adapt to: the level leans on age, dose falls with it where the level is high, the marker is their sum."""
    age = rng.standard_normal(n)
    level = (age + 0.7 * rng.standard_normal(n) > -0.3).astype(int) + (age + 0.7 * rng.standard_normal(n) > 0.8)
    dose = -0.8 * (level > 1) * age + 0.5 * rng.standard_normal(n)
    return table_of(age, level, dose, 0.6 * age + 0.7 * dose + 0.3 * rng.standard_normal(n))


def table_of(age: np.ndarray, level: np.ndarray, dose: np.ndarray, marker: np.ndarray) -> pd.DataFrame:
    """Round as tables are rounded."""
    return pd.DataFrame(
        {
            "w0": np.rint(50 + 10 * np.clip(age, -3, 3)),
            "w1": pd.Categorical.from_codes(level, LEVELS),
            "w2": np.round(np.clip(dose, -3, 3), 1),
            "w3": np.round(np.clip(marker, -4, 4), 1),
        }
    )


def columns_of(table: pd.DataFrame) -> tuple[Column, ...]:
    """Describe the four columns."""
    found = []
    for name, column in zip(("age", "stage", "dose", "marker"), table, strict=True):
        if column == "w1":
            field = pack_field(pa.field(name, pa.string()))
            found.append(Column(id=column, name=name, field=field, role="covariate", kind="categorical", levels=tuple(LEVELS)))
            continue
        kind, decimals = ("integer", None) if column == "w0" else ("continuous", 1)
        low, high = (20.0, 80.0) if column == "w0" else (-4.0, 4.0)
        field = pack_field(pa.field(name, pa.float64()))
        found.append(Column(id=column, name=name, field=field, role="covariate", kind=kind, decimals=decimals, low=low, high=high))
    return tuple(found)


def byte_level_tokenizer() -> Tokenizer:
    """Byte pairs learnt from what columns are called."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([f" age is 5, stage is {level}, dose is 1, marker is 2," for level in LEVELS] * 3, trainer)
    return tokenizer


def read_table(table: pd.DataFrame, tokenizer: Tokenizer, rng: np.random.Generator) -> Vocabulary:
    """Write a table's cells in the tokenizer's words."""
    columns, fold = columns_of(table), assign_folds(table, rng)
    margins = [fit_margin(table[column.id], column, fold, rng)[0] for column in columns]
    return borrowed_vocabulary(margins, columns, lambda text: tokenizer.encode(text).ids, 0)


def pretrain(tokenizer: Tokenizer, epochs: int) -> Any:
    """Teach a new GPT-2 the first world, all weights."""
    rng = np.random.default_rng(0)
    table = draw_source(PRETRAINING_ROWS, rng)
    vocabulary = read_table(table, tokenizer, rng)
    with reproducible(rng) as generator:
        config = GPT2Config(
            vocab_size=320, n_positions=64, n_embd=WIDTH, n_layer=DEPTH, n_head=HEADS, activation_function="gelu_pytorch_tanh",
            bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        network = GPT2LMHeadModel(config)
        grown = copy.deepcopy(network)
        keep_words(network, vocabulary.borrowed, vocabulary.grammar.longest)
        course = Course(epochs, epochs, 1, 64, 2e-3, 0.01, 0.0)
        pupil = make_pupil(network, course)
        board = make_board(vocabulary.grammar, None, torch.device("cpu"))
        epoch = make_epoch(pupil, board, vocabulary.grammar, read_frame(vocabulary, table), course)
        for _ in range(epochs):
            epoch(generator)
    # the words learnt go back to their places among all words
    state = {name: value for name, value in network.state_dict().items() if "wte" not in name and "lm_head" not in name}
    grown.load_state_dict(state, strict=False)
    with torch.no_grad():
        grown.get_input_embeddings().weight[torch.from_numpy(vocabulary.borrowed)] = network.get_input_embeddings().weight
    return grown


def prepare(pretrained: Any, tokenizer: Tokenizer, seed: int) -> Subject:
    """Draw a table of the second world and reduce a copy of the pretrained network to its words."""
    rng = np.random.default_rng([seed, 1])
    table = draw_target(ROWS, rng)
    vocabulary = read_table(table, tokenizer, rng)
    network = copy.deepcopy(pretrained)
    keep_words(network, vocabulary.borrowed, vocabulary.grammar.longest)
    cells, fresh = read_frame(vocabulary, table), read_frame(vocabulary, draw_target(FRESH_ROWS, rng))
    return Subject(network, vocabulary, make_board(vocabulary.grammar, None, torch.device("cpu")), cells, fresh[(fresh >= 0).all(axis=1)])


def ask(subject: Subject, network: Any) -> float:
    """Mean log-likelihood of the fresh rows."""
    grammar = subject.vocabulary.grammar
    return float(log_likelihood(network, subject.board, grammar, subject.fresh, 2, np.random.default_rng(9)).mean())


def adapt_arm(subject: Subject, layers: Any, epochs: int, seed: int) -> tuple[Any, LayerCard, float]:
    """Adapt a copy; return it, its card and the CPU seconds of the epochs."""
    rng, network, grammar = np.random.default_rng([seed, 2]), copy.deepcopy(subject.network), subject.vocabulary.grammar
    with reproducible(rng) as generator:
        card = adapt_layers(network, grammar, subject.cells[:PROBE_ROWS], layers, 0.5, RANK, rng)
        course = Course(epochs, epochs, 1, 64, 2e-3, 0.0, 0.0)
        epoch = make_epoch(make_pupil(network, course), subject.board, grammar, subject.cells, course)
        begin = time.process_time()
        for _ in range(epochs):
            epoch(generator)
        return network, card, time.process_time() - begin


def card_seconds(subject: Subject) -> float:
    """CPU seconds of making the card and nothing else."""
    rng, network = np.random.default_rng(3), copy.deepcopy(subject.network)
    begin = time.process_time()
    adapt_layers(network, subject.vocabulary.grammar, subject.cells[:PROBE_ROWS], "card", 0.5, RANK, rng)
    return time.process_time() - begin


def study(seeds: int, pretraining: int, epochs: int) -> dict[str, Any]:
    """Run all arms on every seed."""
    tokenizer = byte_level_tokenizer()
    begin = time.process_time()
    pretrained = pretrain(tokenizer, pretraining)
    print(f"pretrained in {time.process_time() - begin:.0f} CPU s", flush=True)
    half = DEPTH // 2
    arms: dict[str, Any] = {"all": "all", "card": "card", "upper": tuple(range(half, DEPTH)), "lower": tuple(range(half))}
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        subject = prepare(pretrained, tokenizer, seed)
        before = ask(subject, subject.network)
        turn = list(arms)[seed % 4 :] + list(arms)[: seed % 4]
        for arm in turn:
            network, card, seconds = adapt_arm(subject, arms[arm], epochs, seed)
            chosen = [layer.layer for layer in card.layers if layer.chosen]
            row = {"seed": seed, "arm": arm, "layers": chosen, "before": before, "gain": ask(subject, network) - before, "seconds": seconds}
            if arm == "card":
                row |= {"card": card.as_dict(), "card_seconds": card_seconds(subject)}
                if seed == 0:
                    print(card, flush=True)
                    print("one layer at a time:", [choose_layers(card, (k + 1) / DEPTH) for k in range(DEPTH)], flush=True)
            rows.append(row)
            print(f"seed {seed} {arm:6} layers {chosen} gain {row['gain']:.3f} nats, {seconds:.1f} CPU s", flush=True)
    return {"rows": rows, "summary": summarise(rows)}


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ratios to all layers, seed by seed: mean and Monte-Carlo standard error."""
    table = pd.DataFrame([{name: row[name] for name in ("seed", "arm", "gain", "seconds")} for row in rows]).pivot(
        index="seed", columns="arm"
    )
    found = []
    for arm in ("all", "card", "upper", "lower"):
        kept, time_share = table["gain"][arm] / table["gain"]["all"], table["seconds"][arm] / table["seconds"]["all"]
        error = np.sqrt(len(table))
        found.append(
            {
                "arm": arm, "gain": table["gain"][arm].mean(), "gain_mcse": table["gain"][arm].std() / error,
                "kept": kept.mean(), "kept_mcse": kept.std() / error, "time": time_share.mean(), "time_mcse": time_share.std() / error,
            }
        )  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pretraining", type=int, default=4, help="epochs on the first world")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of adaptation")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    result = study(given.seeds, given.pretraining, given.epochs)
    print(pd.DataFrame(result["summary"]).round(3).to_string(index=False))
    if given.out is not None:
        given.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
