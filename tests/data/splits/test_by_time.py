from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import sparse

from recoder.data import IdMap, Interactions, global_time, leave_last_out
from recoder.errors import ConfigError, DataError, DataTypeError, EmptyDataError

Triple = tuple[int, int, int]


@st.composite
def timed(draw):
    """Up to 8 users and 6 items, with few different times, so that there are ties."""
    pairs = draw(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 5)), min_size=1))
    rows, cols = (np.array(column) for column in zip(*sorted(pairs), strict=True))
    times = np.array([draw(st.integers(0, 6)) for _ in pairs])
    matrix = sparse.csr_matrix((np.ones(len(pairs)), (rows, cols)), shape=(8, 6))
    return Interactions(matrix, IdMap(np.arange(8) + 100), IdMap(np.arange(6) + 10), times=times)


def triples(interactions: Interactions) -> set[Triple]:
    coo = interactions.matrix.tocoo()
    users, items = interactions.user_ids.raw_ids(coo.row), interactions.item_ids.raw_ids(coo.col)
    return set(zip(users, items, interactions.times.tolist(), strict=True))


def pairs_of(matrix, users, items):
    coo = sparse.coo_matrix(matrix)
    return set(zip(users.raw_ids(coo.row), items.raw_ids(coo.col), strict=True))


def check_split(make_split, given_, train: set[Triple]):
    """Checks that the split trains on these and asks for all the others that are known, and its counts."""
    users, items = {user for user, _, _ in train}, {item for _, item, _ in train}
    rest = {(user, item) for user, item, _ in triples(given_) - train}
    expected = {(user, item) for user, item in rest if user in users and item in items}
    if not expected:
        with pytest.raises(EmptyDataError):
            make_split()
        return
    split = make_split()
    assert triples(split.train) == train
    assert set(split.train.user_ids.to_dict()) == users  # no others, in either part
    assert set(split.train.item_ids.to_dict()) == items
    dataset = split.test.dataset
    assert (dataset.interactions_matrix != split.train.matrix).nnz == 0
    assert dataset.interactions_matrix.multiply(dataset.target_interactions_matrix).nnz == 0
    target = pairs_of(dataset.target_interactions_matrix, split.test.user_ids, split.train.item_ids)
    assert target == expected
    counts = {
        "train_interactions": len(train),
        "target_interactions": len(target),
        "target_users": len({user for user, _ in target}),
        "dropped_interactions": len(rest) - len(target),
        "dropped_users": given_.num_users - len(users),
        "dropped_items": given_.num_items - len(items),
    }
    assert counts.items() <= dict(split.protocol).items()


@given(timed(), st.integers(1, 3))
def test_leave_last_out_takes_exactly_the_k_latest(interactions, k):
    train = set()
    for user in interactions.user_ids.to_dict():
        own = sorted((time, item) for who, item, time in triples(interactions) if who == user)
        kept = own[:-k] if len(own) > k else own
        train |= {(user, item, time) for time, item in kept}
    check_split(lambda: leave_last_out(interactions, k=k), interactions, train)


@given(timed(), st.integers(-1, 8))
def test_nothing_in_training_is_from_the_moment_or_later(interactions, moment):
    train = {triple for triple in triples(interactions) if triple[2] < moment}
    check_split(lambda: global_time(interactions, time=moment), interactions, train)


@given(timed(), st.floats(0.01, 0.99))
def test_fraction_chooses_the_moment_that_is_recorded(interactions, fraction):
    try:
        split = global_time(interactions, fraction=fraction)
    except EmptyDataError:
        assume(False)
    moment = split.protocol["time"]
    again = global_time(interactions, time=moment)
    assert triples(again.train) == triples(split.train)
    times = np.sort(interactions.times)
    # as many as asked for, and those of the same second
    asked = round(fraction * len(times) - 1e-9)
    assert (times >= moment).sum() >= max(asked, 1)
    assert (times > moment).sum() <= max(asked, 1)


