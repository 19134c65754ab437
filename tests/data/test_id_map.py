from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.data import IdMap
from recoder.errors import ConfigError, DataError, DataTypeError, FileFormatError, UnknownIdError

# no lone surrogates: they are no Unicode text and have no UTF-8 form
texts = st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, max_size=20)
numbers = st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=20)


@given(st.one_of(texts, numbers))
@settings(max_examples=80, deadline=None)
def test_ids_keep_their_order_and_come_back(raw_ids):
    ids = IdMap(raw_ids)
    assert len(ids) == len(raw_ids)
    assert ids.raw_ids(range(len(raw_ids))) == raw_ids
    assert ids.indices(raw_ids).tolist() == list(range(len(raw_ids)))
    assert ids.indices(raw_ids[::-1]).tolist() == list(range(len(raw_ids)))[::-1]
    assert ids.to_dict() == {raw_id: index for index, raw_id in enumerate(raw_ids)}
    assert all(raw_id in ids for raw_id in raw_ids)


@given(st.one_of(texts, numbers))
@settings(max_examples=80, deadline=None)
def test_arrays_give_the_same_map_back(raw_ids):
    ids = IdMap(raw_ids)
    arrays = ids.to_arrays()
    assert set(arrays) in ({"int64"}, {"bytes", "offsets"})
    assert IdMap.from_arrays(arrays) == ids


