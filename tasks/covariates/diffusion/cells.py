"""Coded cells of a table as what a diffusion model moves: normal numbers and blocks of categories."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from tasks.covariates.latent import latent_to_state, state_to_latent
from tasks.covariates.margins import MISSING, Coded, Float64, Intp, Margin

Float32 = npt.NDArray[np.float32]

_MOST_CATEGORIES = 64
_EDGE = 1e-6


class Part(NamedTuple):
    """Where one column stands among numbers and blocks.

    Attributes
    ----------
    margin : Margin
    number : int
        Its number, or -1.
    blocks : tuple of int
        Its blocks: states (in two digits where there are many), or whether a number is missing; empty where there is nothing to say.
    states : ndarray of intp
        States that occur, missing (as the number after the last) included, most frequent first; numbers: empty.
    base : int
        Categories of the first of two digits.
    """

    margin: Margin
    number: int
    blocks: tuple[int, ...]
    states: Intp
    base: int


class Layout(NamedTuple):
    """All columns.

    Attributes
    ----------
    parts : tuple of Part
    numbers : int
        Normal numbers of a row.
    widths : tuple of int
        Categories of each block.
    """

    parts: tuple[Part, ...]
    numbers: int
    widths: tuple[int, ...]


class Cells(NamedTuple):
    """Rows to learn from.

    Attributes
    ----------
    low, high : ndarray of float32, shape (n, numbers)
        Piece of (0, 1) in which the uniform score of a number lies: the width of one rank, of an atom, or all of it where missing.
    codes : ndarray of int64, shape (n, blocks)
        Category in each block.
    """

    low: Float32
    high: Float32
    codes: npt.NDArray[np.int64]


def encode(pairs: list[tuple[Margin, Coded]]) -> tuple[Layout, Cells]:
    """Lay out the columns and code their cells."""
    parts: list[Part] = []
    pieces: list[tuple[Float64, Float64]] = []
    widths: list[int] = []
    codes: list[Intp] = []
    for margin, coded in pairs:
        gone = coded.state == MISSING
        if margin.smooth != MISSING and not gone.all():
            block = _add([gone.astype(np.intp)], [2], widths, codes) if gone.any() else ()
            parts.append(Part(margin, len(pieces), block, np.zeros(0, dtype=np.intp), 0))
            pieces.append(_pieces(margin, coded))
            continue
        states, place = _by_frequency(np.where(gone, len(margin.shares), coded.state))
        base = int(np.ceil(np.sqrt(len(states)))) if len(states) > _MOST_CATEGORIES else len(states)
        block = ()
        if len(states) > base:
            block = _add([place % base, place // base], [base, -(-len(states) // base)], widths, codes)
        elif len(states) > 1:
            block = _add([place], [base], widths, codes)
        parts.append(Part(margin, -1, block, states, base))
    n = len(pairs[0][1].state)
    low, high = (np.array([piece[k] for piece in pieces], dtype=np.float32).reshape(len(pieces), n).T.copy() for k in (0, 1))
    cells = Cells(low, high, np.array(codes, dtype=np.int64).reshape(len(codes), n).T.copy())
    return Layout(tuple(parts), len(pieces), tuple(widths)), cells


def _add(new: list[Intp], size: list[int], widths: list[int], codes: list[Intp]) -> tuple[int, ...]:
    first = len(widths)
    widths += size
    codes += new
    return tuple(range(first, len(widths)))


def _by_frequency(state: Intp) -> tuple[Intp, Intp]:
    """Return the states that occur, most frequent first, and the place of each cell's among them."""
    distinct, inverse, counts = np.unique(state, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    back = np.empty(len(distinct), dtype=np.intp)
    back[order] = np.arange(len(distinct))
    return distinct[order].astype(np.intp), back[inverse]


def _pieces(margin: Margin, coded: Coded) -> tuple[Float64, Float64]:
    """Return the piece of (0, 1) of every cell: atoms have the piece of their share, ranks share what is left."""
    n = len(coded.state)
    low, high = np.zeros(n), np.ones(n)
    inside = coded.state == margin.smooth
    middle = np.asarray(ndtr(state_to_latent(margin, np.zeros(0, dtype=np.intp), coded)[inside]))
    half = margin.shares[margin.smooth] / max(2 * int(inside.sum()), 1)
    low[inside], high[inside] = middle - half, middle + half
    upper = np.cumsum(margin.shares[: margin.smooth]) + margin.shares[margin.smooth] * margin.below[: margin.smooth]
    atom = np.flatnonzero((coded.state >= 0) & ~inside)
    high[atom] = upper[coded.state[atom]]
    low[atom] = high[atom] - margin.shares[coded.state[atom]]
    return np.clip(low, _EDGE, 1 - _EDGE), np.clip(high, _EDGE, 1 - _EDGE)


def draw_numbers(cells: Cells, rng: np.random.Generator) -> Float64:
    """Draw a normal number for every piece, shape (n, numbers)."""
    return np.asarray(ndtri(cells.low + rng.random(cells.low.shape) * (cells.high - cells.low)))


def decode(layout: Layout, numbers: Float64, codes: Intp) -> list[Coded]:
    """Turn normal numbers (n, numbers) and categories (n, blocks) into coded cells, column by column."""
    result = []
    for part in layout.parts:
        block_codes = [codes[:, block] for block in part.blocks]
        if part.number >= 0:
            coded = latent_to_state(part.margin, np.zeros(0, dtype=np.intp), numbers[:, part.number])
            if block_codes:
                coded = Coded(np.where(block_codes[0] == 1, MISSING, coded.state), np.where(block_codes[0] == 1, 0.0, coded.score))
            result.append(coded)
            continue
        place = np.zeros(len(codes), dtype=np.intp)
        if block_codes:
            # digits may name more places than there are states: the rest falls to the most frequent of the same first digit
            place = block_codes[0] + (part.base * block_codes[1] if len(block_codes) > 1 else 0)
            place = np.where(place < len(part.states), place, block_codes[0])
        state = part.states[place]
        state = np.where(state == len(part.margin.shares), MISSING, state)
        result.append(Coded(state, np.append(part.margin.position, 0.0)[state]))
    return result
