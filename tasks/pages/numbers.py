"""Numbers and times as people read them."""

from __future__ import annotations

import math
from datetime import datetime

MINUS = "−"
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def number(value: object, digits: int = 3) -> str:
    """Write a number with some significant digits, thousands separated; a dash for what is not there."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return signed(f"{int(value):,}")
    size = math.floor(math.log10(abs(value)))
    if size >= 15 or size < -4:
        return signed(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - size)
    text = f"{value:,.{decimals}f}"
    return signed(text.rstrip("0").rstrip(".") if decimals else text)


def decimals_of(error: float | None) -> int:
    """Return how many decimals a number with this standard error deserves: two digits of the error."""
    if error is None or not math.isfinite(error) or error <= 0.0:
        return 3
    return min(max(1 - math.floor(math.log10(error)), 0), 12)


def fixed(value: float | None, decimals: int) -> str:
    """Write a number with so many decimals; a dash for what is not there."""
    return "–" if value is None or not math.isfinite(value) else signed(f"{value:,.{decimals}f}")


def interval(low: float | None, high: float | None, decimals: int) -> str:
    """Write an interval; a dash for what is not there."""
    return "–" if low is None or high is None else f"{fixed(low, decimals)} to {fixed(high, decimals)}"


def percent(share: float | None, decimals: int | None = None) -> str:
    """Write a share in percent: with so many decimals, or small ones with one and others with none."""
    if share is None or not math.isfinite(share):
        return "–"
    hundredths = 100.0 * share
    if 0.0 < abs(hundredths) < 0.05:
        return "< 0.1 %"
    if decimals is not None:
        return f"{signed(f'{hundredths:.{decimals}f}')} %"
    return f"{signed(f'{hundredths:.1f}'.removesuffix('.0') if abs(hundredths) < 10 else f'{hundredths:.0f}')} %"


def signed(text: str) -> str:
    """Write minus as minus, and zero without one."""
    if not text.startswith("-"):
        return text
    return MINUS + text[1:] if text.strip("-0.,") else text[1:]


def moment(created: str) -> str:
    """Write an ISO 8601 time; what is none stays as it is."""
    try:
        at = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M} UTC"


def count(value: int) -> str:
    """Write a whole number with its thousands separated."""
    return signed(f"{value:,}")


def plural(value: int, one: str, many: str = "") -> str:
    """Write a whole number with its noun: 1 row, 2 rows."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def seconds(value: float | None) -> str:
    """Write seconds, with decimals where they are few."""
    return "–" if value is None else fixed(value, 2 if value < 10 else 1 if value < 100 else 0)
