"""Margins set right: what a trained network draws, brought to the shares and quantiles of the source."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from tasks.covariates.gan.modes import Float32, Int32, Layout, values_of
from tasks.covariates.margins import Float64

_ROUNDS = 60
_CLOSE = 2e-3
_MOST_STEP = 3.0
_FEWEST = 20
_TAIL = (0.0005, 0.001, 0.002, 0.004, 0.007)
_LEVELS = np.concatenate((_TAIL, np.linspace(0.01, 0.99, 99), 1 - np.array(_TAIL[::-1])))


class Correction(NamedTuple):
    """What brings a network's margins to the source's.

    Attributes
    ----------
    bias : ndarray of float32, shape (categories,)
        Added to the logits, so that each category has its share of the rows.
    drawn, scores : tuple of ndarray
        For each number: quantiles of the values that the network draws, and the normal scores they stand for.
    """

    bias: Float32
    drawn: tuple[Float64, ...]
    scores: tuple[Float64, ...]


def balance(layout: Layout, logits: Float32) -> Float32:
    """Find the constants on the logits under which the mean probability of each category is its share of the rows.

    They are the dual variables of the closest law, in relative entropy, with these shares; each round adds
    ``log(share / mean probability)``, block by block, which never overshoots.

    Parameters
    ----------
    layout : Layout
    logits : ndarray of float32, shape (m, categories)
        Of a pool of drawn rows.

    Returns
    -------
    ndarray of float32, shape (categories,)
    """
    shift = len(layout.numbers)
    result = np.zeros(logits.shape[1], dtype=np.float32)
    target = np.concatenate([block.shares for block in layout.blocks])
    for group in layout.groups:
        cells = slice(group.start - shift, group.stop - shift)
        block_logits = logits[:, cells].reshape(len(logits), group.blocks, group.width)
        wanted = np.log(np.maximum(target[cells], 1e-12)).reshape(group.blocks, group.width)
        bias = np.zeros((group.blocks, group.width), dtype=np.float32)
        for _ in range(_ROUNDS if group.width > 1 else 0):
            gap = wanted - np.log(np.maximum(softmax(block_logits + bias).mean(axis=0, dtype=np.float64), 1e-12))
            bias += np.clip(gap, -_MOST_STEP, _MOST_STEP).astype(np.float32)
            if np.abs(gap).max() < _CLOSE:
                break
        result[cells] = bias.ravel()
    return result


def softmax(logits: Float32) -> Float32:
    """Return probabilities along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float32)


def choose(layout: Layout, logits: Float32, bias: Float32, rng: np.random.Generator) -> Int32:
    """Draw a category of each block, shape (m, blocks)."""
    shift = len(layout.numbers)
    result = np.zeros((len(logits), len(layout.blocks)), dtype=np.int32)
    done = 0
    for group in layout.groups:
        if group.width > 1:
            cells = slice(group.start - shift, group.stop - shift)
            chance = softmax((logits[:, cells] + bias[cells]).reshape(len(logits), group.blocks, group.width))
            upper = np.cumsum(chance, axis=2, dtype=np.float64)
            spot = rng.random((len(logits), group.blocks, 1)) * upper[:, :, -1:]
            result[:, done : done + group.blocks] = (upper <= spot).sum(axis=2).clip(0, group.width - 1)
        done += group.blocks
    return result


def fit_correction(layout: Layout, places: Float32, logits: Float32, rng: np.random.Generator) -> Correction:
    """Learn the correction from a pool of drawn rows.

    Parameters
    ----------
    layout : Layout
    places : ndarray of float32, shape (m, numbers)
    logits : ndarray of float32, shape (m, categories)
    rng : numpy.random.Generator

    Returns
    -------
    Correction
    """
    bias = balance(layout, logits)
    codes = choose(layout, logits, bias, rng)
    drawn, scores = [], []
    for k, j in enumerate(layout.numbers):
        block = layout.blocks[j]
        inside = block.modes[codes[:, j]] >= 0
        values = values_of(block, codes[inside, j], places[inside, k].astype(np.float64))
        if len(values) < _FEWEST:
            values = np.interp(ndtri(_LEVELS), block.margin.knots, block.margin.heights)
        end = 0.5 / len(values)
        levels = np.concatenate(([end], _LEVELS[np.minimum(_LEVELS, 1 - _LEVELS) > end], [1 - end]))
        drawn.append(np.quantile(values, levels, method="hazen"))
        scores.append(np.asarray(ndtri(levels)))
    return Correction(bias, tuple(drawn), tuple(scores))
