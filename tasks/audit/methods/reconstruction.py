"""Attribute inference by linear reconstruction: a secret column rebuilt from marginal counts of the release."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, hstack
from sklearn.ensemble import RandomForestClassifier

from tasks.audit.case import Bool, Case, Float64, Int64
from tasks.audit.encoding import discretise, matrix
from tasks.audit.finding import Finding, finding, together
from tasks.audit.intervals import difference, share
from tasks.audit.secret import choose_secret, secret_bits
from tasks.contract.errors import WaymintError

#: Smallest excess of accuracy, training over holdout rows, that the attack must be able to exclude.
TOLERANCE = 0.1


class Params(BaseModel):
    """Parameters of the reconstruction attack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret: str | None = Field(None, description="id of the covariate to rebuild; empty: the most balanced binary one")
    order: int = Field(2, ge=1, le=3, description="quasi-identifiers in one marginal query")
    bins: int = Field(4, ge=2, le=20, description="bins of a numeric quasi-identifier")
    columns: int = Field(10, ge=2, le=40, description="most quasi-identifiers; more are chosen at random")
    targets: int = Field(1000, ge=50, le=5000, description="most rows whose bits are unknowns of the program")


class Reconstruction:
    """The attack of Annamalai, Gadotti, Rocher 2024 (USENIX Security, arXiv:2301.10053); see :class:`Params`.

    Unknowns are the secret bits of all target rows, whose other columns the attacker knows. Every marginal of ``order``
    quasi-identifiers with the secret set gives one equation: the targets that match a cell, weighted by their bits, are as many as the
    release says. The bits minimise the sum of absolute errors over [0, 1], a linear program.

    A fifth of the targets are holdout rows: the control. They are in the same program, their bits are inferred through what holds in the
    population, and nothing that the release knows of them alone can help. The excess over them is what
    training rows give away of themselves.
    """

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(self, case: Case, rng: np.random.Generator) -> list[Finding]:
        """Return the accuracies of the program and of a forest that infers the bit from the release."""
        secret = choose_secret(case.release.covariates, self.params.secret)
        n_members = min(len(case.training), self.params.targets)
        n_controls = min(len(case.holdout), max(1, n_members // 4))
        members = np.sort(rng.choice(len(case.training), n_members, replace=False))
        controls = np.sort(rng.choice(len(case.holdout), n_controls, replace=False))
        targets = pd.concat([case.training.covariates.iloc[members], case.holdout.covariates.iloc[controls]], ignore_index=True)
        # a vertex of the program treats equal rows by their order: the order must not separate members from controls
        order = rng.permutation(len(targets))
        targets, member = targets.iloc[order].reset_index(drop=True), order < n_members
        release = case.release.covariates
        columns = [name for name in release.columns if name != secret.column]
        if len(columns) > self.params.columns:
            columns = [columns[at] for at in np.sort(rng.choice(len(columns), self.params.columns, replace=False))]
        truth, bits = secret_bits(targets, secret), secret_bits(release, secret)
        quasi, released = discretise([targets[columns], release[columns]], release[columns], self.params.bins)
        scores = {
            "program": reconstruct(quasi, released, bits, min(self.params.order, len(columns))),
            "forest": _infer(targets[columns], release[columns], bits, rng),
        }
        confidence = together(len(scores))
        sample = "" if n_members == case.training_rows else f"; {n_members:,} of {case.training_rows:,} training rows: the others are noise"
        detail = (
            f"whether '{case.name_of(secret.column)}' {secret.statement}, rebuilt from {len(columns)} other columns; "
            f"control: holdout rows{sample}"
        )
        guess = bool(np.mean(bits) > 0.5)
        return [_accuracy(f"accuracy_{name}", score >= 0.5, truth, member, guess, confidence, detail) for name, score in scores.items()]


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
        raise WaymintError(f"linear program of attack 'reconstruction' must be solved; the solver said status {solved.status}.")
    return np.asarray(solved.x[:n], dtype=np.float64)


def _infer(targets: pd.DataFrame, release: pd.DataFrame, bits: Bool, rng: np.random.Generator) -> Float64:
    """Return the forest's probability of a set bit; trees grown to single rows, as an attacker would."""
    if bits.all() or not bits.any():
        return np.full(len(targets), float(bits[0]))
    forest = RandomForestClassifier(100, random_state=int(rng.integers(2**31)), n_jobs=1).fit(matrix(release), bits)
    return np.asarray(forest.predict_proba(matrix(targets))[:, 1], dtype=np.float64)


def _accuracy(statistic: str, guesses: Bool, truth: Bool, member: Bool, majority: bool, confidence: float, detail: str) -> Finding:
    right = guesses == truth
    hits, n = int(right[member].sum()), int(member.sum())
    other_hits, other_n = int(right[~member].sum()), int((~member).sum())
    return finding(
        "reconstruction",
        statistic,
        share(hits, n, confidence),
        excess=difference(hits, n, other_hits, other_n, confidence),
        baseline=float(np.mean(truth[member] == majority)),
        control=other_hits / other_n,
        tolerance=TOLERANCE,
        confidence=confidence,
        targets=n,
        controls=other_n,
        detail=detail,
    )


def build(params: Params) -> Reconstruction:
    """Return the attack."""
    return Reconstruction(params)
