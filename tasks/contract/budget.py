"""Thresholdout: how one holdout may judge release after release.

A holdout that answers every query exactly is soon overfitted: changing a synthesizer until the gates pass uses the
answers as training data. Thresholdout (Dwork, Feldman, Hardt, Pitassi, Reingold, Roth 2015, arXiv:1506.02629,
DOI 10.1126/science.aaa9375) answers adaptively chosen queries to a holdout with noise, and stops when its budget is spent::

    T^ = T + Lap(2 sigma)
    for each query:  if the budget is spent, answer nothing
                     if E_training - E_holdout > T^ + Lap(4 sigma):  answer with noise Lap(sigma), charge 1, T^ = T + Lap(2 sigma)
                     else:  answer that training rows and holdout agree, charge nothing

Two deviations: leaks have a side, so the difference is not taken absolutely; and a release that another gate on the same
holdout rejects is charged too, for the rejection reveals as much. Noise is a function of the holdout and of the query, so the same query
has the same answer; only a holder of the source can compute it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from tasks.contract.rng import rng_for


class Terms(NamedTuple):
    """How a holdout answers.

    Attributes
    ----------
    threshold : float
        T, in the unit of the queries.
    noise : float
        sigma, positive, in the same unit.
    budget : int
        B: charged answers a holdout gives.
    """

    threshold: float
    noise: float
    budget: int


class Query(NamedTuple):
    """One question to a holdout.

    Attributes
    ----------
    digest : str
        Of all that decides the question: the released rows that are compared, the pool they are compared with, and the terms.
    value : float
        E_training - E_holdout of the question's function, in standard deviations of its null.
    """

    digest: str
    value: float


class Entry(BaseModel):
    """One query and its answer, as the ledger keeps it; no entry is ever changed.

    Attributes
    ----------
    query : str
        Digest of the question.
    above : bool
        Whether the difference was above the noisy threshold.
    answer : float or None
        The noisy difference; None where nothing was said but that training rows and holdout agree.
    charged : bool
        Whether the budget was charged.
    left : int
        What was left of the budget at the query.
    release, run, created : str
        Who made the query, and when; for people.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    query: str
    above: bool
    answer: float | None
    charged: bool
    left: int = Field(ge=0)
    release: str
    run: str
    created: str


class Answer(NamedTuple):
    """What a holdout says to a question.

    Attributes
    ----------
    left : int
        Charges left at the query; 0: the budget is spent and there is no answer.
    above : bool
        Whether the difference lies above the noisy threshold.
    value : float or None
        The noisy difference where it lies above.
    recorded : bool
        True for a repeated query: it is not charged, and the earlier answer is returned.
    earlier : int
        Earlier queries to this holdout.
    """

    left: int
    above: bool
    value: float | None
    recorded: bool
    earlier: int

    @property
    def spent(self) -> bool:
        """Whether the budget of the holdout is spent."""
        return self.left < 1


def holdout_name(fingerprint: str, seed: int, share: float) -> str:
    """Name a holdout by what decides which rows are in it: the source's content, the SPEC's seed, the share.

    Parameters
    ----------
    fingerprint : str
        SHA-256 of the source's content.
    seed : int
        The SPEC's seed.
    share : float
        ``source.holdout``.

    Returns
    -------
    str
        32 hexadecimal digits, a dash, and 16 more: all holdouts of one source begin alike.
    """
    split = hashlib.sha256(f"{seed}\x1f{share!r}".encode()).hexdigest()
    return f"{hashlib.sha256(fingerprint.encode()).hexdigest()[:32]}-{split[:16]}"


def digest_of(terms: Terms, *parts: str) -> str:
    """Return the digest of a question: 32 hexadecimal digits; the budget is no part of it."""
    text = "\x1f".join((repr(terms.threshold), repr(terms.noise), *parts))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def answer(holdout: str, entries: Sequence[Entry], query: Query, terms: Terms) -> Answer:
    """Answer a question by Thresholdout.

    Parameters
    ----------
    holdout : str
        Name of the holdout, which decides the noise.
    entries : sequence of Entry
        Earlier queries, in order.
    query : Query
    terms : Terms

    Returns
    -------
    Answer
        A pure function of the arguments.
    """
    for place, earlier in enumerate(entries):
        if earlier.query == query.digest:
            return Answer(earlier.left, earlier.above, earlier.answer, True, place)
    charges = sum(entry.charged for entry in entries)
    left = max(0, terms.budget - charges)
    if not left:
        return Answer(0, False, None, False, len(entries))
    threshold = terms.threshold + _laplace(2 * terms.noise, holdout, "threshold", charges)
    above = query.value > threshold + _laplace(4 * terms.noise, holdout, "comparison", query.digest)
    noisy = query.value + _laplace(terms.noise, holdout, "answer", query.digest) if above else None
    return Answer(left, above, noisy, False, len(entries))


def _laplace(scale: float, holdout: str, what: str, of: object) -> float:
    return float(rng_for(0, f"thresholdout {what}", f"{holdout}/{of}").laplace(0.0, scale))
