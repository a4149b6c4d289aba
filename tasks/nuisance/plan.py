"""The plan of a cross-fitting: folds, training rows and randomness, decided in one place for every way of carrying it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Float64, Int8, Learner, PartitionedLearner, StreamedLearner
from tasks.contract.rng import UInt64, rng_for
from tasks.nuisance.folds import FoldUnits, assign_parts, hash_limit, training_rows, within_limit

Mask = npt.NDArray[np.bool_]
#: Fewest rows that an arm must have per fold.
ARM_ROWS_PER_FOLD = 2
#: Name of a table that is no release: what users bring to ``waymint estimate``.
SOURCE = "source"


def release_name(copy: int) -> str:
    """Return the name under which one copy of a release is cross-fitted."""
    return f"release/copy-{copy}"


@dataclass(frozen=True)
class Plan:
    """How g and Q of one table are cross-fitted.

    Rows are identified by their keys alone: folds, training rows and their order are the same in any order of rows and any partitioning.
    Two cross-fittings of equal rows by equal plans give equal predictions, up to rounding, whether the rows are in memory, on disk or
    spread over tasks.

    Attributes
    ----------
    name : str
        Of the table; its random streams go by it.
    seed : int
        Decides folds, the sample of training rows, and the learner's own choices.
    folds : int
        K, at least 2.
    repeats : int
        Cross-fittings with other folds whose out-of-fold predictions are averaged.
    fit_rows : int, optional
        Most rows that a learner is fitted on in one fold: those with the smallest hashes of their keys.
    """

    name: str
    seed: int
    folds: int
    repeats: int = 1
    fit_rows: int | None = None

    def __post_init__(self) -> None:
        if self.folds < 2 or self.repeats < 1:
            raise EstimationError(
                f"folds of cross-fitting must be at least 2 and repeats at least 1; got {self.folds} and {self.repeats}.",
                "Use more rows, or other numbers.",
            )

    def assign(
        self,
        keys: UInt64,
        a: Int8,
        y: Float64,
        kind: str,
        repeat: int,
        clusters: UInt64 | None = None,
        strata: npt.NDArray[np.int64] | None = None,
    ) -> Int8:
        """Return the fold of each row in one repeat, shape (n,).

        Stratified by treatment, declared strata and, where binary, outcome; with clusters, whole clusters by the arm of most of their rows.
        """
        units = FoldUnits(keys, a, y, clusters, strata)
        return self.assign_parts(lambda: (units,), len(keys), kind, repeat)

    def assign_parts(self, parts: Callable[[], Iterable[FoldUnits]], rows: int, kind: str, repeat: int) -> Int8:
        """Do the same for a table of which a partition is in memory at a time; ``parts`` returns them in order."""
        return assign_parts(parts, rows, kind, self.folds, self.seed, repeat)

    def training(self, keys: UInt64, fold_of: Int8, fold: int, clusters: UInt64 | None = None) -> Mask:
        """Return which rows a fold's models are fitted on, shape (n,): rows of other folds, all or a hash sample of them.

        With clusters the sample is of whole clusters.
        """
        others = np.asarray(fold_of != fold, dtype=np.bool_)
        return others if self.fit_rows is None else training_rows(keys if clusters is None else clusters, others, self.fit_rows, self.seed)

    def training_limit(self, units: Iterable[UInt64]) -> int | None:
        """Return the largest hash of the units of a fold's training rows, partition by partition; None where all rows are taken."""
        return None if self.fit_rows is None else hash_limit(units, self.fit_rows, self.seed)

    def trains(self, units: UInt64, fold_of: Int8, fold: int, limit: int | None) -> Mask:
        """Return which rows of a partition a fold's models are fitted on, shape (n,), by :meth:`training_limit`."""
        return within_limit(units, np.asarray(fold_of != fold, dtype=np.bool_), limit, self.seed)

    def rng(self, repeat: int, fold: int) -> np.random.Generator:
        """Return the generator that the models of one fold are fitted with: g first, then Q."""
        return rng_for(self.seed, f"fit {self.name}", f"{repeat}/{fold}")

    def refines(self, learner: Learner, rows: int, arms: int = 2) -> bool:
        """Return whether a learner goes on from the sample its models were fitted on to all of so many rows; of two arms only."""
        return arms == 2 and isinstance(learner, PartitionedLearner) and self._samples(rows)

    def streams(self, learner: Learner, rows: int) -> bool:
        """Return whether a learner fits all of so many rows in batches, after the sample."""
        return isinstance(learner, StreamedLearner) and self._samples(rows)

    def _samples(self, rows: int) -> bool:
        """Return whether the training rows of a fold are more than ``fit_rows``."""
        return self.fit_rows is not None and rows * (self.folds - 1) > self.fit_rows * self.folds


def require_rows_per_fold(a: Int8, folds: int, arms: int = 2) -> None:
    """Refuse arms that are too small for so many folds.

    Parameters
    ----------
    a : ndarray of int8, shape (n,)
        Treatment, 0, ..., K - 1.
    folds : int
    arms : int
        K, where an arm may be empty.

    Raises
    ------
    EstimationError
        If an arm has fewer than two rows per fold.
    """
    counts = np.bincount(a, minlength=arms)
    smallest, least = int(counts.min()), ARM_ROWS_PER_FOLD * folds
    if smallest < least:
        raise EstimationError(
            f"rows of the {'smaller' if len(counts) == 2 else 'smallest'} arm must be at least {least} for {folds} folds; got {smallest}.",
            "Use fewer folds, or bring more rows.",
        )
