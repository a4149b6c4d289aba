"""Rebuilding a secret bit of rows whose other columns an attacker knows, from a release: by a linear program, and by a forest."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, hstack
from sklearn.ensemble import RandomForestClassifier

from tasks.audit.case import Bool, Float64, Int64
from tasks.audit.encoding import discretise, matrix
from tasks.audit.finding import Finding, finding
from tasks.audit.intervals import difference, share
from tasks.audit.secret import Secret, secret_bits
from tasks.contract.errors import WaymintError

#: Smallest excess of accuracy, training over holdout rows, that an attack must be able to exclude.
TOLERANCE = 0.1


class RebuildingParams(BaseModel):
    """Parameters of every attack that rebuilds a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    order: int = Field(2, ge=1, le=3, description="quasi-identifiers in one marginal query")
    bins: int = Field(4, ge=2, le=20, description="bins of a numeric quasi-identifier")
    columns: int = Field(10, ge=2, le=40, description="most quasi-identifiers; more are chosen at random")
    targets: int = Field(1000, ge=50, le=5000, description="most rows whose bits are unknowns of the program")


class Rebuilt(NamedTuple):
    """What attackers make of the targets' bits.

    Attributes
    ----------
    scores : mapping of str to ndarray of float64, shape (n,)
        By attacker; 0.5 and above is a guess of a set bit.
    truth, member : ndarray of bool, shape (n,)
        The bits, and which targets are training rows.
    majority : bool
        What most released rows have.
    quasi : int
        Columns that the attackers know.
    """

    scores: Mapping[str, Float64]
    truth: Bool
    member: Bool
    majority: bool
    quasi: int


def rebuild(
    tables: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame], secret: Secret, params: RebuildingParams, rng: np.random.Generator
) -> Rebuilt:
    """Rebuild a secret of training rows and of a quarter as many holdout rows, by all their other columns.

    Parameters
    ----------
    tables : tuple of pandas.DataFrame
        Training, holdout and released rows in the same canonical columns, the secret's among them.
    secret : Secret
    params : RebuildingParams
    rng : numpy.random.Generator
    """
    training, holdout, release = tables
    n_members = min(len(training), params.targets)
    n_controls = min(len(holdout), max(1, n_members // 4))
    members = np.sort(rng.choice(len(training), n_members, replace=False))
    controls = np.sort(rng.choice(len(holdout), n_controls, replace=False))
    targets = pd.concat([training.iloc[members], holdout.iloc[controls]], ignore_index=True)
    # a vertex of the program treats equal rows by their order: the order must not separate members from controls
    order = rng.permutation(len(targets))
    targets, member = targets.iloc[order].reset_index(drop=True), order < n_members
    columns = [name for name in release.columns if name != secret.column]
    if len(columns) > params.columns:
        columns = [columns[at] for at in np.sort(rng.choice(len(columns), params.columns, replace=False))]
    truth, bits = secret_bits(targets, secret), secret_bits(release, secret)
    quasi, released = discretise([targets[columns], release[columns]], release[columns], params.bins)
    scores = {
        "program": reconstruct(quasi, released, bits, min(params.order, len(columns))),
        "forest": _infer(targets[columns], release[columns], bits, rng),
    }
    return Rebuilt(scores, truth, member, bool(np.mean(bits) > 0.5), len(columns))


def accuracy(
    attack: str, statistic: str, rebuilt: Rebuilt, score: Float64, confidence: float, detail: str, can_clear: bool = True
) -> Finding:
    """Return the share of training rows whose bits were guessed, against that of holdout rows; other parameters as of a finding."""
    truth, member = rebuilt.truth, rebuilt.member
    right = (score >= 0.5) == truth
    hits, n = int(right[member].sum()), int(member.sum())
    other_hits, other_n = int(right[~member].sum()), int((~member).sum())
    return finding(
        attack,
        statistic,
        share(hits, n, confidence),
        excess=difference(hits, n, other_hits, other_n, confidence),
        baseline=float(np.mean(truth[member] == rebuilt.majority)),
        control=other_hits / other_n,
        tolerance=TOLERANCE,
        confidence=confidence,
        targets=n,
        controls=other_n,
        detail=detail,
        can_clear=can_clear,
    )


def reconstruct(quasi: Int64, released: Int64, bits: Bool, order: int) -> Float64:
    """Solve for the targets' bits by the counts of a release.

    With cell q holding n_q targets, m_q released rows and s_q of these with the bit set, minimise over c in [0, 1]^n
    sum_q abs(sum over targets i in q of c_i - s_q n_q / m_q); cells without a released row or without a target are left out.

    Parameters
    ----------
    quasi : ndarray of int64, shape (n, d)
        Discrete quasi-identifiers of the targets.
    released : ndarray of int64, shape (m, d)
        Those of the released rows, coded alike.
    bits : ndarray of bool, shape (m,)
        Secret bit of the released rows.
    order : int
        Quasi-identifiers in one query, at most d.

    Returns
    -------
    ndarray of float64, shape (n,)
        In [0, 1]; 0.5 and above is a guess of a set bit.

    Raises
    ------
    WaymintError
        If the solver gives up.
    """
    rows: list[Int64] = []
    columns: list[Int64] = []
    counts: list[float] = []
    for chosen in itertools.combinations(range(quasi.shape[1]), order):
        cell, here = np.unique(np.vstack([quasi[:, chosen], released[:, chosen]]), axis=0, return_inverse=True)
        here = np.asarray(here).ravel()
        ours, theirs = here[: len(quasi)], here[len(quasi) :]
        wanted = np.bincount(ours, minlength=len(cell))
        drawn = np.bincount(theirs, minlength=len(cell))
        hits = np.bincount(theirs, weights=bits, minlength=len(cell))
        useful = np.flatnonzero((wanted > 0) & (drawn > 0))
        place = np.full(len(cell), -1)
        place[useful] = np.arange(len(useful)) + len(counts)
        inside = place[ours] >= 0
        rows.append(place[ours[inside]])
        columns.append(np.flatnonzero(inside))
        counts.extend((hits[useful] * wanted[useful] / drawn[useful]).tolist())
    return _solve(np.concatenate(rows), np.concatenate(columns), np.array(counts), len(quasi))


def _solve(rows: npt.NDArray[np.int64], columns: Int64, counts: Float64, n: int) -> Float64:
    q = len(counts)
    queries = csr_array((np.ones(len(rows)), (rows, columns)), shape=(q, n))
    equations = hstack([queries, eye_array(q), -eye_array(q)], format="csr")
    cost = np.concatenate([np.zeros(n), np.ones(2 * q)])
    bounds = np.column_stack([np.zeros(n + 2 * q), np.concatenate([np.ones(n), np.full(2 * q, np.inf)])])
    solved = linprog(cost, A_eq=equations, b_eq=counts, bounds=bounds, method="highs")
    if solved.x is None:
        raise WaymintError(f"linear program of an attack must be solved; the solver said status {solved.status}.")
    return np.asarray(solved.x[:n], dtype=np.float64)


def _infer(targets: pd.DataFrame, release: pd.DataFrame, bits: Bool, rng: np.random.Generator) -> Float64:
    """Return the forest's probability of a set bit; trees grown to single rows, as an attacker would."""
    if bits.all() or not bits.any():
        return np.full(len(targets), float(bits[0]))
    forest = RandomForestClassifier(100, random_state=int(rng.integers(2**31)), n_jobs=1).fit(matrix(release), bits)
    return np.asarray(forest.predict_proba(matrix(targets))[:, 1], dtype=np.float64)
