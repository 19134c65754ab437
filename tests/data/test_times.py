from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recoder.data import IdMap, Interactions
from recoder.data.times import checked_times, latest_times, read_times
from recoder.errors import DataError, DataTypeError, ShapeError
from recoder.training.file_sections import pack_interactions, unpack_interactions

MOMENT = dt.datetime(2015, 3, 29, 12, 30, 5, 999_999, tzinfo=dt.timezone.utc)
SECONDS = 1_427_632_205
BEFORE_1970 = dt.datetime(1969, 12, 31, 23, 59, 58, 500_000)


def read(values, kind=None):
    return read_times(pa.chunked_array([pa.array(values, kind)]), "when").tolist()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York", "+05:30"])
def test_every_unit_and_zone_gives_the_same_second(unit, zone):
    naive = pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("us")).cast(pa.timestamp(unit), safe=False)
    assert read_times(pa.chunked_array([naive.cast(pa.timestamp(unit, zone))]), "when").tolist() == [SECONDS]


def test_fractions_are_rounded_down_before_1970_too():
    assert read([BEFORE_1970], pa.timestamp("us")) == [-2]
    assert read([-1.5, 1.5]) == [-2, 1]
    assert read([Decimal("-1.5")], pa.decimal128(5, 1)) == [-2]


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_dates_are_their_midnights(kind):
    assert read([dt.date(1970, 1, 2), dt.date(1969, 12, 31)], kind) == [86_400, -86_400]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.int64(), pa.uint64(), pa.float32()])
def test_numbers_are_seconds(kind):
    assert read([5, 17], kind) == [5, 17]


@pytest.mark.parametrize("values", [[float("inf")], [-float("inf")], [1e19]])
def test_times_beyond_int64_are_refused(values):
    with pytest.raises(DataError, match="'when' holds times"):
        read(values)
    with pytest.raises(DataError, match="beyond int64"):
        read([2**63], pa.uint64())


@pytest.mark.parametrize(
    ("values", "kind"),
    [(["2015-03-29"], pa.string()), ([True], pa.bool_()), ([dt.timedelta(1)], pa.duration("s"))],
)
def test_other_types_are_refused_saying_how_to_parse(values, kind):
    with pytest.raises(DataTypeError, match=r"'when' holds .*pandas\.to_datetime"):
        read(values, kind)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(-(2**62), 2**62)), min_size=1))
def test_latest_time_of_each_pair_in_the_order_of_the_matrix(rows):
    users, items, times = (np.array(column) for column in zip(*rows, strict=True))
    latest: dict[tuple[int, int], int] = {}
    for user, item, time in rows:
        latest[user, item] = max(time, latest.get((user, item), time))
    found = latest_times(users.astype(np.int32), items.astype(np.int32), times, (5, 4))
    assert found.tolist() == [latest[pair] for pair in sorted(latest)]


FRAME = {
    "u": ["b", "a", "b", "a", "b", "c"],
    "i": [3, 1, 1, 3, 3, 9],
    "w": [1.0, 2.0, 3.0, 4.0, 5.0, 0.0],
    "t": [50, 10, 20, 40, 30, 99],
}


def by_pair(interactions):
    coo = interactions.matrix.tocoo()
    pairs = zip(interactions.user_ids.raw_ids(coo.row), interactions.item_ids.raw_ids(coo.col), strict=True)
    return dict(zip(pairs, interactions.times.tolist(), strict=True))


def as_moments(make):
    seconds = [dt.datetime.fromtimestamp(t, dt.timezone.utc) for t in FRAME["t"]]
    return make({**FRAME, "t": seconds})


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table, lambda rows: pl.DataFrame(rows).lazy()])
@pytest.mark.parametrize("moments", [False, True])
@pytest.mark.parametrize("weight", [None, "w"])
def test_from_frame_keeps_the_latest_time_of_each_pair(make, moments, weight):
    frame = as_moments(make) if moments else make(FRAME)
    read = Interactions.from_frame(frame, user="u", item="i", weight=weight, time="t")
    expected = {("b", 3): 50, ("b", 1): 20, ("a", 1): 10, ("a", 3): 40}
    # a weight of 0 is no interaction
    assert by_pair(read) == (expected if weight else expected | {("c", 9): 99})
    assert read.times.dtype == np.int64


@pytest.mark.parametrize("times", [[1, None, 3, 4, 5, 6], [1.0, float("nan"), 3, 4, 5, 6]])
def test_missing_times_are_refused(times):
    with pytest.raises(DataError, match="'t' holds 1 missing"):
        Interactions.from_frame(pa.table({**FRAME, "t": times}), user="u", item="i", time="t")


