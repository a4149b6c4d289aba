"""Peers of our synthesizers, run by benchmarks/synthesizers.py under a Python of their own: nothing of waymint is imported here.

    python synthesizer_peers.py IN.csv OUT.csv '{"method": "ctgan", "discrete": [...], "rows": 20000, "seed": 0, "params": {"epochs": 300}}'

Prints one line of JSON: CPU seconds of fitting and drawing, memory above what was held before. Packages: ctgan (ctgan, tvae), arfpy (arf),
be-great (great: a GPT-2 of two layers and a tokenizer built on the table, trained from scratch, unless ``llm`` names a model).
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Drawer = Callable[[int], pd.DataFrame]


def ctgan(table: pd.DataFrame, discrete: list[str], params: dict[str, Any]) -> Drawer:
    from ctgan import CTGAN

    return _gan(CTGAN, table, discrete, params)


def tvae(table: pd.DataFrame, discrete: list[str], params: dict[str, Any]) -> Drawer:
    from ctgan import TVAE

    return _gan(TVAE, table, discrete, params)


def _gan(kind: Any, table: pd.DataFrame, discrete: list[str], params: dict[str, Any]) -> Drawer:
    model = kind(**params)
    model.fit(table, discrete)
    return lambda rows: model.sample(rows)


def arf(table: pd.DataFrame, discrete: list[str], params: dict[str, Any]) -> Drawer:
    if not hasattr(np, "in1d"):
        np.in1d = np.isin  # type: ignore[attr-defined]  # arfpy 0.1.1 calls what NumPy 2 has renamed
    from arfpy import arf as package

    typed = table.astype(dict.fromkeys(discrete, "category"))
    model = package.arf(x=typed, **params)
    model.forde()
    return lambda rows: model.forge(n=rows)


def great(table: pd.DataFrame, _discrete: list[str], params: dict[str, Any]) -> Drawer:
    from be_great import GReaT

    asked = {"epochs": 50, "batch_size": 32, **params}
    with tempfile.TemporaryDirectory() as folder:
        llm = asked.pop("llm", None) or _small_model(table, Path(folder))
        model = GReaT(llm=llm, experiment_dir=f"{folder}/runs", **asked)
        model.fit(table)
    return lambda rows: model.sample(n_samples=rows, device="cpu")


def _small_model(table: pd.DataFrame, folder: Path) -> str:
    """Build a small GPT-2 with random weights and a tokenizer of the table's own text."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    text = (", ".join(f"{name} is {value}" for name, value in zip(table.columns, row)) for row in table.itertuples(index=False))
    tokenizer = ByteLevelBPETokenizer()
    end = "<|endoftext|>"
    tokenizer.train_from_iterator(text, vocab_size=1_000, special_tokens=[end])
    where = folder / "model"
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end, unk_token=end)
    fast.save_pretrained(where)
    GPT2LMHeadModel(GPT2Config(vocab_size=len(fast), n_positions=512, n_embd=128, n_layer=2, n_head=4)).save_pretrained(where)
    return str(where)


def kib(name: str) -> int:
    """Read one figure of this process's status; 0 where there is none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return 0


def main() -> None:
    source, target, asked = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    table = pd.read_csv(source, dtype=dict.fromkeys(asked["discrete"], str))
    np.random.seed(asked["seed"])  # the packages draw from the global state
    with contextlib.suppress(ImportError):
        import torch

        torch.manual_seed(asked["seed"])
        torch.set_num_threads(1)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    held, wall, cpu = kib("VmRSS"), time.monotonic(), time.process_time()
    draw = {"ctgan": ctgan, "tvae": tvae, "arf": arf, "great": great}[asked["method"]](table, asked["discrete"], asked["params"])
    fitted, fitted_wall = time.process_time(), time.monotonic()
    drawn = draw(asked["rows"])
    done, done_wall = time.process_time(), time.monotonic()
    if len(drawn) < asked["rows"]:
        sys.exit(f"drew {len(drawn)} valid rows of {asked['rows']}")
    peak = kib("VmHWM")
    drawn[list(table.columns)].to_csv(target, index=False)
    told = {
        "fit_seconds": fitted - cpu,
        "sample_seconds": done - fitted,
        "fit_wall": fitted_wall - wall,
        "sample_wall": done_wall - fitted_wall,
        "peak_mib": (peak - held) / 1024 if peak else None,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
