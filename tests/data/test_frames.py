from __future__ import annotations

import decimal
import logging
import time

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recoder.data import native_frames
from recoder.data.frames import csr_from_pairs, dataframe_to_csr_matrix
from recoder.errors import ConfigError, DataError, DataTypeError, EmptyDataError, UnknownIdError

ROWS = {"user": ["z", "a", "z", "m"], "item": [30, 10, 10, 20], "score": [1.0, 2.0, 3.5, 4.0]}
EXPECTED = np.array([[1, 3.5, 0], [0, 2, 0], [0, 0, 4]], dtype=np.float32)
MAPS = ({30: 0, 10: 1, 20: 2}, {"z": 0, "a": 1, "m": 2})


def chunked(rows):
    return pa.concat_tables(
        [pa.table({k: v[:1] for k, v in rows.items()}), pa.table({k: v[1:] for k, v in rows.items()})]
    )


FRAMES = {
    "pandas": pd.DataFrame,
    "pandas object": lambda rows: pd.DataFrame(rows).astype({"user": object}),
    "pandas all objects": lambda rows: pd.DataFrame(rows).astype(object),
    "pandas index": lambda rows: pd.DataFrame(rows, index=[9, 9, 5, 1]),
    "pandas nullable": lambda rows: pd.DataFrame(rows).astype({"item": "Int32", "user": "string", "score": "Float64"}),
    "pandas category": lambda rows: pd.DataFrame(rows).astype({"item": "category", "user": "category"}),
    "polars": pl.DataFrame,
    "polars category": lambda rows: pl.DataFrame(rows).with_columns(pl.col("user").cast(pl.Categorical)),
    "polars enum": lambda rows: pl.DataFrame(rows).with_columns(pl.col("user").cast(pl.Enum(["q", "a", "m", "z"]))),
    "polars lazy": lambda rows: pl.DataFrame(rows).lazy(),
    "pyarrow": pa.table,
    "pyarrow chunked": chunked,
}


@pytest.mark.parametrize("kind", FRAMES)
def test_every_kind_of_frame_gives_the_same_matrix_and_maps(kind):
    matrix, item_id_map, user_id_map = dataframe_to_csr_matrix(FRAMES[kind](ROWS), "user", "item", "score")
    assert isinstance(matrix, sparse.csr_matrix)
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix.toarray(), EXPECTED)
    assert (item_id_map, user_id_map) == MAPS
    assert list(item_id_map) == [30, 10, 20]  # first appearance
    assert {type(raw_id) for raw_id in item_id_map} == {int}
    assert {type(raw_id) for raw_id in user_id_map} == {str}
    assert {type(index) for index in (*item_id_map.values(), *user_id_map.values())} == {int}


def test_duckdb_relations_are_read():
    duckdb = pytest.importorskip("duckdb")
    table = pa.table(ROWS)
    relation = duckdb.connect().from_arrow(table)
    matrix, items, users = dataframe_to_csr_matrix(relation, "user", "item", "score")
    for user, item, score in zip(*ROWS.values(), strict=True):
        assert matrix[users[user], items[item]] == score


def test_the_frame_is_not_changed():
    frame = pd.DataFrame(ROWS)
    copy = frame.copy()
    dataframe_to_csr_matrix(frame, "user", "item", "score")
    pd.testing.assert_frame_equal(frame, copy)


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from("abcd"), st.integers(0, 5)), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_every_cell_is_the_sum_of_its_rows(rows):
    users, items, values = (list(column) for column in zip(*rows, strict=True))
    frame = pl.DataFrame({"u": users, "i": items, "v": values})
    matrix, item_id_map, user_id_map = dataframe_to_csr_matrix(frame, "u", "i", "v")
    assert list(user_id_map) == list(dict.fromkeys(users))
    assert list(item_id_map) == list(dict.fromkeys(items))
    expected = np.zeros((len(user_id_map), len(item_id_map)), np.float32)
    for user, item, value in rows:
        expected[user_id_map[user], item_id_map[item]] += value
    np.testing.assert_array_equal(matrix.toarray(), expected)
    assert (matrix.data != 0).all()


def test_repeated_pairs_are_counted_in_a_warning(caplog):
    frame = pd.DataFrame({"u": [1, 1, 2, 1], "i": [1, 1, 1, 1], "v": [1, 2, 5, 0]})
    with caplog.at_level(logging.WARNING, "recoder.data"):
        matrix, _, _ = dataframe_to_csr_matrix(frame, "u", "i", "v")
    np.testing.assert_array_equal(matrix.toarray(), [[3], [5]])
    (record,) = caplog.records
    assert record.name == "recoder.data"
    assert "2 of 4 rows repeat" in record.getMessage()


