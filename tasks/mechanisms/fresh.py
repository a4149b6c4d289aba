"""Fresh keys in place of ids: of the source's type and length, each once, none of the source's."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.contract.columns import CLUSTER, CLUSTER_NAME, SELF_WEIGHT, WEIGHT
from tasks.contract.rng import UInt64, mix, salt
from tasks.contract.roles import TableSchema
from tasks.numerics.distinct import Distinct
from tasks.source.sampled import cell_hashes, text_hashes

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
    total : int
        The source's distinct keys.
    """

    alphabets: tuple[str, ...]
    taken: UInt64
    exact: bool
    name: str
    total: int

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


def key_form(blocks: Callable[[], Iterable[pa.Array]], kind: pa.DataType, needed: int, name: str) -> KeyForm:
    """Learn the form of fresh keys from a source's.

    Whole numbers keep the number of digits that most have; texts keep their length, the characters that all share, and at each place
    the kinds of characters that occur there. Where such keys are too few for the release, digits are added. One block of the source's
    keys is in memory at a time, and eight bytes of each distinct one.

    Parameters
    ----------
    blocks : callable
        Starts to go over the source's keys: arrays of texts without null.
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
    shapes: dict[int, _Shape] = {}
    for texts in blocks():
        for length, alike in _by_length(pc.utf8_ltrim(texts, "-") if whole else texts):
            shapes.setdefault(length, _Shape(length)).add(alike)
    total = sum(len(shape.hashes) for shape in shapes.values())
    room = _ROOM * (needed + total)
    most = _most_digits(inner) if whole else 10**6
    common = sorted(shapes.values(), key=lambda shape: (-len(shape.hashes), len(shape.letters)))
    forms = [_number_form(len(shape.letters)) if whole else _text_form(shape.letters) for shape in common]
    form = next((one for one in forms if len(one) <= most and _coded(one)[1] >= room), None)
    if form is None:
        form = max(forms, key=len)[:most]
        while _coded(form)[1] < room and len(form) < most:
            form = (*form, string.digits)
    exact, taken = _coded(form)[1] >= needed + total, Distinct()
    for texts in blocks() if exact else ():
        for length, alike in _by_length(texts):
            if length == len(form):
                taken.add(_codes(form, _letters(alike, length)))
    return KeyForm(form, taken.values(), exact, name, total)


class _Shape:
    """Keys of one length: how many different ones there are, and the characters of each place."""

    def __init__(self, length: int) -> None:
        self.hashes = Distinct()
        self.letters: list[set[str]] = [set() for _ in range(length)]

    def add(self, texts: pa.Array) -> None:
        self.hashes.add(text_hashes(texts))
        for seen, column in zip(self.letters, _letters(texts, len(self.letters)).T, strict=True):
            seen.update(map(chr, np.flatnonzero(np.bincount(column))))


def _by_length(texts: pa.Array) -> Iterable[tuple[int, pa.Array]]:
    """Yield the texts of each length."""
    lengths = pc.utf8_length(texts)
    return ((length, texts.filter(pc.equal(lengths, length))) for length in sorted(lengths.unique().to_pylist()))


def _letters(texts: pa.Array, length: int) -> npt.NDArray[np.uint32]:
    """Return the characters of texts of one length by their numbers, shape (n, length)."""
    if not length:
        return np.empty((len(texts), 0), dtype=np.uint32)
    return np.array(texts.to_pylist(), dtype=f"<U{length}").view(np.uint32).reshape(-1, length)


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


def _text_form(letters: Sequence[set[str]]) -> tuple[str, ...]:
    """Return at each place the one character that all texts have there, or every character of the kinds that occur."""
    alphabets: list[str] = []
    for seen in letters:
        if len(seen) == 1 and not seen <= set(string.digits):
            alphabets.extend(seen)
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


def _codes(alphabets: tuple[str, ...], letters: npt.NDArray[np.uint32]) -> UInt64:
    """Return the codes of those texts that are of this form."""
    first, _ = _coded(alphabets)
    codes, fits = np.zeros(len(letters), dtype=np.uint64), np.ones(len(letters), dtype=bool)
    for place, (alphabet, column) in enumerate(zip(alphabets, letters.T, strict=True)):
        points = list(map(ord, alphabet))
        digits = np.full(max(points) + 2, -1)  # the last one stands for all characters beyond
        digits[points] = np.arange(len(points))
        digit = digits[np.minimum(column, len(digits) - 1)]
        fits &= digit >= 0
        if place >= first:
            codes = codes * np.uint64(len(alphabet)) + digit.astype(np.uint64)
    return codes[fits]


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
