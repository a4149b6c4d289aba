"""What the number of rows rules out, before anything is fitted: each with the smallest setting that would do."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tasks.contract.errors import SourceError
from tasks.contract.spec import Spec

#: Gates that compare with training rows and holdout.
_DISTANCE = ("near_copies", "exact_copies", "closeness_z", "dcr_margin")
_LARGEST_HOLDOUT, _FEWEST_REFERENCE = 0.5, 20
#: Standard deviations of the holdout's size, which is drawn by hash: within them a setting may or may not do.
_DOUBT = 2.0


def size_faults(spec: Spec, rows: int, arms: Mapping[str, int]) -> tuple[SourceError, ...]:
    """Return why a release of so many rows is bound to be rejected.

    Parameters
    ----------
    spec : Spec
    rows : int
        Rows with treatment and outcome.
    arms : mapping of str to int
        Rows of each treatment label.
    """
    return (*_arm_faults(spec, arms), *_holdout_faults(spec, rows))


def size_warnings(spec: Spec, rows: int) -> tuple[str, ...]:
    """Return what the number of rows may rule out, by the chance of the split."""
    least = spec.gates.min_reference_rows
    expected, doubt = _holdout(rows, spec.source.holdout)
    if not _judged(spec) or expected - doubt >= least or expected + doubt < least:
        return ()
    return (
        f"rows of the holdout may fall below gates.min_reference_rows, {least}: {expected:.0f} of {rows:,} rows are expected "
        f"(source.holdout = {spec.source.holdout:g}). {_way_out(spec, rows)}",
    )


def _judged(spec: Spec) -> bool:
    return any(getattr(spec.gates, name) is not False for name in _DISTANCE)


def _arm_faults(spec: Spec, arms: Mapping[str, int]) -> tuple[SourceError, ...]:
    least, smallest = spec.gates.min_arm, min(arms.values())
    if least is False or smallest >= least:
        return ()
    return (
        SourceError(
            f"rows of the smaller arm must be at least {least} (gates.min_arm); got {smallest}.",
            f"Bring more rows of that arm, or set gates.min_arm = {smallest} and read its effects with care.",
        ),
    )


def _holdout_faults(spec: Spec, rows: int) -> tuple[SourceError, ...]:
    least = spec.gates.min_reference_rows
    expected, doubt = _holdout(rows, spec.source.holdout)
    if not _judged(spec) or expected + doubt >= least:
        return ()
    return (
        SourceError(
            f"rows of the holdout must be at least {least} (gates.min_reference_rows); got about {expected:.0f} "
            f"of {rows:,} (source.holdout = {spec.source.holdout:g}).",
            _way_out(spec, rows),
        ),
    )


def _holdout(rows: int, share: float) -> tuple[float, float]:
    """Return the expected size of the holdout and its doubt."""
    return rows * share, _DOUBT * math.sqrt(rows * share * (1.0 - share))


def _way_out(spec: Spec, rows: int) -> str:
    least = spec.gates.min_reference_rows
    shares = (step / 100 for step in range(5, int(100 * _LARGEST_HOLDOUT) + 1))
    share = next((one for one in shares if _holdout(rows, one)[0] - _holdout(rows, one)[1] >= least), None)
    if share is not None:
        return f"Set source.holdout = {share:g}."
    expected, doubt = _holdout(rows, spec.source.holdout)
    fits = math.floor(expected - doubt)
    lower = (
        f"Set gates.min_reference_rows = {fits}, which makes the distance gates blunter, or bring" if fits >= _FEWEST_REFERENCE else "Bring"
    )
    needed = next(
        n for n in range(rows, 100 * least + rows) if _holdout(n, spec.source.holdout)[0] - _holdout(n, spec.source.holdout)[1] >= least
    )
    return f"{lower} at least {needed:,} rows."