def test_pairs_of_value_zero_are_counted_in_a_warning(caplog):
    frame = pd.DataFrame({"u": [1, 1, 2], "i": [1, 2, 1], "v": [0, 2, 0]})
    with caplog.at_level(logging.WARNING, "recoder.data"):
        matrix, _, _ = dataframe_to_csr_matrix(frame, "u", "i", "v")
    np.testing.assert_array_equal(matrix.toarray(), [[0, 2], [0, 0]])
    assert "2 of 3 pairs of user and item have the weight 0" in caplog.text


def test_nothing_is_said_without_repeats(caplog):
    with caplog.at_level(logging.DEBUG, "recoder.data"):
        dataframe_to_csr_matrix(pd.DataFrame(ROWS), "user", "item", "score")
    assert not caplog.records


def test_given_maps_place_the_rows_and_come_back_as_they_are():
    items, users = {10: 4, 20: 0, 30: 2}, {"m": 1, "a": 0, "z": 6}
    matrix, item_id_map, user_id_map = dataframe_to_csr_matrix(
        pd.DataFrame(ROWS), "user", "item", "score", item_id_map=items, user_id_map=users
    )
    assert item_id_map is items
    assert user_id_map is users
    assert matrix.shape == (7, 5)
    dense = np.zeros((7, 5), np.float32)
    dense[[6, 0, 6, 1], [2, 4, 4, 0]] = ROWS["score"]
    np.testing.assert_array_equal(matrix.toarray(), dense)


def test_one_map_may_be_given_alone():
    items = {10: 0, 20: 1, 30: 2, 40: 3}
    matrix, _, user_id_map = dataframe_to_csr_matrix(pl.DataFrame(ROWS), "user", "item", "score", items)
    assert matrix.shape == (3, 4)
    assert user_id_map == MAPS[1]


def test_maps_of_a_training_frame_serve_a_test_frame():
    train, items, users = dataframe_to_csr_matrix(pd.DataFrame(ROWS), "user", "item", "score")
    later = pd.DataFrame({"user": ["m"], "item": [30], "score": [1]})
    test, _, _ = dataframe_to_csr_matrix(later, "user", "item", "score", items, users)
    assert test.shape == train.shape
    assert test[users["m"], items[30]] == 1


def test_numpy_numbers_serve_in_maps():
    items = {np.int64(raw_id): np.int32(index) for raw_id, index in MAPS[0].items()}
    matrix, _, _ = dataframe_to_csr_matrix(pd.DataFrame(ROWS), "user", "item", "score", item_id_map=items)
    np.testing.assert_array_equal(matrix.toarray(), EXPECTED)


def test_ids_missing_from_a_map_are_counted_and_named():
    with pytest.raises(UnknownIdError, match=r"2 of 3 ids in column 'item' are not in item_id_map \(such as 10, 20;"):
        dataframe_to_csr_matrix(pd.DataFrame(ROWS), "user", "item", "score", item_id_map={30: 0})


def test_unknown_user_message_shows_how_the_map_spells_ids():
    with pytest.raises(UnknownIdError, match=r"column 'user' .* the map holds 1, such as 7\).*unknown=\"drop\""):
        dataframe_to_csr_matrix(pd.DataFrame(ROWS), "user", "item", "score", user_id_map={7: 0})


def test_unknown_ids_are_dropped_on_request(caplog):
    with caplog.at_level(logging.INFO, "recoder.data"):
        matrix, _, users = dataframe_to_csr_matrix(
            pd.DataFrame(ROWS), "user", "item", "score", {10: 0, 20: 1}, {"z": 0, "a": 1}, unknown="drop"
        )
    np.testing.assert_array_equal(matrix.toarray(), [[3.5, 0], [2, 0]])
    assert users == {"z": 0, "a": 1}
    assert "2 of 4 rows dropped" in caplog.text


def test_dropping_everything_is_an_error():
    with pytest.raises(EmptyDataError, match="none of the 4 rows"):
        dataframe_to_csr_matrix(pd.DataFrame(ROWS), "user", "item", "score", {99: 0}, unknown="drop")


