"""Means over seeds with their Monte-Carlo errors."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict


class Spread(BaseModel):
    """A mean over seeds.

    Attributes
    ----------
    mean : float
    mcse : float or None
        Monte-Carlo standard error, sd / sqrt(seeds); None where there is one seed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    mcse: float | None


def spread(values: Iterable[float | None]) -> Spread | None:
    """Return mean and Monte-Carlo error of the numbers that are known; None where none is."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return None
    mean = math.fsum(finite) / len(finite)
    if len(finite) == 1:
        return Spread(mean=mean, mcse=None)
    variance = math.fsum((value - mean) ** 2 for value in finite) / (len(finite) - 1)
    return Spread(mean=mean, mcse=math.sqrt(variance / len(finite)))
