"""What a label of a SPEC means among a column's labels: one rule for every command."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

Label = str | int | float | bool

#: Two-valued answers that mean no and yes, folded; an outcome or a treatment of one of these pairs is read as 0 and 1.
PAIRS: tuple[tuple[str, str], ...] = (
    ("0", "1"),
    ("false", "true"),
    ("no", "yes"),
    ("n", "y"),
    ("f", "t"),
    ("nein", "ja"),
    ("n", "j"),
    ("non", "oui"),
    ("n", "o"),
    ("no", "sí"),
    ("no", "si"),
    ("no", "sì"),
    ("não", "sim"),
    ("nee", "ja"),
    ("nej", "ja"),
    ("nei", "ja"),
    ("ei", "kyllä"),
    ("nie", "tak"),
    ("ne", "ano"),
    ("ne", "da"),
    ("nu", "da"),
    ("нет", "да"),
    ("hayır", "evet"),
    ("否", "是"),
    ("いいえ", "はい"),
    ("off", "on"),
    ("absent", "present"),
    ("negative", "positive"),
    ("neg", "pos"),
    ("-", "+"),
    ("without", "with"),
    ("failure", "success"),
    ("unexposed", "exposed"),
    ("untreated", "treated"),
    ("control", "treated"),
    ("control", "treatment"),
    ("placebo", "treatment"),
    ("control", "case"),
    ("controls", "cases"),
)
#: Names of the arm that goes without, folded: the other of two labels is the treated one, whatever its name.
CONTROLS = frozenset(
    (
        "control", "controls", "control group", "ctrl", "ctl", "placebo", "sham", "untreated", "unexposed", "no treatment",
        "no intervention", "usual care", "standard care", "standard of care", "soc", "treatment as usual", "tau", "waitlist", "wait list",
        "waiting list", "kontrolle", "kontrollgruppe", "kontroll", "scheinbehandlung", "unbehandelt", "warteliste", "regelversorgung",
        "contrôle", "controle", "témoin", "temoin", "grupo control", "sin tratamiento", "controllo",
    )
)  # fmt: skip
_MEANINGS = {"true": 1.0, "false": 0.0}


#: Most arms of a treatment.
MOST_ARMS = 8


def label_order(label: str) -> tuple[bool, float, str]:
    """Return what labels are sorted by: numbers by value, before texts."""
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label


def label_text(value: Label) -> str:
    """Return a label of a SPEC as text: whole floats without ``.0``, booleans in lower case."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def match_label(wanted: Label, labels: Iterable[str]) -> str | None:
    """Find the label that a SPEC's value means.

    The first rule that finds exactly one label decides:

    1. the same text;
    2. the same text without surrounding blanks and in any case;
    3. the same number ("1", "1.0" and "01" are one number; true is 1 and false is 0);
    4. of a pair of ``PAIRS``, and of two labels of which one is that of ``CONTROLS``, 1 and true mean the second, 0 and false the first.

    Parameters
    ----------
    wanted : str, int, float or bool
        As the SPEC or an option says it.
    labels : iterable of str
        The column's labels as canonical texts.

    Returns
    -------
    str or None
        One of ``labels``; None where none or several are meant.
    """
    texts = list(labels)
    text = label_text(wanted)
    if text in texts:
        return text
    number = _number(text)
    folded = [label for label in texts if _folded(label) == _folded(text)]
    equal = [label for label in texts if number is not None and _number(label) == number]
    for meant in (folded, equal):
        if meant:
            return meant[0] if len(meant) == 1 else None
    pair = arms(texts)
    return None if pair is None or number not in (0.0, 1.0) else pair[int(number)]


def affirmative(labels: Iterable[str]) -> tuple[str, str] | None:
    """Return a column's two labels as (no, yes) where they are such a pair, else None.

    Parameters
    ----------
    labels : iterable of str
        The column's labels.
    """
    folded = {_folded(label): label for label in labels}
    if len(folded) != 2:
        return None
    numbers = {_number(label): label for label in folded.values()}
    if set(numbers) == {0.0, 1.0}:
        return numbers[0.0], numbers[1.0]
    return next(((folded[no], folded[yes]) for no, yes in PAIRS if set(folded) == {no, yes}), None)


def arms(labels: Iterable[str]) -> tuple[str, str] | None:
    """Return a treatment's two labels as (control, treated) where they say so, else None.

    Parameters
    ----------
    labels : iterable of str
        The column's labels.
    """
    texts = list(labels)
    controls = [label for label in texts if is_control(label)]
    if len(texts) != 2 or len(controls) != 1:
        return affirmative(texts)
    return controls[0], next(label for label in texts if label != controls[0])


def is_control(label: str) -> bool:
    """Return whether a label is a name of the arm that goes without."""
    return _folded(label) in CONTROLS


def listed_labels(labels: Mapping[str, int] | None, fewest: int = 5, most: int = 8) -> str:
    """Name the labels that at least ``fewest`` rows have, most frequent first; rarer ones stay unsaid.

    Parameters
    ----------
    labels : mapping of str to int, or None
        Labels with their rows; None where there are too many to be known.
    fewest, most : int
        Rows of a label that may be named; labels named at most.

    Returns
    -------
    str
        ``" ('a': 30 rows, 'b': 12 rows)"`` or an empty text.
    """
    shown = sorted(((text, rows) for text, rows in (labels or {}).items() if rows >= fewest), key=lambda one: (-one[1], one[0]))
    texts = [f"'{text}': {rows} rows" for text, rows in shown[:most]] + (["..."] if len(shown) > most else [])
    return f" ({', '.join(texts)})" if texts else ""


def _folded(text: str) -> str:
    return text.strip().casefold()


def _number(text: str) -> float | None:
    """Return the number that a label reads as; true is 1, false 0."""
    folded = _folded(text)
    if folded in _MEANINGS:
        return _MEANINGS[folded]
    try:
        value = float(folded)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