def test_the_same_interactions_give_the_same_split_in_any_order_of_rows():
    rng = np.random.default_rng(0)
    pairs = np.unique(rng.integers(0, 20, (150, 2)), axis=0)
    times = rng.permutation(len(pairs))
    frames = []
    for order in (np.arange(len(pairs)), rng.permutation(len(pairs))):
        columns = {"u": pairs[order, 0], "i": pairs[order, 1], "t": times[order]}
        frames.append(Interactions.from_frame(pa.table(columns), user="u", item="i", time="t"))
    for split in (leave_last_out, lambda x: global_time(x, fraction=0.3)):
        one, two = (split(frame) for frame in frames)
        assert triples(one.train) == triples(two.train)


def small(times=(1, 2, 3, 4)):
    matrix = sparse.csr_matrix(np.array([[1, 1, 0], [0, 1, 1]]))
    return Interactions(matrix, IdMap(["a", "b"]), IdMap([7, 8, 9]), titles=("x", "y", "z"), times=np.array(times))


def test_titles_and_weights_stay_beside_their_items():
    split = leave_last_out(small((2, 1, 2, 1)))
    assert split.train.titles == ("y", "z")
    train, test = split
    assert train is split.train
    assert test is split.test


def test_ties_go_to_the_later_column():
    target = leave_last_out(small((1, 1, 1, 1))).test.dataset.target_interactions_matrix
    # of a: column 8 rather than 7; of b: 9 rather than 8, which nobody has in training
    np.testing.assert_array_equal(target.toarray(), [[0, 1], [0, 0]])


@pytest.mark.parametrize("split", [leave_last_out, lambda x: global_time(x, fraction=0.5)])
def test_interactions_without_times_are_refused(split):
    with pytest.raises(DataError, match="no times to split by; read them with time="):
        split(Interactions.from_matrix(sparse.csr_matrix(np.eye(3))))
    with pytest.raises(DataTypeError, match="not csr_matrix"):
        split(sparse.csr_matrix(np.eye(3)))
    empty = Interactions(sparse.csr_matrix((2, 2)), IdMap([1, 2]), IdMap([1, 2]), times=np.empty(0, np.int64))
    with pytest.raises(EmptyDataError, match="none of the 2 users"):
        split(empty)


@pytest.mark.parametrize("k", [0, 1.0, None, "1"])
def test_k_out_of_range_is_refused(k):
    with pytest.raises(ConfigError, match=r"k is .*least 1"):
        leave_last_out(small(), k=k)


def test_k_beyond_every_user_names_the_most():
    with pytest.raises(EmptyDataError, match=r"more than 2 interactions.* the most is 2"):
        leave_last_out(small(), k=2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ConfigError, "either time or fraction"),
        ({"time": 3, "fraction": 0.5}, ConfigError, "either time or fraction"),
        ({"fraction": 1.0}, ConfigError, "fraction is 1.0"),
        ({"fraction": "0.5"}, ConfigError, "fraction is '0.5'"),
        ({"time": "2015"}, ConfigError, "time is '2015'; pass Unix seconds, or a datetime"),
        ({"time": float("nan")}, ConfigError, "time is nan"),
        ({"time": 10**400}, ConfigError, "time is 1"),
        ({"time": 1}, EmptyDataError, "nothing happened before 1; the first interaction is at 1"),
        ({"time": 5}, EmptyDataError, "nothing happened from 5 on; the last interaction is at 4"),
        ({"time": 2}, EmptyDataError, "none of the 3 interactions to be judged by"),
    ],
)
def test_moments_that_cannot_be_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        global_time(small(), **arguments)


def test_a_moment_may_be_a_date_time():
    interactions = small((1, 2, 1, 3))
    expected = global_time(interactions, time=2).protocol
    for zone in (None, timezone.utc, timezone(timedelta(hours=5))):
        moment = datetime.fromtimestamp(2, zone or timezone.utc).replace(tzinfo=zone)
        assert global_time(interactions, time=moment).protocol == expected
    assert interactions.split("time", time=pd.Timestamp(2, unit="s")).protocol == expected


def test_moment_between_two_seconds_is_the_later_one():
    assert global_time(small((1, 2, 1, 3)), time=1.5).protocol["time"] == 2


@pytest.mark.parametrize("time", [np.datetime64("2033-05-18", "ns"), b"2"])
def test_moments_that_are_no_seconds_are_refused(time):
    data = Interactions.from_frame(pa.table({"u": [1, 1], "i": [1, 2], "t": [1, 3]}), user="u", item="i", time="t")
    with pytest.raises(ConfigError, match="pass Unix seconds"):
        global_time(data, time=time)