@pytest.mark.parametrize(
    "given_ids",
    [
        ["b", "a"],
        ("b", "a"),
        np.array(["b", "a"]),
        np.array(["b", "a"], dtype=object),
        [np.str_("b"), np.str_("a")],
        pd.Series(["b", "a"]),
        pd.Series(["b", "a"], dtype="category"),
        pl.Series(["b", "a"]),
        pa.array(["b", "a"]),
        pa.array(["x", "b", "a"])[1:],
        pa.array(["b", "a"]).dictionary_encode(),
        pa.chunked_array([["b"], ["a"]]),
        pa.array(["b", "a"], pa.string_view()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_strings_from_anywhere_are_equal(given_ids):
    ids = IdMap(given_ids)
    assert ids == IdMap(["b", "a"])
    assert hash(ids) == hash(IdMap(["b", "a"]))
    assert [type(raw_id) for raw_id in ids.raw_ids([0, 1])] == [str, str]


@pytest.mark.parametrize(
    "given_ids",
    [
        [3, 1],
        np.array([3, 1], np.int16),
        np.array([3, 1], np.uint64),
        pd.Series([3, 1]),
        pl.Series([3, 1]),
        range(3, 0, -2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numbers_from_anywhere_are_equal(given_ids):
    ids = IdMap(given_ids)
    assert ids == IdMap([3, 1])
    assert [type(raw_id) for raw_id in ids.raw_ids([0, 1])] == [int, int]


def test_numbers_and_their_digits_are_different_ids():
    assert IdMap([1, 2]) != IdMap(["1", "2"])
    assert IdMap([1, 2]) != IdMap([2, 1])
    assert IdMap([1, 2]) != [1, 2]
    assert "1" not in IdMap([1, 2])
    with pytest.raises(UnknownIdError, match="'1'"):
        IdMap([1, 2]).indices(["1"])


@pytest.mark.parametrize(
    "query",
    [
        [20, 10],
        np.array([20, 10]),
        pa.array([20, 10]),
        pa.chunked_array([[20], [10]]),
        pl.Series([20, 10]),
        (20, 10),
        iter([20, 10]),
    ],
)
def test_look_up_takes_any_list(query):
    found = IdMap([10, 20, 30]).indices(query)
    assert found.dtype == np.int64
    assert found.tolist() == [1, 0]


def test_unknown_ids_are_counted_and_named():
    with pytest.raises(UnknownIdError, match=r"4 of 5 .* 2 known \(such as 'x', 'y', 'z', a known one is 'a'\)"):
        IdMap(["a", "b"]).indices(["a", "x", "y", "z", "w"])


@pytest.mark.parametrize("unknown", ["error", "drop"])
def test_what_cannot_be_an_id_is_said(unknown):
    with pytest.raises(DataTypeError, match=r"among the ids stands \['b'\], which is no id: .* known one is 'a'"):
        IdMap(["a", "b"]).indices(["a", ["b"]], unknown)


def test_unknown_ids_are_dropped_on_request():
    assert IdMap(["a", "b"]).indices(["x", "b", "y", "a"], unknown="drop").tolist() == [1, 0]


def test_other_ways_with_unknown_ids_are_refused():
    with pytest.raises(ConfigError, match="'ignore'"):
        IdMap(["a"]).indices(["a"], unknown="ignore")


@pytest.mark.parametrize("single", ["ab", b"ab", 3])
def test_a_single_id_is_not_taken_for_a_list(single):
    with pytest.raises(DataTypeError, match="single"):
        IdMap(["a", "b"]).indices(single)


@pytest.mark.parametrize("outside", [2, -1, [0, 7]])
def test_index_outside_the_map_is_refused(outside):
    with pytest.raises(UnknownIdError, match="2 ids"):
        IdMap(["a", "b"]).raw_ids(outside)


def test_indices_must_be_whole_numbers():
    with pytest.raises(DataTypeError, match="float64"):
        IdMap(["a", "b"]).raw_ids([0.0])


@pytest.mark.parametrize(
    ("raw_ids", "error", "message"),
    [
        (["a", "b", "a", "c", "a"], DataError, "2 of 5 ids.*'a'"),
        ([7, 1, 7], DataError, "1 of 3 ids.*7"),
        (["a", None], DataError, "1 missing"),
        ([None], DataError, "1 missing"),
        ([1, "a"], DataTypeError, "strings"),
        ([True, False], DataTypeError, "bool"),
        ([1.0, 2.0], DataTypeError, "cast them to int64"),
        ([2**63], DataTypeError, "64 bits"),
        (np.array([2**63], np.uint64), DataError, "int64"),
        (["\ud800"], DataTypeError, "surrogates"),
        ("abc", DataTypeError, "str"),
        (5, DataTypeError, "int"),
        ({"a", "b"}, DataTypeError, "a set of ids has no order"),
        ({0: "a", 1: "b"}, DataError, "an index of its own, 0 to 1, and this one gives 0 'a'"),
        ({"a": 0, "b": 0}, DataError, "this one gives 'b' 0"),
        ({"a": 0, "b": 2}, DataError, "an index of its own, 0 to 1, and this one gives 'b' 2"),
    ],
)
def test_bad_ids_are_refused(raw_ids, error, message):
    with pytest.raises(error, match=message):
        IdMap(raw_ids)


def test_a_dict_gives_each_id_its_index():
    assert IdMap({"b": 1, "a": 0}) == IdMap(["a", "b"])
    assert IdMap(IdMap([5, 3]).to_dict()) == IdMap([5, 3])
    assert IdMap({7: np.int64(1), 9: np.int64(0)}.keys()) == IdMap([7, 9])


def test_slices_of_strings_are_stored_from_zero():
    arrays = IdMap(pa.array(["dropped", "é", "", "z"])[1:]).to_arrays()
    assert arrays["bytes"].tobytes() == "éz".encode()
    assert arrays["offsets"].tolist() == [0, 2, 2, 3]


def test_stored_arrays_share_no_memory_with_the_map():
    ids = IdMap([1, 2])
    arrays = ids.to_arrays()
    back = IdMap.from_arrays(arrays)
    arrays["int64"][0] = 9
    assert ids == back == IdMap([1, 2])


ONE = np.array([1])
BYTES = np.frombuffer(b"abc", np.uint8)
DAMAGED = {
    "nothing": {},
    "both": {"int64": ONE, "bytes": BYTES, "offsets": np.array([0, 3])},
    "no offsets": {"bytes": BYTES},
    "another name": {"float64": ONE},
    "floats": {"int64": np.array([1.0])},
    "a table": {"int64": np.array([[1]])},
    "not an array": {"int64": [1]},
    "offsets of another type": {"bytes": BYTES, "offsets": np.array([0, 3], np.int32)},
    "bytes of another type": {"bytes": BYTES.astype(np.int64), "offsets": np.array([0, 3])},
    "no first offset": {"bytes": BYTES, "offsets": np.array([], np.int64)},
    "offsets not from zero": {"bytes": BYTES, "offsets": np.array([1, 3])},
    "offsets that descend": {"bytes": BYTES, "offsets": np.array([0, 2, 1, 3])},
    "offsets beyond the bytes": {"bytes": BYTES, "offsets": np.array([0, 9])},
    "offsets that leave bytes over": {"bytes": BYTES, "offsets": np.array([0, 2])},
    "negative offsets": {"bytes": BYTES, "offsets": np.array([0, -1, 3])},
    "no UTF-8": {"bytes": np.array([0xFF], np.uint8), "offsets": np.array([0, 1])},
    "a character cut in two": {"bytes": np.frombuffer("é".encode(), np.uint8), "offsets": np.array([0, 1, 2])},
    "repeats": {"int64": np.array([4, 4])},
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_arrays_are_refused(kind):
    with pytest.raises(FileFormatError, match="id map"):
        IdMap.from_arrays(DAMAGED[kind])


def test_pickles_without_the_look_up_table():
    ids = IdMap([f"user-{number}" for number in range(1000)])
    before = len(pickle.dumps(ids))
    assert "user-7" in ids  # makes the table
    assert len(pickle.dumps(ids)) == before
    assert pickle.loads(pickle.dumps(ids)) == ids


def test_works_as_a_key():
    assert Counter([IdMap(["a"]), IdMap(["a"]), IdMap([])])[IdMap(["a"])] == 2


def test_repr_shows_a_few():
    assert repr(IdMap(["a", "b", "c", "d"])) == "IdMap(4 ids: 'a', 'b', 'c', ...)"
    assert repr(IdMap([5])) == "IdMap(1 ids: 5)"


def test_a_missing_id_is_found_among_categories():
    categories = pa.array(["a", None]).dictionary_encode(null_encoding="encode")
    with pytest.raises(DataError, match="holds 1 missing ones"):
        IdMap(categories)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.array([True, False]), "stands (True|False), which is no id.* of a mask, pass the ids where it is True"),
        ([np.True_], "of a mask"),
        (np.array([1.0, 0.0]), r"stands 1\.0, which is no id.* cast whole numbers that were read as floats to int64"),
        ([0, float("nan")], "stands nan, which is no id"),
        ([np.float32(1)], "cast whole numbers"),
        ([1, None], "stands None, which is no id"),
        ([b"1"], "stands b'1', which is no id"),
        ([pa.scalar(1)], "which is no id"),
    ],
)
@pytest.mark.parametrize("unknown", ["error", "drop"])
def test_what_only_equals_an_id_is_none(wrong, said, unknown):
    with pytest.raises(DataTypeError, match=said):
        IdMap([0, 1, 5]).indices(wrong, unknown=unknown)


def test_ids_of_the_other_kind_are_not_dropped_as_unknown():
    with pytest.raises(
        DataTypeError, match="stands '5', which cannot be known: ids are whole numbers, a known one is 0"
    ):
        IdMap([0, 5]).indices(["5", "7"], unknown="drop")
    with pytest.raises(DataTypeError, match="stands 5, which cannot be known: ids are strings, a known one is 'a'"):
        IdMap(["a"]).indices(["a", 5], unknown="drop")
    with pytest.raises(UnknownIdError, match="such as '5', a known one is 0"):
        IdMap([0, 5]).indices(["5"])
    assert IdMap([]).indices(["a", 5], unknown="drop").tolist() == []
    assert IdMap([0, 5]).indices([np.int32(5), 7], unknown="drop").tolist() == [1]


def test_a_map_does_not_follow_an_array_that_changes():
    raw_ids = np.array([30, 10, 20])
    ids = IdMap(raw_ids)
    raw_ids.sort()
    assert ids.raw_ids([0, 1, 2]) == [30, 10, 20]


@pytest.mark.parametrize("other", [True, 1.0, np.float64(1), "1", ["a"], None, {}])
def test_what_only_equals_an_id_is_not_in_the_map(other):
    assert other not in IdMap([1, 2])
    assert np.int32(1) in IdMap([1, 2])
