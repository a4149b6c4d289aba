"""Grids of instants: days, hours, quarter hours, months."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

Float64 = npt.NDArray[np.float64]
_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
DAY = 24 * 60 * _MINUTE
# unit: fewest distinct values that can show it; rough grids are met by chance
_UNITS = {
    7 * DAY: 8, DAY: 4, 12 * 60 * _MINUTE: 8, 6 * 60 * _MINUTE: 8, 60 * _MINUTE: 4, 30 * _MINUTE: 6, 15 * _MINUTE: 6, 10 * _MINUTE: 8,
    5 * _MINUTE: 8, _MINUTE: 4, _SECOND: 3, 1000: 3,
}  # fmt: skip
_MONTHS = (12, 6, 3, 1)
_FEWEST_MONTHS = 6
_NAMES = {7 * DAY: "weeks", DAY: "days", 60 * _MINUTE: "hours", 15 * _MINUTE: "quarter hours", _MINUTE: "minutes", _SECOND: "seconds"}


class Grid(NamedTuple):
    """Evenly spaced instants, on the clock or in the calendar.

    Attributes
    ----------
    unit : int
        Microseconds; months where ``calendar`` is not "".
    offset : int
        The first instant at or after 1970 (microseconds), or the first month (months since January 1970).
    calendar : str
        ``"start"`` or ``"end"``: the first or last day of a month at midnight.
    zone : str or None
        The time zone whose wall clock shows the grid; None for UTC.
    """

    unit: int
    offset: int
    calendar: Literal["", "start", "end"] = ""
    zone: str | None = None

    def __str__(self) -> str:
        if self.calendar:
            return f"month {self.calendar}s"
        return _NAMES.get(self.unit, f"steps of {self.unit / _SECOND:g} seconds")

    def number(self, values: Float64) -> Float64:
        """Return the number of the nearest instant of the grid for each instant (microseconds); NaN stays NaN."""
        if not self.calendar:
            return np.rint((_local(values, self.zone) - self.offset) / self.unit)
        below = np.floor(self._position(values))
        with np.errstate(invalid="ignore"):
            return below + (values - self.instants(below) > self.instants(below + 1) - values)

    def instants(self, index: Float64) -> Float64:
        """Return the instants (microseconds) of numbers of the grid; NaN stays NaN."""
        if not self.calendar:
            return _instants(index * self.unit + self.offset, self.zone)
        present = ~np.isnan(index)
        months = np.where(present, index, 0).astype(np.int64) * self.unit + self.offset + (self.calendar == "end")
        starts = months.astype("M8[M]").astype("M8[us]").astype(np.int64) - DAY * (self.calendar == "end")
        return _instants(np.where(present, starts.astype(np.float64), np.nan), self.zone)

    def downward(self, values: Float64) -> Float64:
        """Return the last instants of the grid that are not after the given ones."""
        nearest = self.number(values)
        with np.errstate(invalid="ignore"):
            return self.instants(nearest - (self.instants(nearest) > values))

    def upward(self, values: Float64) -> Float64:
        """Return the first instants of the grid that are not before the given ones."""
        nearest = self.number(values)
        with np.errstate(invalid="ignore"):
            return self.instants(nearest + (self.instants(nearest) < values))

    def holds(self, values: Float64) -> bool:
        """Return whether all known instants lie on the grid."""
        present = values[~np.isnan(values)]
        return bool((self.instants(self.number(present)) == present).all())

    def shows(self, values: Float64) -> npt.NDArray[np.bool_]:
        """Return which instants the wall clock shows on the grid, shape (n,); the hour that a clock shows twice counts both times."""
        if self.calendar:
            return np.asarray(self.instants(self.number(values)) == values)
        return np.asarray((_local(values, self.zone) - self.offset) % self.unit == 0)

    def _position(self, values: Float64) -> Float64:
        """Return months since the first one of the grid, in units of the grid, fractions within a month left out."""
        local = _local(values, self.zone) + (DAY if self.calendar == "end" else 0)
        present = ~np.isnan(local)
        months = np.where(present, local, 0).astype(np.int64).astype("M8[us]").astype("M8[M]").astype(np.int64) - (self.calendar == "end")
        return np.where(present, np.floor((months - self.offset) / self.unit), np.nan)


def fit_grid(values: Float64, zone: str | None) -> Grid | None:
    """Find the roughest grid that holds all instants.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Microseconds since 1970 UTC; NaN where missing.
    zone : str or None
        Time zone of the column.

    Returns
    -------
    Grid or None
        None where no grid above the microsecond holds them.
    """
    local = np.unique(_local(values[~np.isnan(values)], zone)).astype(np.int64)
    if not len(local):
        return None
    return _month_grid(local, zone) or next(
        (
            Grid(unit, int(local[0] % unit), zone=zone)
            for unit, fewest in _UNITS.items()
            if len(local) >= fewest and ((local - local[0]) % unit == 0).all()
        ),
        None,
    )


def _month_grid(local: npt.NDArray[np.int64], zone: str | None) -> Grid | None:
    if len(local) < _FEWEST_MONTHS:
        return None
    for calendar in ("start", "end"):
        shifted = local + (DAY if calendar == "end" else 0)
        months = shifted.astype("M8[us]").astype("M8[M]")
        if (months.astype("M8[us]").astype(np.int64) == shifted).all():
            number = months.astype(np.int64) - (calendar == "end")
            unit = next(unit for unit in _MONTHS if ((number - number[0]) % unit == 0).all())
            return Grid(unit, int(number[0] % unit), "start" if calendar == "start" else "end", zone)
    return None


def _local(values: Float64, zone: str | None) -> Float64:
    """Return what a zone's wall clock shows, in microseconds."""
    if zone is None or zone == "UTC":
        return values
    present = ~np.isnan(values)
    stamps = pd.DatetimeIndex(np.where(present, values, 0).astype(np.int64).astype("M8[us]")).tz_localize("UTC")
    local = stamps.tz_convert(zone).tz_localize(None).to_numpy().astype("M8[us]").astype(np.int64)
    return np.where(present, local.astype(np.float64), np.nan)


def _instants(local: Float64, zone: str | None) -> Float64:
    """Return the instants at which a zone's wall clock shows given microseconds; a time that is skipped becomes the next one."""
    if zone is None or zone == "UTC":
        return local
    present = ~np.isnan(local)
    stamps = pd.DatetimeIndex(np.where(present, local, 0).astype(np.int64).astype("M8[us]"))
    there = stamps.tz_localize(zone, ambiguous=np.zeros(len(stamps), dtype=bool), nonexistent="shift_forward").tz_convert("UTC")
    return np.where(present, there.tz_localize(None).to_numpy().astype("M8[us]").astype(np.int64).astype(np.float64), np.nan)
