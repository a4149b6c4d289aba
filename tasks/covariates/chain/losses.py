"""What is boosted: losses and their derivatives."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from tasks.covariates.margins import Float64, Intp


class Loss(Protocol):
    """What is boosted: the loss of rows and its derivatives in the sum of trees."""

    def base(self, rows: Intp) -> Float64:
        """Return where the sum starts, shape (outputs,)."""
        ...

    def loss(self, rows: Intp, out: Float64) -> Float64:
        """Return each row's loss, shape (n,)."""
        ...

    def slopes(self, rows: Intp, out: Float64) -> tuple[Float64, Float64 | None]:
        """Return negative gradients (n, outputs), and curvatures of the same shape or None where they are all 1."""
        ...


class SquaredLoss(NamedTuple):
    """Squared error of numbers ``target`` (n,)."""

    target: Float64

    def base(self, rows: Intp) -> Float64:
        """Return the mean."""
        return np.array([self.target[rows].mean()])

    def loss(self, rows: Intp, out: Float64) -> Float64:
        """Return squared errors."""
        return np.asarray((self.target[rows] - out[:, 0]) ** 2)

    def slopes(self, rows: Intp, out: Float64) -> tuple[Float64, Float64 | None]:
        """Return residuals."""
        return (self.target[rows] - out[:, 0])[:, None], None


class SizeLoss(NamedTuple):
    """Laplace likelihood of sizes ``target`` (n,), the sum being the log of their scale: ``target exp(-s) + s``."""

    target: Float64

    def base(self, rows: Intp) -> Float64:
        """Return the log of the mean size."""
        return np.array([np.log(max(float(self.target[rows].mean()), 1e-12))])

    def loss(self, rows: Intp, out: Float64) -> Float64:
        """Return negative log likelihoods."""
        return np.asarray(self.target[rows] * np.exp(-out[:, 0]) + out[:, 0])

    def slopes(self, rows: Intp, out: Float64) -> tuple[Float64, Float64 | None]:
        """Return relative excess sizes; the expected curvature is 1."""
        return (np.minimum(self.target[rows] * np.exp(-out[:, 0]), 6.0) - 1.0)[:, None], None


class ClassLoss(NamedTuple):
    """Multinomial likelihood of classes ``target`` (n,) from 0; the sum holds logits, of the second class alone where there are two."""

    target: Intp
    classes: int

    def base(self, rows: Intp) -> Float64:
        """Return log shares, each class lent half a row."""
        shares = np.bincount(self.target[rows], minlength=self.classes) + 0.5
        logits = np.log(shares / shares.sum())
        return np.asarray(logits[1:] - logits[:1] if self.classes == 2 else logits)

    def loss(self, rows: Intp, out: Float64) -> Float64:
        """Return negative log likelihoods."""
        return np.asarray(-np.log(np.maximum(chances(out)[np.arange(len(rows)), self.target[rows]], 1e-12)))

    def slopes(self, rows: Intp, out: Float64) -> tuple[Float64, Float64 | None]:
        """Return indicators minus chances, and p (1 - p)."""
        chance = chances(out)
        hit = self.target[rows][:, None] == np.arange(self.classes)
        first = 1 if self.classes == 2 else 0
        return (hit - chance)[:, first:], (chance * (1 - chance))[:, first:]


def chances(out: Float64) -> Float64:
    """Turn logits (n, K), or those of the second of two classes (n, 1), into probabilities, shape (n, K)."""
    logits = np.column_stack([np.zeros(len(out)), out]) if out.shape[1] == 1 else out
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
