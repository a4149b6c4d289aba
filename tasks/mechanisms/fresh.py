"""Fresh keys in place of ids: of the source's type and length, each once, none of the source's."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.contract.columns import CLUSTER, CLUSTER_NAME, SELF_WEIGHT, WEIGHT
from tasks.contract.rng import UInt64, mix, salt
from tasks.contract.roles import TableSchema
from tasks.source.sampled import cell_hashes

#: Most keys that are told apart by their code; positions of a text beyond it are filled at random.
_MOST = 2**62
#: Keys that a form must have for each one that is needed or taken.
_ROOM = 4
_ROUNDS = 6
_CLASSES = (string.digits, string.ascii_lowercase, string.ascii_uppercase)


class FreshKeys(NamedTuple):
    """The form of one column's fresh keys, and whether there is one for each cluster rather than for each row."""

    form: KeyForm
    by_cluster: bool


class KeyForm(NamedTuple):
    """What fresh keys of one column look like, and which are taken.

    Attributes
    ----------
    alphabets : tuple of str
        Characters of each position; one character is the same in every key.
    taken : ndarray of uint64, shape (m,)
        Codes of the source's keys of this form, ascending.
    exact : bool
        Whether keys are each used once and none is the source's; False where the type has too few values.
    name : str
        Id of the column: its keys are drawn apart from other columns'.
    """

    alphabets: tuple[str, ...]
    taken: UInt64
    exact: bool
    name: str

    @property
    def size(self) -> int:
        """Codes: keys that differ in the last positions, at most 2**62."""
        return _coded(self.alphabets)[1]

    def draw(self, numbers: UInt64, seed: int) -> list[str]:
        """Return the keys of some numbers.

        Keys are a bijection of their numbers onto the codes that are not taken, so that parts drawn apart share none.

        Parameters
        ----------
        numbers : ndarray of uint64, shape (n,)
            Of rows or clusters, counted through the whole release.
        seed : int
            The SPEC's seed.

        Returns
        -------
        list of str
        """
        free = self.size - len(self.taken)
        if not self.exact:
            codes = mix(numbers, salt(seed, "fresh key", self.name)) % np.uint64(self.size)
            return _texts(self.alphabets, codes, seed, self.name)
        places = _permuted(numbers, free, salt(seed, "fresh key", self.name))
        # the code number k among those not taken is k plus the taken ones before it
        before = np.searchsorted(self.taken - np.arange(len(self.taken), dtype=np.uint64), places, side="right")
        return _texts(self.alphabets, places + before.astype(np.uint64), seed, self.name)


def key_form(texts: Sequence[str], kind: pa.DataType, needed: int, name: str) -> KeyForm:
    """Learn the form of fresh keys from a source's.

    Whole numbers keep the number of digits that most have; texts keep their length, the characters that all share, and at each place
    the kinds of characters that occur there. Where such keys are too few for the release, digits are added.

    Parameters
    ----------
    texts : sequence of str
        The source's distinct keys.
    kind : pyarrow.DataType
        Of the column; of a dictionary the type of its words.
    needed : int
        Keys that the release needs.
    name : str
        Id of the column.

    Returns
    -------
    KeyForm
    """
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    whole = pa.types.is_integer(inner) or pa.types.is_decimal(inner)
    room = _ROOM * (needed + len(texts))
    most = _most_digits(inner) if whole else 10**6
    forms = [_number_form(length) for length, _ in Counter(len(text.lstrip("-")) for text in texts).most_common()] if whole else []
    forms = forms or [_text_form([text for text in texts if len(text) == length]) for length, _ in Counter(map(len, texts)).most_common()]
    form = next((one for one in forms if len(one) <= most and _coded(one)[1] >= room), None)
    if form is None:
        form = max(forms, key=len)[:most]
        while _coded(form)[1] < room and len(form) < most:
            form = (*form, string.digits)
    exact = _coded(form)[1] >= needed + len(texts)
    return KeyForm(form, _codes(form, texts) if exact else np.empty(0, dtype=np.uint64), exact, name)


