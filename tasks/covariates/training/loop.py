"""One training loop for all synthesizers made with torch: resumable, stopped early, the same bytes for the same seed."""

from __future__ import annotations

import contextlib
import io
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch

from tasks.contract.errors import EstimationError
from tasks.covariates.journal import Curve, Journal

# one training at a time in a process: torch has one default generator and one set of switches
_TURN = threading.RLock()
_SWITCHES: Any = torch.utils.deterministic
# torch.use_deterministic_algorithms without its import of torch's compiler, which takes seconds
_SET_DETERMINISTIC: Callable[..., None] = torch._C._set_deterministic_algorithms


class Stateful(Protocol):
    """A module, an optimizer, a scheduler: whatever has a state that training changes."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state: tensors and plain numbers by name."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take a state over."""
        ...


def device() -> torch.device:
    """Return the graphics card where torch finds one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def reproducible(rng: np.random.Generator) -> Iterator[torch.Generator]:
    """Make what torch does inside the block a function of ``rng`` alone: initial weights, dropout, draws.

    One thread, deterministic algorithms where torch has them, and the process's default generators seeded; all of it is put back
    afterwards. Other threads of the process wait at the door.

    Parameters
    ----------
    rng : numpy.random.Generator
        One number is drawn from it.

    Yields
    ------
    torch.Generator
        On the processor, seeded.
    """
    seed = int(rng.integers(2**63))
    with _hold_settings():
        torch.manual_seed(seed)
        generator = torch.Generator()
        generator.manual_seed(seed)
        yield generator


@contextlib.contextmanager
def _hold_settings() -> Iterator[None]:
    """Hold the process's torch settings that decide about bytes, for the length of the block."""
    with _TURN, torch.random.fork_rng(enabled=True):
        threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
        warn, fill = torch.is_deterministic_algorithms_warn_only_enabled(), _SWITCHES.fill_uninitialized_memory
        torch.set_num_threads(1)
        # a card has no deterministic way to do some things: there it may go on
        _SET_DETERMINISTIC(True, warn_only=torch.cuda.is_available())
        _SWITCHES.fill_uninitialized_memory = False
        try:
            yield
        finally:
            _SWITCHES.fill_uninitialized_memory = fill
            _SET_DETERMINISTIC(strict, warn_only=warn)
            torch.set_num_threads(threads)


def train(
    parts: Mapping[str, Stateful],
    epoch: Callable[[torch.Generator], None],
    validate: Callable[[], float],
    *,
    epochs: int,
    every: int,
    patience: int,
    generator: torch.Generator,
    journal: Journal,
) -> Curve:
    """Train until the validation figure of the covariate law no longer falls, and restore the weights of its minimum.

    After each ``every`` epochs, and after the last, the figure is measured and everything that decides the rest of the run is saved:
    the states of all parts, the generator's, the curve, the best weights. A run that finds a saved state goes on from it and ends
    with the same weights, byte for byte. The loss plays no part in when training stops.

    Parameters
    ----------
    parts : mapping of str to Stateful
        Everything that an epoch changes: modules, optimizers, schedulers. The best states of the modules are restored at the end.
    epoch : callable
        Trains one epoch. Its random numbers come from the generator it is given, or from torch's default generators, which are seeded
        from it before each epoch.
    validate : callable
        Returns the figure of the present weights, smaller is better; NaN counts as infinite. It must not draw from ``generator``, and
        should take the same random numbers each time, so that epochs are compared on one draw.
    epochs : int
        Most epochs.
    every : int
        Epochs from one measurement to the next.
    patience : int
        Measurements in a row that are larger than the minimum, after which training stops.
    generator : torch.Generator
        As :func:`reproducible` yields it.
    journal : Journal
        Keeps the state and hears of each epoch.

    Returns
    -------
    Curve

    Raises
    ------
    EstimationError
        If no measurement was finite: training has diverged.
    """
    seen: list[int] = []
    figures: list[float] = []
    best: dict[str, Any] = {}
    done = 0
    with _hold_settings():
        if (saved := journal.load()) is not None:
            state = torch.load(io.BytesIO(saved), weights_only=True, map_location="cpu")
            for name, part in parts.items():
                part.load_state_dict(state["parts"][name])
            generator.set_state(state["generator"])
            done, seen, figures, best = state["done"], state["seen"], state["figures"], state["best"]
        while done < epochs and not _stale(figures, patience):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            epoch(generator)
            done += 1
            if done % every and done < epochs:
                journal.tell(done, epochs, None)
                continue
            figure = float(validate())
            seen.append(done)
            figures.append(figure if math.isfinite(figure) else math.inf)
            if _best(figures) == len(figures) - 1:
                best = {name: _copied(part) for name, part in parts.items() if isinstance(part, torch.nn.Module)}
            journal.save(_packed(parts, generator, done, seen, figures, best))
            journal.tell(done, epochs, figure)
        if not math.isfinite(min(figures)):
            raise EstimationError(
                f"training of the synthesizer must keep finite weights; got none in {done} epochs.",
                "Try a smaller learning rate, or another synthesizer.",
            )
        for name, weights in best.items():
            parts[name].load_state_dict(weights)
    return Curve(tuple(seen), tuple(figures), seen[_best(figures)])


def _best(figures: list[float]) -> int:
    """Return where the last of the smallest figures stands: at its floor a figure sees nothing that more training may still mend."""
    return len(figures) - 1 - figures[::-1].index(min(figures))


def _stale(figures: list[float], patience: int) -> bool:
    return bool(figures) and len(figures) - 1 - _best(figures) >= patience


def _copied(part: Stateful) -> dict[str, Any]:
    """Copy a module's state, which goes on changing in place."""
    return {name: value.detach().to("cpu", copy=True) if torch.is_tensor(value) else value for name, value in part.state_dict().items()}


def _packed(
    parts: Mapping[str, Stateful], generator: torch.Generator, done: int, seen: list[int], figures: list[float], best: dict[str, Any]
) -> bytes:
    state = {
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "generator": generator.get_state(),
        "done": done,
        "seen": seen,
        "figures": figures,
        "best": best,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
