from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.data import raw_ids
from recoder.data.raw_ids import number_ids, numbers_of

# no lone surrogates: they are no Unicode text and have no UTF-8 form
characters = st.characters(exclude_categories=["Cs"])
texts = st.one_of(
    st.sampled_from(["", "a", "a\0", "\0", "user_000001", "user_000002", "twelve bytes", "thirteen byte", "é" * 6]),
    st.text(characters, max_size=40),
)
KINDS = {
    "string": lambda values: pa.array(values, pa.string()),
    "large_string": lambda values: pa.array(values, pa.large_string()),
    "string_view": lambda values: pa.array(values, pa.string_view()),
    "dictionary": lambda values: pa.array(values, pa.string()).dictionary_encode(),
    "slice": lambda values: pa.array(["before", *values, "behind, a long one"], pa.string())[1:-1],
    "large slice": lambda values: pa.array(["before", *values, "behind, a long one"], pa.large_string())[1:-1],
    "view slice": lambda values: pa.array(["before", *values, "behind, a long one"], pa.string_view())[1:-1],
    "chunks": lambda values: pa.chunked_array([values[:1], values[1:]], pa.string()),
    "view chunks": lambda values: pa.chunked_array([values[:1], values[1:]], pa.string_view()),
}


def numbered(column):
    codes, ids = number_ids(column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column]), "ids")
    assert codes.dtype == np.int32
    assert ids.type in (pa.large_string(), pa.int64())
    return codes.tolist(), ids.to_pylist()


def by_first_appearance(values):
    """The plain reference."""
    ids = list(dict.fromkeys(values))
    place = {value: number for number, value in enumerate(ids)}
    return [place[value] for value in values], ids


@given(st.lists(texts, min_size=1, max_size=30), st.sampled_from(sorted(KINDS)))
@settings(max_examples=300, deadline=None)
def test_texts_of_every_kind_are_numbered_by_first_appearance(values, kind):
    assert numbered(KINDS[kind](values)) == by_first_appearance(values)


@given(
    st.lists(st.text(characters, max_size=3), min_size=1, max_size=30), st.sampled_from(["string_view", "view slice"])
)
@settings(max_examples=200, deadline=None)
def test_short_texts_that_lie_in_their_views_are_numbered_alike(values, kind):
    assert all(len(value.encode()) <= 12 for value in values)
    assert numbered(KINDS[kind](values)) == by_first_appearance(values)


def test_views_that_are_not_filled_up_with_zeros_count_as_their_texts():
    views = (
        np.frombuffer(pa.array(["a", "b", "a", "a"], pa.string_view()).buffers()[1], np.uint8).reshape(-1, 16).copy()
    )
    views[2, 7] = 1  # behind the text
    column = pa.Array.from_buffers(pa.string_view(), 4, [None, pa.py_buffer(views.tobytes())])
    assert column.to_pylist() == ["a", "b", "a", "a"]
    assert numbered(column) == ([0, 1, 0, 0], ["a", "b"])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dictionary"])
@pytest.mark.parametrize("form", ["u{}", "customer-{:012d}"])
@pytest.mark.parametrize("cores", [1, 2, 7])
def test_parts_of_many_rows_are_numbered_by_threads_to_the_same(kind, form, cores, monkeypatch):
    monkeypatch.setattr(raw_ids, "_ROWS_OF_A_PART", 100)
    monkeypatch.setattr(raw_ids, "_BLOCK", 30)
    monkeypatch.setattr(raw_ids.os, "cpu_count", lambda: cores)
    values = [form.format(number) for number in np.random.default_rng(cores).integers(0, 400, 1000).tolist()]
    assert numbered(KINDS[kind](values)) == by_first_appearance(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["user_{:06d}", "u{}", "customer-{:012d}", "c{}-{}", "{0:036d}{0}"])
@pytest.mark.parametrize("num_ids", [1, 20, 2500])
def test_many_rows_give_the_same(kind, form, num_ids):
    rng = np.random.default_rng(num_ids)
    values = [form.format(number, number**4) for number in rng.integers(0, num_ids, 3000).tolist()]
    assert numbered(KINDS[kind](values)) == by_first_appearance(values)


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "view slice"])
def test_long_texts_that_differ_only_in_the_middle_are_told_apart(kind):
    values = [f"item-{number % 40:03d}-0123456789abcdef" for number in range(200)]
    assert numbered(KINDS[kind](values)) == by_first_appearance(values)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_numbers_are_numbered_by_first_appearance(values):
    assert numbered(pa.array(values, pa.int64())) == by_first_appearance(values)


def test_categories_that_are_unused_or_the_same_count_once():
    column = pa.DictionaryArray.from_arrays(pa.array([3, 1, 3, 2, 1], pa.uint8()), ["unused", "b", "a", "a"])
    assert numbered(column) == ([0, 1, 0, 0, 1], ["a", "b"])


def test_chunks_may_have_categories_of_their_own():
    chunks = [pa.array(["b", "a"]).dictionary_encode(), pa.array(["c", "b"]).dictionary_encode()]
    assert numbered(pa.chunked_array(chunks)) == ([0, 1, 2, 0], ["b", "a", "c"])


def test_categories_may_be_numbers():
    assert numbered(pa.array([30, 10, 30]).dictionary_encode()) == ([0, 1, 0], [30, 10])


def test_numbers_of_a_long_list_are_its_places():
    ids = [f"id-{number}" for number in range(40_000)]
    assert numbers_of(pa.array(ids)) == {raw_id: number for number, raw_id in enumerate(ids)}
    assert numbers_of(pa.array([], pa.int64())) == {}


@pytest.mark.parametrize("chunks", [[["b", "a", "b"]], [["b", "a"], ["c", "a"], []], [["b"], ["b"]]])
def test_categories_are_numbered_as_their_strings_are(chunks):
    kind = pa.dictionary(pa.int8(), pa.string())
    plain = pa.chunked_array([pa.array(chunk, pa.string()) for chunk in chunks])
    categories = pa.chunked_array([pa.array(chunk, pa.string()).dictionary_encode() for chunk in chunks])
    for column in (categories, categories.cast(kind), categories.slice(1)):
        codes, ids = number_ids(column, "ids")
        expected_codes, expected_ids = number_ids(plain.slice(len(plain) - len(column)), "ids")
        assert codes.tolist() == expected_codes.tolist()
        assert ids.equals(expected_ids)


def test_category_that_stands_twice_in_a_dictionary_is_one_id():
    column = pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array([1, 2, 0]), pa.array(["b", "a", "a"]))])
    codes, ids = number_ids(column, "ids")
    assert codes.tolist() == [0, 0, 1]
    assert ids.to_pylist() == ["a", "b"]


def test_more_text_than_arrows_strings_hold_is_numbered_too(monkeypatch):
    column = pa.chunked_array([pa.array(["b", "a"], pa.string()), pa.array(["b", "c"], pa.string())])
    expected = raw_ids.number_ids(column, "x")
    monkeypatch.setattr(raw_ids, "MOST_OF_STRINGS", 3)
    codes, ids = raw_ids.number_ids(column, "x")
    assert codes.tolist() == expected[0].tolist() == [0, 1, 0, 2]
    assert ids.equals(expected[1])
