"""One ridge GLM fitted from sums over rows: what a pass adds up, and where the next one goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from tasks.contract.nuisance import Float64, Int8
from tasks.nuisance.ridge import Family, loss_of, mean_of, unit_of, variance_of
from tasks.numerics.newton import newton_step

_PASSES = 50
_SHORTEST = 1e-8  # step length at which the search along a line is given up
_CONVERGED = 1e-10  # decrement per row after which one more step is the last


@dataclass(frozen=True)
class Problem:
    """One GLM: g or Q on the rows outside one fold.

    Attributes
    ----------
    model : object
        As fitted on the sample: a frozen dataclass with ``coefficients`` and ``strength``.
    family : Family
        With its canonical link.
    penalty : ndarray of float64, shape (p,)
        Relative penalty of each column.
    total : float
        Strength per row times rows of the sample: what stays as rows are added.
    interactions : bool or None
        None for g, which has no treatment; for Q whether the treatment meets every column.
    centre, scale : float
        The outcome is standardised by them.
    reach : float or None
        Where given, a last pass finds the range of the linear predictor, and the model gets it, widened by this much.
    """

    model: Any
    family: Family
    penalty: Float64
    total: float
    interactions: bool | None
    centre: float = 0.0
    scale: float = 1.0
    reach: float | None = None

    def maps(self, width: int) -> list[Float64]:
        """Return M such that the linear predictor is ``[1, x] M b``: one for g, one for each arm for Q.

        The treatment enters as a sum over the two arms, so that products of columns are summed for half as many columns.
        """
        eye = np.eye(width)
        if self.interactions is None:
            return [eye]
        maps = []
        for side in (-0.5, 0.5):
            columns = [eye[:, :1], side * eye[:, :1], eye[:, 1:]]
            maps.append(np.hstack([*columns, side * eye[:, 1:]] if self.interactions else columns))
        return maps


class Sums(NamedTuple):
    """What a pass adds up at one point, over the rows outside a fold.

    Attributes
    ----------
    rows : int
        Rows of positive weight.
    weight, moment, loss : float
        Sums of the weights, of weight times outcome, of weight times loss.
    low, high : float
        Range of the linear predictor.
    gradient : ndarray of float64, shape (groups, width)
        Of the loss with respect to ``M b``, by group: one for g, the two arms for Q.
    gram : ndarray of float64, shape (groups, width, width)
        Information of the rows, likewise.
    """

    rows: int
    weight: float
    moment: float
    loss: float
    low: float
    high: float
    gradient: Float64
    gram: Float64

    def plus(self, other: Sums) -> Sums:
        """Return the sums over the rows of both."""
        return Sums(
            self.rows + other.rows,
            self.weight + other.weight,
            self.moment + other.moment,
            self.loss + other.loss,
            min(self.low, other.low),
            max(self.high, other.high),
            self.gradient + other.gradient,
            self.gram + other.gram,
        )


class Line(NamedTuple):
    """A step being tried: from where, its objective there, the step, its decrement and the length in use."""

    point: Float64
    objective: float
    step: Float64
    decrement: float
    length: float


class Progress(NamedTuple):
    """Where one problem stands: ``point`` is where the pass under way adds up.

    ``phase`` goes from "fit" (over "range", where it is wanted) to "done"; ``strength`` and the range are of the finished fit.
    """

    phase: Literal["fit", "range", "done"]
    point: Float64
    sums: Sums
    line: Line | None = None
    passes: int = 0
    strength: float = 0.0


def started(problem: Problem, width: int) -> Progress:
    """Return the start of the first pass: the sample's fit."""
    return Progress("fit", problem.model.coefficients, _nothing(1 if problem.interactions is None else 2, width))


def _nothing(groups: int, width: int) -> Sums:
    return Sums(0, 0.0, 0.0, 0.0, np.inf, -np.inf, np.zeros((groups, width)), np.zeros((groups, width, width)))


def summed(problem: Problem, phase: str, linear: list[Float64], x: Float64, a: Int8, y: Float64, w: Float64) -> Sums:
    """Return the sums of one block of rows, controls first; ``linear`` are the coefficients of ``[1, x]``, by group."""
    sums = _nothing(len(linear), x.shape[1])
    controls = len(a) - int(np.count_nonzero(a))
    for group, coefficients in enumerate(linear):
        rows = slice(None) if len(linear) == 1 else (slice(controls), slice(controls, None))[group]
        x_own, y_own, w_own = x[rows], y[rows], w[rows]
        if not len(y_own):
            continue
        eta = x_own @ coefficients
        sums = sums._replace(low=min(sums.low, float(eta.min())), high=max(sums.high, float(eta.max())))
        if phase == "range":
            continue
        mu = mean_of(problem.family, eta)
        sums.gradient[group] = x_own.T @ (w_own * (mu - y_own))
        scaled = x_own * np.sqrt(w_own * variance_of(problem.family, mu))[:, None]
        sums.gram[group] = scaled.T @ scaled
        sums = sums._replace(
            rows=sums.rows + len(y_own),
            weight=sums.weight + float(w_own.sum()),
            moment=sums.moment + float(w_own @ y_own),
            loss=sums.loss + float(w_own @ loss_of(problem.family, y_own, eta)),
        )
    return sums


def advanced(problem: Problem, progress: Progress) -> Progress:
    """Judge the point of the pass that has ended and choose the next one."""
    sums, line = progress.sums, progress.line
    if progress.phase == "done":
        return progress
    if progress.phase == "range":  # the sums hold nothing but the range, and stay for the model
        return progress._replace(phase="done")
    # weights are brought to mean one, as the fit in memory does
    unit = sums.rows / sums.weight
    diagonal = problem.penalty * (problem.total * unit_of(problem.family, sums.moment / sums.weight))
    point, strength, passes = progress.point, problem.total / sums.rows, progress.passes + 1
    objective = unit * sums.loss + 0.5 * float(diagonal @ (point * point))
    fresh = _nothing(*sums.gradient.shape)
    if line is not None and not objective <= line.objective - 1e-4 * line.length * line.decrement:
        shorter = line._replace(length=line.length / 2.0)
        if shorter.length <= _SHORTEST:
            return _converge(problem, line.point, strength, fresh)
        return Progress("fit", line.point + shorter.length * line.step, fresh, shorter, passes)
    maps = problem.maps(sums.gradient.shape[1])
    gradient = unit * sum((m.T @ u for m, u in zip(maps, sums.gradient)), np.zeros(len(point))) + diagonal * point
    gram = unit * sum((m.T @ h @ m for m, h in zip(maps, sums.gram)), np.zeros((len(point), len(point))))
    step = newton_step(gram, diagonal, gradient)
    decrement = -float(gradient @ step)
    if problem.family == "gaussian" or decrement <= _CONVERGED * sums.rows:
        return _converge(problem, point + step, strength, fresh)
    if passes >= _PASSES:
        return _converge(problem, point, strength, fresh)
    return Progress("fit", point + step, fresh, Line(point, objective, step, decrement, 1.0), passes)


def _converge(problem: Problem, point: Float64, strength: float, fresh: Sums) -> Progress:
    return Progress("done" if problem.reach is None else "range", point, fresh, strength=strength)


def model_of(problem: Problem, progress: Progress) -> object:
    """Return the sample's model with the coefficients of all rows."""
    if progress.phase != "done":
        raise ValueError("passes of a refinement must be finished before its models are used; got one that is not.")
    fitted = replace(problem.model, coefficients=progress.point, strength=progress.strength)
    if problem.reach is None:
        return fitted
    return replace(fitted, low=progress.sums.low - problem.reach, high=progress.sums.high + problem.reach)