def first_row(rows: int, part_rows: int, part: int) -> int:
    """Return how many rows of a copy come before one of its parts, which are as even as can be."""
    parts = -(-rows // part_rows)
    return part * (rows // parts) + min(part, rows % parts)


def with_keys(schema: TableSchema, table: pa.Table, keys: Mapping[str, FreshKeys], start: int, seed: int) -> pa.Table:
    """Give drawn rows fresh ids, the cluster's name and hash, and the weight of a row that stands for itself.

    Parameters
    ----------
    schema : TableSchema
    table : pyarrow.Table, n rows
        Canonical drawn rows; with clusters the column ``place``, their number from 0, which is taken out.
    keys : mapping of str to FreshKeys
        By column.
    start : int
        Rows of the whole release before these; clusters are counted from there on too, so that no two have one number.
    seed : int
        The SPEC's seed.
    """
    n = table.num_rows
    by_row = np.arange(start, start + n, dtype=np.uint64)
    by_cluster = by_row
    if "place" in table.column_names:
        by_cluster = np.uint64(start) + table.column("place").to_numpy().astype(np.uint64)
        table = table.drop_columns(["place"])
    for column_id, fresh in keys.items():
        texts = pa.array(fresh.form.draw(by_cluster if fresh.by_cluster else by_row, seed), pa.string())
        if schema.cluster is not None and column_id == schema.cluster.id:
            table = table.append_column(CLUSTER, pa.array(cell_hashes(texts))).append_column(CLUSTER_NAME, texts)
        else:
            table = table.append_column(column_id, texts)
    return table if schema.weight is None else table.append_column(WEIGHT, pa.array(np.full(n, SELF_WEIGHT)))


def _number_form(length: int) -> tuple[str, ...]:
    """Return the form of whole numbers of so many digits: no zero ahead."""
    return (string.digits[1:], *[string.digits] * (length - 1))


def _text_form(texts: Sequence[str]) -> tuple[str, ...]:
    """Return at each place the one character that all texts have there, or every character of the kinds that occur."""
    alphabets = []
    for place in range(len(texts[0])):
        seen = {text[place] for text in texts}
        if len(seen) == 1 and not seen <= set(string.digits):
            alphabets.append(seen.pop())
            continue
        hexadecimal = seen <= set("0123456789abcdef") and seen & set(string.digits) and seen & set("abcdef")
        kinds = ["0123456789abcdef"] if hexadecimal else [one for one in _CLASSES if seen & set(one)]
        alphabets.append("".join(kinds) + "".join(sorted(seen - set("".join(kinds)))))
    return tuple(alphabets)


def _most_digits(kind: pa.DataType) -> int:
    """Return the number of digits of which every number fits a type of whole numbers."""
    if pa.types.is_decimal(kind):
        return int(kind.precision - kind.scale)
    return len(str(np.iinfo(kind.to_pandas_dtype()).max)) - 1


def _coded(alphabets: Sequence[str]) -> tuple[int, int]:
    """Return the first place that counts for a key's code, and how many codes there are."""
    size, first = 1, len(alphabets)
    while first and size * len(alphabets[first - 1]) <= _MOST:
        first -= 1
        size *= len(alphabets[first])
    return first, size


def _codes(alphabets: tuple[str, ...], texts: Sequence[str]) -> UInt64:
    """Return the distinct codes of texts of this form, ascending."""
    first, _ = _coded(alphabets)
    places = [{char: number for number, char in enumerate(alphabet)} for alphabet in alphabets]
    codes = set()
    for text in texts:
        if len(text) == len(alphabets) and all(char in place for char, place in zip(text, places, strict=True)):
            code = 0
            for char, place in zip(text[first:], places[first:], strict=True):
                code = code * len(place) + place[char]
            codes.add(code)
    return np.array(sorted(codes), dtype=np.uint64)


def _permuted(numbers: UInt64, size: int, key: int) -> UInt64:
    """Permute numbers below ``size``.

    A Feistel network over the next power of 4, walked until it lands below (Black, Rogaway 2002, doi:10.1007/3-540-45760-7_9).
    """
    half = max(1, -(-max(size - 1, 1).bit_length() // 2))
    mask, shift = np.uint64((1 << half) - 1), np.uint64(half)
    result = numbers.copy()
    waiting = np.arange(len(numbers))
    while len(waiting):
        left, right = result[waiting] >> shift, result[waiting] & mask
        for turn in range(_ROUNDS):
            left, right = right, left ^ (mix(right, salt(key, turn)) & mask)
        result[waiting] = (left << shift) | right
        waiting = waiting[result[waiting] >= np.uint64(size)]
    return result


def _texts(alphabets: tuple[str, ...], codes: UInt64, seed: int, name: str) -> list[str]:
    """Write codes as texts; places before the coded ones are filled at random."""
    first, _ = _coded(alphabets)
    columns: list[npt.NDArray[np.str_]] = []
    rest = codes.copy()
    for alphabet in reversed(alphabets[first:]):
        rest, digit = np.divmod(rest, np.uint64(len(alphabet)))
        columns.append(np.array(list(alphabet))[digit.astype(np.intp)])
    for place in range(first - 1, -1, -1):
        digit = mix(codes, salt(seed, "fresh key", name, place)) % np.uint64(len(alphabets[place]))
        columns.append(np.array(list(alphabets[place]))[digit.astype(np.intp)])
    joined = np.column_stack(columns[::-1]) if columns else np.empty((len(codes), 0), dtype="<U1")
    return ["".join(row) for row in joined.tolist()]
