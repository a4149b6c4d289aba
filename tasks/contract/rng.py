"""Randomness as a pure function of names: seeds, row keys and what is decided from them."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

UInt64 = npt.NDArray[np.uint64]
Float64 = npt.NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def salt(*names: object) -> int:
    """Return a 64-bit integer that depends on the names alone.

    Parameters
    ----------
    *names : object
        Anything with a stable ``str``: seeds, step names, part numbers.

    Returns
    -------
    int
        In ``[0, 2**64)``.
    """
    text = "\x1f".join(str(name) for name in names)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def rng_for(seed: int, step: str, part: object = 0) -> np.random.Generator:
    """Return the generator of one (seed, step, part): the same wherever and whenever it runs.

    Parameters
    ----------
    seed : int
        The SPEC's seed.
    step : str
        Name of the step, e.g. ``"draw"``.
    part : object
        Number or name of the part, anything with a stable ``str``.

    Returns
    -------
    numpy.random.Generator
        PCG64 seeded with a BLAKE2b digest of the three.
    """
    digest = hashlib.blake2b(f"{seed}\x1f{step}\x1f{part}".encode(), digest_size=32).digest()
    return np.random.Generator(np.random.PCG64(np.frombuffer(digest, dtype=np.uint32).tolist()))


def mix(values: UInt64, by: int) -> UInt64:
    """Mix 64-bit values with a salt (the finaliser of SplitMix64; Steele, Lea, Flood 2014).

    Parameters
    ----------
    values : ndarray of uint64, shape (n,)
        Keys.
    by : int
        Salt in ``[0, 2**64)``.

    Returns
    -------
    ndarray of uint64, shape (n,)
        A bijection of the input for each salt.
    """
    with np.errstate(over="ignore"):
        z = values + _GOLDEN * np.uint64(1) + np.uint64(by)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)


def unit(keys: UInt64, by: int) -> Float64:
    """Map keys to uniform numbers in [0, 1), independent of row order and partitioning.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
        Row keys.
    by : int
        Salt; see :func:`salt`.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    return np.asarray((mix(keys, by) >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def part_name(part: int, stream: int) -> str:
    """Return what a part's random numbers are named by: its number, and its stream beyond the first.

    Parameters
    ----------
    part : int
        Number of the part.
    stream : int
        ``release.stream`` of the SPEC: parts of another stream are other draws from the same models.
    """
    return str(part) if stream == 0 else f"{stream}:{part}"


def release_keys(seed: int, copy: int, part: int | str, rows: int) -> UInt64:
    """Return the keys of one part of a release, shape (rows,): functions of the release's seed, copy, part and position.

    A reader of a published part gets the keys that its rows had when the release was judged.

    Parameters
    ----------
    seed : int
        The SPEC's seed.
    copy : int
        Number of the copy.
    part : int or str
        Number of its part, or its :func:`part_name`.
    rows : int
        Rows of the part.
    """
    return mix(np.arange(rows, dtype=np.uint64), salt(seed, "release key", copy, part))


def in_holdout(keys: UInt64, seed: int, share: float) -> npt.NDArray[np.bool_]:
    """Decide which rows are held out from the covariate synthesizer.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
        Row keys.
    seed : int
        The SPEC's seed.
    share : float
        Share of rows held out, in (0, 1).

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    return unit(keys, salt(seed, "holdout")) < share


def bootstrap_weights(keys: UInt64, seed: int, copy: int) -> Float64:
    """Return Bayesian bootstrap weights of one copy: exponential, mean one (Rubin 1981, doi:10.1214/aos/1176345338).

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
        Row keys; a row's weight depends on its key alone, so partitioning does not matter.
    seed : int
        The SPEC's seed.
    copy : int
        Number of the copy.

    Returns
    -------
    ndarray of float64, shape (n,)
        Positive. They are not normalised over the rows given.
    """
    return np.asarray(-np.log1p(-unit(keys, salt(seed, "bootstrap", copy))) + 1e-12, dtype=np.float64)


def bootstrap_rows(keys: UInt64, seed: int, copy: int) -> npt.NDArray[np.int64]:
    """Draw as many rows as there are with the Bayesian bootstrap weights of one copy (systematic sampling).

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
        Row keys.
    seed, copy : int
        As in :func:`bootstrap_weights`.

    Returns
    -------
    ndarray of int64, shape (n,)
        Row numbers in ascending order; a row may come more than once.
    """
    return weighted_rows(bootstrap_weights(keys, seed, copy), rng_for(seed, "bootstrap rows", copy))


def weighted_rows(weights: Float64, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw as many rows as there are weights, each as often as its weight says (systematic sampling).

    Parameters
    ----------
    weights : ndarray of float64, shape (n,)
        Not negative, not all 0.
    rng : numpy.random.Generator
        Spent on one number.

    Returns
    -------
    ndarray of int64, shape (n,)
        Row numbers in ascending order; a row may come more than once, or never.
    """
    edges = np.cumsum(weights / weights.sum()) * len(weights)
    points = np.arange(len(weights)) + rng.random()
    return np.minimum(np.searchsorted(edges, points, side="right"), len(weights) - 1).astype(np.int64)
