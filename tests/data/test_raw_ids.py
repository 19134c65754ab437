from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.data import numbering, raw_ids
from recoder.data.raw_ids import arrow_from_objects, number_ids, numbers_of

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
    return [ids.index(value) for value in values], ids


@pytest.fixture
def small_blocks(monkeypatch):
    for module in (numbering, raw_ids):
        monkeypatch.setattr(module, "BLOCK", 64)


@given(st.lists(texts, min_size=1, max_size=30), st.sampled_from(sorted(KINDS)))
@settings(max_examples=300, deadline=None)
def test_texts_of_every_kind_are_numbered_by_first_appearance(values, kind):
    assert numbered(KINDS[kind](values)) == by_first_appearance(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["user_{:06d}", "u{}", "customer-{:012d}", "c{}-{}", "{0:036d}{0}"])
@pytest.mark.parametrize("num_ids", [1, 20, 2500])
def test_many_blocks_give_the_same(small_blocks, kind, form, num_ids):
    rng = np.random.default_rng(num_ids)
    values = [form.format(number, number**4) for number in rng.integers(0, num_ids, 3000).tolist()]
    assert numbered(KINDS[kind](values)) == by_first_appearance(values)


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "view slice"])
def test_long_texts_that_differ_only_in_the_middle_are_told_apart(small_blocks, kind):
    values = [f"item-{number % 40:03d}-0123456789abcdef" for number in range(200)]
    assert numbered(KINDS[kind](values)) == by_first_appearance(values)


@pytest.mark.parametrize("kind", ["string", "string_view"])
def test_short_texts_of_one_key_are_told_apart(monkeypatch, kind):
    monkeypatch.setattr(raw_ids, "_MIX", np.uint64(0))  # now the first four bytes are not in the key
    values = ["aaaa-rest", "bbbb-rest", "aaaa-rest", "cccc-rest"]
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


def objects(values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


def test_objects_that_many_rows_share_are_converted_once():
    names = [f"name-{number}" for number in range(10)]
    array = arrow_from_objects(objects([names[number % 7] for number in range(1000)]))
    assert pa.types.is_dictionary(array.type)
    assert array.dictionary.to_pylist() == names[:7]
    assert array.to_pylist() == [names[number % 7] for number in range(1000)]


def test_objects_of_each_row_are_converted_as_they_stand():
    array = arrow_from_objects(objects([f"name-{number % 7}" for number in range(100_000)]))
    assert pa.types.is_string(array.type)
    assert array[:8].to_pylist() == [f"name-{number % 7}" for number in range(8)]


def test_equal_texts_in_several_objects_are_one_id():
    values = ["".join(["na", "me"]) for _ in range(3)] + ["other"]
    assert len({id(value) for value in values}) == 4
    assert numbered(arrow_from_objects(objects(values))) == ([0, 0, 0, 1], ["name", "other"])


def test_every_second_row_of_an_array_is_read():
    array = objects(["a", "x", "b", "x", "a", "x"])[::2]
    assert not array.flags.c_contiguous
    assert arrow_from_objects(array).to_pylist() == ["a", "b", "a"]


def test_missing_objects_become_null():
    assert arrow_from_objects(objects(["a", None, float("nan"), "a"])).to_pylist() == ["a", None, None, "a"]
