"""What texts of a column say of the marks of its numbers and the order of its dates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from tasks.source.dialect import BLANKS, parsed_dates

_NUMBER = re.compile(rf"[+-]?[0-9{BLANKS}.,'’]*[0-9][0-9{BLANKS}.,'’]*(?:[eE][+-]?[0-9]+)?")
_GROUPED = re.compile(rf"[+-]?[1-9][0-9]{{0,2}}(?:(?P<mark>[{BLANKS}.,'’])[0-9]{{3}})(?:(?P=mark)[0-9]{{3}})*(?:(?P<decimal>[.,])[0-9]*)?")
_SIMPLE = re.compile(r"[+-]?[0-9]*(?P<mark>[.,])?[0-9]*(?:[eE][+-]?[0-9]+)?")
_DATE = re.compile(r"(\d{1,4})([./-])(\d{1,2})\2(\d{4}|\d{2}|\d)(?:[ T]+(\d{1,2}:\d{2})(:\d{2})?(\s?[AaPp]\.?[Mm]\.?)?)?")
#: Formats with names of months: as people, spreadsheets and SAS write them.
_NAMED_MONTHS = ("%d-%b-%Y", "%d %b %Y", "%d%b%Y", "%d. %b %Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%d %B %Y", "%d. %B %Y")
_SHARE = 0.9


class NumberClues(NamedTuple):
    """What a column's numbers show.

    Attributes
    ----------
    share : float
        Share of cells that are numbers in one dialect or another.
    comma, point : bool
        Whether the mark stands in a cell where it can only be a decimal mark ("0,5", "1.25").
    groups : frozenset of str
        Marks that stand between groups of three digits, where they may be a decimal mark too ("1,234").
    """

    share: float
    comma: bool
    point: bool
    groups: frozenset[str]


def number_clues(cells: Sequence[str]) -> NumberClues:
    """Return what a column's cells show of decimal mark and thousands.

    Parameters
    ----------
    cells : sequence of str
        Trimmed, missing ones left out.
    """
    numbers, decimals, groups = 0, set(), set()
    for cell in cells:
        if _NUMBER.fullmatch(cell) is None:
            continue
        if (grouped := _GROUPED.fullmatch(cell)) is not None:
            mark, decimal = grouped["mark"], grouped["decimal"]
            if decimal == mark:
                continue
            groups.add("'" if mark == "’" else " " if mark in BLANKS else mark)
            decimals |= {decimal} if decimal else set()
        elif (simple := _SIMPLE.fullmatch(cell)) is not None:
            decimals |= {simple["mark"]} if simple["mark"] else set()
        else:
            continue
        numbers += 1
    return NumberClues(numbers / len(cells) if cells else 0.0, "," in decimals, "." in decimals, frozenset(groups))


def date_format(cells: Sequence[str]) -> str:
    """Return the format of a column of dates that are not ISO 8601.

    Parameters
    ----------
    cells : sequence of str
        Trimmed, missing ones left out.

    Returns
    -------
    str
        A format of ``strptime``; empty where the column holds no such dates; ``"ambiguous"`` where day and month can't be told apart.
    """
    distinct = list(dict.fromkeys(cells))
    matches = [match for cell in distinct if (match := _DATE.fullmatch(cell)) is not None]
    if not distinct or len(matches) < _SHARE * len(distinct):
        return _named_months(distinct)
    mark = matches[0][2]
    if any(match[2] != mark for match in matches):
        return ""
    order = _order(matches, mark)
    if order in ("", "ambiguous"):
        return order
    clock = _clock(matches)
    if order == "%Y-%m-%d" and _iso(matches):
        return ""
    form = order + clock
    read = parsed_dates(pa.array(distinct, pa.string()), form)
    return form if len(distinct) - read.null_count >= _SHARE * len(distinct) else ""


def _order(matches: Sequence[re.Match[str]], mark: str) -> str:
    first, second, last = ([match[group] for match in matches] for group in (1, 3, 4))
    if all(len(text) == 4 for text in first):
        return mark.join(("%Y", "%m", "%d"))
    if any(len(text) > 2 for text in first):
        return ""
    years = {len(text) for text in last}
    if years not in ({4}, {2}):
        return ""
    year = "%Y" if years == {4} else "%y"
    above = [any(int(text) > 12 for text in part) for part in (first, second)]
    if all(above):
        return ""
    if year == "%y" and mark != "." and not above[1] and not any(int(text) > 31 for text in last):
        return "ambiguous"  # the year may stand first
    if mark == "." or above[0]:  # with points the day comes first wherever they are used
        return "" if above[1] else mark.join(("%d", "%m", year))
    return mark.join(("%m", "%d", year)) if above[1] else "ambiguous"


def _clock(matches: Sequence[re.Match[str]]) -> str:
    timed = [match for match in matches if match[5]]
    if len(timed) < len(matches):
        return ""
    seconds = ":%S" if all(match[6] for match in timed) else ""
    if all(match[7] for match in timed):
        return f" %I:%M{seconds} %p"
    return f" %H:%M{seconds}"


def _iso(matches: Sequence[re.Match[str]]) -> bool:
    return all(len(match[3]) == 2 and len(match[4]) == 2 for match in matches)


def _named_months(distinct: Sequence[str]) -> str:
    if not distinct or not any(character.isalpha() for character in distinct[0]) or len(distinct[0]) > 24:
        return ""
    some = pa.array(distinct[:200], pa.string())
    for form in _NAMED_MONTHS:
        if len(some) - parsed_dates(some, form).null_count >= _SHARE * len(some):
            return form
    return ""