@pytest.mark.parametrize("unknown", ["ignore", None, True])
def test_other_ways_with_unknown_ids_are_refused_even_without_maps(unknown):
    with pytest.raises(ConfigError, match="unknown is"):
        dataframe_to_csr_matrix(pd.DataFrame(ROWS), "user", "item", "score", unknown=unknown)


@pytest.mark.parametrize(
    ("id_map", "error", "message"),
    [
        ({10: 0, 20: -1, 30: 1}, ConfigError, "-1"),
        ({10: 0, 20: 1.0, 30: 2}, ConfigError, "1.0"),
        ({10: 0, 20: True, 30: 2}, ConfigError, "True"),
        ({10: 0, 20: "1", 30: 2}, ConfigError, "'1'"),
        ({10: 0, 20: 0, 30: 1}, ConfigError, "3 ids to 2 numbers"),
        ({}, ConfigError, "empty"),
        ([10, 20, 30], DataTypeError, "list"),
    ],
)
@pytest.mark.parametrize("unknown", ["error", "drop"])
def test_bad_maps_are_refused(id_map, error, message, unknown):
    with pytest.raises(error, match=f"item_id_map .*{message}"):
        dataframe_to_csr_matrix(pd.DataFrame(ROWS), "user", "item", "score", item_id_map=id_map, unknown=unknown)


MAKERS = {"pandas": pd.DataFrame, "polars": lambda rows: pl.DataFrame(rows, strict=False), "pyarrow": pa.table}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("column", ["user", "item", "score"])
def test_missing_values_are_refused_and_counted(maker, column):
    rows = {**ROWS, column: [None, *ROWS[column][1:3], None]}
    with pytest.raises(DataError, match=f"column '{column}' holds 2 missing values"):
        dataframe_to_csr_matrix(MAKERS[maker](rows), "user", "item", "score")


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (float("nan"), "1 missing"),
        (float("inf"), "1 values that are infinite"),
        (-0.5, "1 values that are negative"),
        (1e300, "1 values that are infinite as float32"),
    ],
)
def test_bad_values_are_refused(maker, bad, message):
    with pytest.raises(DataError, match=f"column 'score' holds {message}"):
        dataframe_to_csr_matrix(MAKERS[maker]({**ROWS, "score": [1, 1, 1, bad]}), "user", "item", "score")


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2, 3, 4], pa.uint8()),
        pa.array([1, 2, 3, 4], pa.int64()),
        pa.array(np.array([1, 2, 3, 4], np.float16)),
        pa.array([decimal.Decimal(value) for value in (1, 2, 3, 4)]),
    ],
    ids=lambda values: str(values.type),
)
def test_any_number_serves_as_a_value(values):
    matrix, _, _ = dataframe_to_csr_matrix(pa.table({**ROWS, "score": values}), "user", "item", "score")
    np.testing.assert_array_equal(matrix.toarray(), [[1, 3, 0], [0, 2, 0], [0, 0, 4]])


def test_false_is_no_interaction_but_its_ids_count():
    matrix, _, users = dataframe_to_csr_matrix(
        pl.DataFrame({**ROWS, "score": [True, False, True, True]}), "user", "item", "score"
    )
    assert matrix.nnz == 3
    assert matrix.shape == (3, 3)
    assert users == MAPS[1]


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("user", [1.0, 2.0, 3.0, 4.0], "cast them to int64"),
        ("item", [True, False, True, True], "bool"),
        ("item", [b"a", b"b", b"c", b"d"], "binary"),
        ("user", [[1], [2], [3], [4]], "list"),
        ("score", ["1", "2", "3", "4"], "cast it, e.g. to float32"),
    ],
)
def test_columns_of_another_type_are_refused(column, values, message):
    with pytest.raises(DataTypeError, match=f"column '{column}' holds .*{message}"):
        dataframe_to_csr_matrix(pa.table({**ROWS, column: values}), "user", "item", "score")


def test_column_that_mixes_types_is_named():
    with pytest.raises(DataTypeError, match="column 'user'"):
        dataframe_to_csr_matrix(pd.DataFrame({**ROWS, "user": ["a", 1, "b", 2]}), "user", "item", "score")


@pytest.mark.parametrize("column", ["user", "item", "score"])
def test_missing_objects_are_refused_and_counted(column):
    frame = pd.DataFrame(ROWS).astype(object)
    frame[column] = pd.Series([None, *ROWS[column][1:3], float("nan")], dtype=object)
    with pytest.raises(DataError, match=f"column '{column}' holds 2 missing values"):
        dataframe_to_csr_matrix(frame, "user", "item", "score")