def test_missing_moments_are_refused():
    frame = pd.DataFrame({**FRAME, "t": [*pd.to_datetime(FRAME["t"][:-1], unit="s"), pd.NaT]})
    with pytest.raises(DataError, match="'t' holds 1 missing"):
        Interactions.from_frame(frame, user="u", item="i", time="t")


@st.composite
def timed(draw):
    """Interactions whose times tell who and what they belong to: user * 100 + item."""
    dense = np.array(draw(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=2, max_size=6)))
    matrix = sparse.csr_matrix(dense.astype(np.float32))
    rows = np.repeat(np.arange(len(dense)), np.diff(matrix.indptr))
    return Interactions(matrix, IdMap(np.arange(len(dense))), IdMap(np.arange(4)), times=rows * 100 + matrix.indices)


def assert_aligned(interactions):
    assert by_pair(interactions) == {pair: pair[0] * 100 + pair[1] for pair in by_pair(interactions)}
    assert len(interactions.times) == interactions.matrix.nnz


@given(timed(), st.randoms(use_true_random=False))
def test_every_method_keeps_times_beside_their_interactions(interactions, random):
    rows = random.sample(range(interactions.num_users), 2)
    cols = random.sample(range(4), 3)
    assert_aligned(interactions.select_users(rows).select_items(cols))
    assert_aligned(interactions.select_items(cols).select_users(rows))
    assert_aligned(interactions.binarize())
    assert_aligned(interactions.select_interactions(interactions.matrix.data > 1))
    selected = interactions.select_users(rows).select_items(cols)
    plain = interactions.matrix.toarray()[rows][:, cols]
    np.testing.assert_array_equal(selected.matrix.toarray(), plain)
    if interactions.matrix.nnz:
        assert_aligned(interactions.drop_empty())
        assert_aligned(interactions.filter(min_weight=interactions.matrix.data.max()))
        assert_aligned(interactions.filter(min_user_interactions=1, min_item_interactions=1))
        assert_aligned(interactions.k_core(users=1, items=1))


UNSORTED = sparse.csr_matrix((np.ones(2), np.array([1, 0]), np.array([0, 2])), shape=(1, 2))


@pytest.mark.parametrize(
    ("matrix", "times", "error", "message"),
    [
        (sparse.csr_matrix(np.eye(2)), [1], ShapeError, "1 times but the matrix stores 2"),
        (sparse.csr_matrix(np.eye(2)), [1.5, 2.5], DataTypeError, "Unix seconds, not an array of float64"),
        (sparse.csr_matrix(np.eye(2)), [[1, 2]], DataTypeError, "shape"),
        (sparse.coo_matrix(np.eye(2)), [1, 2], ShapeError, "sorted columns"),
        (UNSORTED, [1, 2], ShapeError, "sorted columns"),
        (sparse.csr_matrix(([1.0, 0.0], ([0, 1], [0, 1]))), [1, 2], ShapeError, "without repeats or zeros"),
    ],
)
def test_times_that_cannot_be_matched_are_refused(matrix, times, error, message):
    with pytest.raises(error, match=message):
        Interactions(matrix, IdMap(np.arange(matrix.shape[0])), IdMap(np.arange(2)), times=times)


@pytest.mark.parametrize("dtype", [np.float64, np.int8])
def test_matrix_of_another_dtype_keeps_its_times(dtype):
    matrix = sparse.csr_matrix(np.eye(2, dtype=dtype))
    assert Interactions(matrix, IdMap([0, 1]), IdMap([0, 1]), times=[7, 8]).times.tolist() == [7, 8]


@pytest.mark.parametrize("histories", [False, True])
def test_model_file_does_not_keep_times(histories):
    interactions = Interactions.from_frame(pa.table(FRAME), user="u", item="i", time="t")
    unpacked = unpack_interactions(pack_interactions(interactions, histories=histories))
    assert unpacked.times is None
    assert unpacked.matrix.nnz == (interactions.matrix.nnz if histories else 0)


def test_an_array_of_times_beyond_int64_is_refused():
    matrix = sparse.csr_matrix(np.eye(1))
    with pytest.raises(DataError, match="times hold 9223372036854775808, beyond int64"):
        checked_times(np.array([2**63], np.uint64), matrix, matrix)


def test_milliseconds_are_warned_of(caplog):
    read([SECONDS])
    assert not caplog.records
    assert read([1000 * SECONDS]) == [1000 * SECONDS]
    assert "'when' holds 1427632205000, far in the future" in caplog.text
