"""What the number of rows rules out, before anything is fitted: each with the smallest setting that would do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from tasks.contract.errors import SourceError, SpecError, WaymintError
from tasks.contract.spec import Purpose, Spec

#: Gates that compare with training rows and holdout.
_DISTANCE = ("near_copies", "exact_copies", "closeness_z", "dcr_margin")
_LARGEST_HOLDOUT, _FEWEST_REFERENCE = 0.5, 20
#: Standard deviations of a size that is drawn (a holdout's, a simulated arm's): within them a setting may or may not do.
_DOUBT = 2.0
#: Rows of an arm in each fold of a simulated table.
_ROWS_PER_FOLD = 2
#: Most rows of a simulated table.
_LARGEST_TABLE = 100_000


def size_faults(spec: Spec, rows: int, arms: Mapping[str, int], purpose: Purpose = "release") -> tuple[WaymintError, ...]:
    """Return why a command on so many rows is bound to end without an answer.

    A release needs its smaller arm and its holdout. A comparison and added rows are judged against a holdout too. A simulation publishes
    no rows: its tables must hold both arms in every fold.

    Parameters
    ----------
    spec : Spec
    rows : int
        Rows with treatment and outcome, or the clusters that they come in.
    arms : mapping of str to int
        Rows of each treatment label.
    purpose : str
        The command.
    """
    if purpose == "simulate":
        return tuple(_table_fault(spec, size, arms) for size, certain in _short_tables(spec, arms) if certain)
    return (*(_arm_faults(spec, arms) if purpose == "release" else ()), *_holdout_faults(spec, rows))


def size_warnings(spec: Spec, rows: int, arms: Mapping[str, int], purpose: Purpose = "release") -> tuple[str, ...]:
    """Return what the number of rows may rule out by chance, and what a comparison leaves to the release.

    Parameters
    ----------
    spec : Spec
    rows : int
        Rows with treatment and outcome, or the clusters that they come in.
    arms : mapping of str to int
        Rows of each treatment label.
    purpose : str
        The command.
    """
    if purpose == "simulate":
        return tuple(_table_warning(spec, size, arms) for size, certain in _short_tables(spec, arms) if not certain)
    later = [f"A release will be refused: {fault}" for fault in _arm_faults(spec, arms)] if purpose == "compare" else []
    least = spec.gates.min_reference_rows
    expected, doubt = _drawn(rows, spec.source.holdout)
    if not _judged(spec) or expected - doubt >= least or expected + doubt < least:
        return tuple(later)
    return (
        *later,
        f"{_unit(spec)} of the holdout may fall below gates.min_reference_rows, {least}: {expected:.0f} of {rows:,} {_unit(spec)} "
        "are expected "
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
    expected, doubt = _drawn(rows, spec.source.holdout)
    if not _judged(spec) or expected + doubt >= least:
        return ()
    return (
        SourceError(
            f"{_unit(spec)} of the holdout must be at least {least} (gates.min_reference_rows); got about {expected:.0f} "
            f"of {rows:,} (source.holdout = {spec.source.holdout:g}).",
            _way_out(spec, rows),
        ),
    )


def _unit(spec: Spec) -> str:
    """Return what a holdout is drawn from."""
    return "rows" if spec.roles.cluster is None else "clusters"


def _drawn(rows: int, share: float) -> tuple[float, float]:
    """Return the expected size of a part that is drawn, and its doubt."""
    return rows * share, _DOUBT * math.sqrt(rows * share * (1.0 - share))


def _way_out(spec: Spec, rows: int) -> str:
    least = spec.gates.min_reference_rows
    shares = (step / 100 for step in range(5, int(100 * _LARGEST_HOLDOUT) + 1))
    share = next((one for one in shares if _surely(rows, one, least)), None)
    if share is not None:
        return f"Set source.holdout = {share:g}."
    expected, doubt = _drawn(rows, spec.source.holdout)
    fits = math.floor(expected - doubt)
    lower = (
        f"Set gates.min_reference_rows = {fits}, which makes the distance gates blunter, or bring" if fits >= _FEWEST_REFERENCE else "Bring"
    )
    needed = _first(lambda n: _surely(n, spec.source.holdout, least), rows, 100 * least + rows)
    return f"{lower} at least {needed:,} {_unit(spec)}."


def _surely(rows: int, share: float, least: int) -> bool:
    expected, doubt = _drawn(rows, share)
    return expected - doubt >= least


def _first(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """Return the least number that passes a test which larger ones pass too; None where the largest fails."""
    if not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return high


def _short_tables(spec: Spec, arms: Mapping[str, int]) -> Iterator[tuple[int, bool]]:
    """Yield the sizes of simulated tables whose smaller arm may not fill every fold, and whether that is certain."""
    least, share = _ROWS_PER_FOLD * spec.simulate.folds, _smallest_share(spec, arms)
    for size in spec.simulate.rows:
        expected, doubt = _drawn(size, share)
        if expected - doubt < least:
            yield size, expected + doubt < least


def _smallest_share(spec: Spec, arms: Mapping[str, int]) -> float:
    """Return the share of the smaller arm in a simulated table, the least over designs; tilted ones lie between the others."""
    treated = spec.mechanisms.probability
    shares = {"randomized": min(treated, 1.0 - treated), "fitted": min(arms.values()) / sum(arms.values())}
    return min((shares[design] for design in spec.simulate.designs if design in shares), default=0.5)


def _table_fault(spec: Spec, size: int, arms: Mapping[str, int]) -> SpecError:
    least, expected = _ROWS_PER_FOLD * spec.simulate.folds, size * _smallest_share(spec, arms)
    return SpecError(
        f"rows of the smaller arm of a simulated table must be at least {least} (simulate.folds = {spec.simulate.folds}); "
        f"got about {expected:.0f} of {size:,} (simulate.rows).",
        _larger_table(spec, size, arms),
    )


def _table_warning(spec: Spec, size: int, arms: Mapping[str, int]) -> str:
    least, expected = _ROWS_PER_FOLD * spec.simulate.folds, size * _smallest_share(spec, arms)
    return (
        f"simulated tables of {size:,} rows may have fewer than {least} rows in an arm, and such replicates fail: {expected:.0f} are "
        f"expected. {_larger_table(spec, size, arms)}"
    )


def _larger_table(spec: Spec, size: int, arms: Mapping[str, int]) -> str:
    share, least = _smallest_share(spec, arms), _ROWS_PER_FOLD * spec.simulate.folds
    needed = _first(lambda n: _surely(n, share, least), size, _LARGEST_TABLE)
    if needed is None:
        return "Simulate the design 'randomized' alone (simulate.designs)."
    return f"Set simulate.rows to {needed:,} or more."