def test_rows_of_a_category_that_is_null_are_missing():
    users = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1]), pa.array(["a", None]))
    with pytest.raises(DataError, match="column 'user' holds 3 missing values"):
        dataframe_to_csr_matrix(pa.table({**ROWS, "user": users}), "user", "item", "score")


def test_numbers_beyond_int64_are_refused():
    frame = pl.DataFrame({**ROWS, "user": pl.Series([2**63, 1, 2, 3], dtype=pl.UInt64)})
    with pytest.raises(DataError, match="beyond int64"):
        dataframe_to_csr_matrix(frame, "user", "item", "score")


def test_missing_column_is_named_beside_those_there_are():
    with pytest.raises(ConfigError, match=r"no column 'rating'; its columns are \['user', 'item', 'score'\]"):
        dataframe_to_csr_matrix(pd.DataFrame(ROWS), "user", "item", "rating")


@pytest.mark.parametrize("maker", MAKERS)
def test_frame_without_rows_is_refused(maker):
    with pytest.raises(EmptyDataError, match="no rows"):
        dataframe_to_csr_matrix(MAKERS[maker]({"user": [], "item": [], "score": []}), "user", "item", "score")


@pytest.mark.parametrize("other", [[1, 2], {"user": [1]}, np.eye(2), None, pd.Series([1]), "train.csv"])
def test_what_is_no_data_frame_is_refused(other):
    with pytest.raises(DataTypeError, match="as a data frame"):
        dataframe_to_csr_matrix(other, "user", "item", "score")


def test_frame_with_two_columns_of_one_name_is_refused():
    frame = pd.DataFrame([[1, 2, 3]], columns=["user", "user", "score"])
    with pytest.raises(DataTypeError, match="as a data frame"):
        dataframe_to_csr_matrix(frame, "user", "user", "score")


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 3)), max_size=40),
    st.sampled_from([np.int32, np.int64]),
)
@settings(max_examples=60, deadline=None)
def test_pairs_become_rows_in_order_of_their_columns(pairs, dtype):
    users, items, values = np.array(pairs, np.int64).reshape(-1, 3).T
    matrix = csr_from_pairs(users.astype(dtype), items.astype(dtype), values.astype(np.float32), (5, 7))
    expected = np.zeros((5, 7), np.float32)
    np.add.at(expected, (users, items), values)
    np.testing.assert_array_equal(matrix.toarray(), expected)
    assert sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), matrix.shape).has_canonical_format


def test_values_of_a_repeated_pair_are_added_in_order_of_rows():
    values = np.array([1, 2**24, 1, 1], np.float32)  # the sum depends on the order
    zeros = np.zeros(4, np.int32)
    assert csr_from_pairs(zeros, zeros, values, (1, 1))[0, 0] == ((values[0] + values[1]) + values[2]) + values[3]


@pytest.mark.slow
@pytest.mark.parametrize("maker", ["pandas", "polars"])
def test_a_million_string_ids_take_seconds_at_most(maker):
    rng = np.random.default_rng(0)
    users = np.char.add("user-", rng.integers(0, 100_000, 1_000_000).astype(str))
    items = np.char.add("item-", rng.integers(0, 20_000, 1_000_000).astype(str))
    table = pa.table({"user": pa.array(users), "item": pa.array(items), "score": np.ones(1_000_000)})
    frame = table.to_pandas() if maker == "pandas" else pl.from_arrow(table)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        matrix, _, _ = dataframe_to_csr_matrix(frame, "user", "item", "score")
        seconds.append(time.perf_counter() - start)
    # 0.1 s on two cores; a loop over rows in Python takes several seconds every time
    assert min(seconds) < 2
    assert matrix.sum() == 1_000_000


def test_a_library_that_is_not_installed_is_missed_once(monkeypatch, caplog):
    native_frames._warn_once.cache_clear()
    monkeypatch.setattr(native_frames.importlib.util, "find_spec", lambda name: None)
    for _ in range(3):
        assert native_frames.make_frame({"a": np.arange(2)}, "modin").to_pydict() == {"a": [0, 1]}
    assert caplog.messages == [
        "modin is not installed: answers are pyarrow tables, as with load(path, library='pyarrow')"
    ]
    native_frames._warn_once.cache_clear()
