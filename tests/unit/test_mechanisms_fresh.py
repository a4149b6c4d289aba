"""Fresh keys: of the source's type and length, each once, none of the source's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.contract.rng import UInt64
from tasks.mechanisms.fresh import KeyForm, key_form

TEXTS = [f"P-{number:05d}" for number in range(1, 2001)]


def numbers(start: int, n: int) -> UInt64:
    return np.arange(start, start + n, dtype=np.uint64)


def form_of(texts: Sequence[str], kind: pa.DataType, needed: int, name: str, block: int = 700) -> KeyForm:
    """Learn the form of keys that come in blocks, in which some come again."""
    blocks = [pa.array(texts[max(start - 5, 0) : start + block]) for start in range(0, len(texts), block)]
    return key_form(lambda: blocks, kind, needed, name)


def test_numbers_keep_their_digits_and_none_is_the_sources() -> None:
    source = [str(number) for number in range(10_000, 13_000)]
    keys = form_of(source, pa.int64(), 5_000, "i0").draw(numbers(0, 5_000), seed=1)
    assert {len(key) for key in keys} == {5}
    assert len(set(keys)) == 5_000
    assert not set(keys) & set(source)


def test_texts_keep_their_length_and_what_all_share() -> None:
    keys = form_of(TEXTS, pa.string(), 3_000, "i0").draw(numbers(0, 3_000), seed=1)
    assert {len(key) for key in keys} == {7}
    assert {key[:2] for key in keys} == {"P-"}
    assert len(set(keys)) == 3_000
    assert not set(keys) & set(TEXTS)


def test_parts_drawn_apart_are_those_drawn_together() -> None:
    form = form_of(TEXTS, pa.string(), 1_000, "i0")
    assert form.draw(numbers(0, 400), 7) + form.draw(numbers(400, 600), 7) == form.draw(numbers(0, 1_000), 7)
    assert form.draw(numbers(0, 100), 7) != form.draw(numbers(0, 100), 8)


def test_digits_are_added_where_keys_of_that_length_are_too_few() -> None:
    source = [str(number) for number in range(1, 100)]
    keys = form_of(source, pa.int64(), 1_000, "i0").draw(numbers(0, 1_000), seed=1)
    assert len(set(keys)) == 1_000
    assert not set(keys) & set(source)
    assert {len(key) for key in keys} == {4}


def test_a_type_with_too_few_values_gives_random_ones_that_fit() -> None:
    source = [str(number) for number in range(100)]
    form = form_of(source, pa.int8(), 1_000, "i0")
    assert not form.exact
    assert {len(key) for key in form.draw(numbers(0, 1_000), seed=1)} == {2}
    pa.array(form.draw(numbers(0, 1_000), seed=1)).cast(pa.int8())


def test_long_keys_keep_their_alphabet() -> None:
    source = [f"{number * 2654435761 % 2**64:016x}{number * 40503 % 2**64:016x}" for number in range(1, 300)]
    keys = form_of(source, pa.string(), 500, "i0").draw(numbers(0, 500), seed=3)
    assert {len(key) for key in keys} == {32}
    assert set("".join(keys)) <= set("0123456789abcdef")
    assert len(set(keys)) == 500
    assert not set(keys) & set(source)


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 9_999), min_size=1, max_size=300), st.integers(1, 400), st.integers(0, 2**31))
def test_keys_are_never_the_sources_and_never_twice(source: set[int], needed: int, seed: int) -> None:
    texts = [str(number) for number in sorted(source)]
    form = form_of(texts, pa.int32(), needed, "i1")
    keys = form.draw(numbers(0, needed), seed)
    assert form.exact
    assert len(set(keys)) == needed
    assert not set(keys) & set(texts)
    assert all(key[0] != "0" for key in keys)


def test_the_form_is_the_same_however_keys_are_cut() -> None:
    """A reduction: blocks in any order and of any size; keys that are not of the form are none of the taken."""
    source = [*TEXTS, *(f"Q{number}" for number in range(50)), "päf-002"]
    whole = form_of(source, pa.string(), 3_000, "i0", block=10_000)
    assert len(whole.taken) == len(TEXTS) + 1
    assert whole.total == len(source)
    for block in (1, 64, 999):
        cut = form_of(source[::-1], pa.string(), 3_000, "i0", block)
        assert cut.alphabets == whole.alphabets
        assert np.array_equal(cut.taken, whole.taken)
        assert cut.total == whole.total


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string())])
def test_mixed_lengths_take_the_most_common_one_with_room(kind: pa.DataType) -> None:
    source = [f"AB{number}" for number in range(100, 1_000)] + ["AB1"]
    keys = form_of(source, kind, 50, "i0").draw(numbers(0, 50), seed=1)
    assert {len(key) for key in keys} == {6}  # 1,000 keys of that length are too few beside 900 taken
    assert not set(keys) & set(source)
