from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoder.data import IdMap, Interactions
from recoder.errors import ConfigError, DataTypeError

rows = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(2, 4), st.integers(0, 99)), min_size=1, max_size=30
)


def made(listed, **columns):
    frame = pd.DataFrame(listed, columns=["user", "item", "weight", "time"])
    return Interactions.from_frame(frame, user="user", item="item", **columns)


@given(rows, rows)
def test_merged_interactions_are_those_of_all_rows_in_one_frame(first, second):
    merged = made(first, weight="weight", time="time").merge(made(second, weight="weight", time="time"))
    whole = made(first + second, weight="weight", time="time")
    assert merged.user_ids == whole.user_ids
    assert merged.item_ids == whole.item_ids
    assert (merged.matrix != whole.matrix).nnz == 0
    np.testing.assert_array_equal(merged.times, whole.times)


@given(rows, rows)
def test_a_pair_that_is_on_both_sides_counts_once_where_all_weights_are_1(first, second):
    merged = made(first).merge(made(second))
    whole = made(first + second)
    assert (merged.matrix != whole.matrix).nnz == 0


def test_what_is_known_keeps_its_place_and_its_title():
    first = Interactions.from_frame(
        pd.DataFrame({"u": ["a", "b"], "i": ["x", "y"], "t": ["X", "Y"]}), user="u", item="i", title="t"
    )
    second = Interactions.from_frame(
        pd.DataFrame({"u": ["c", "a"], "i": ["z", "x"], "t": ["Z", "another"]}), user="u", item="i", title="t"
    )
    merged = first.merge(second)
    assert merged.user_ids == IdMap(["a", "b", "c"])
    assert merged.item_ids == IdMap(["x", "y", "z"])
    assert merged.titles == ("X", "Y", "Z")
    bare = Interactions(second.matrix, second.user_ids, second.item_ids)
    assert first.merge(bare).titles == ("X", "Y", "z")
    assert bare.merge(first).titles == ("z", "X", "Y")
    assert bare.merge(bare).titles is None


def test_a_title_that_was_missing_comes_from_the_others():
    first, second = (
        Interactions.from_frame(pd.DataFrame({"u": [1, 1], "i": [10, 11], "t": titles}), user="u", item="i", title="t")
        for titles in ([None, "Red"], ["Blue", None])
    )
    assert first.titles == ("10", "Red")
    assert first.merge(second).titles == second.merge(first).titles == ("Blue", "Red")


def test_times_are_kept_where_both_sides_have_them():
    assert made([(1, 2, 1, 5)], time="time").merge(made([(1, 3, 1, 6)])).times is None


def test_ids_of_two_types_are_not_merged():
    with pytest.raises(DataTypeError, match="user ids are int64 in one and large_string in the other"):
        made([(1, 2, 1, 5)]).merge(made([("a", "b", 1, 5)]))
    with pytest.raises(DataTypeError, match="merge takes Interactions, not DataFrame"):
        made([(1, 2, 1, 5)]).merge(pd.DataFrame())


@given(rows)
def test_a_frame_leads_back_to_the_interactions(listed):
    interactions = made(listed, weight="weight", time="time")
    frame = interactions.to_frame()
    assert list(frame.columns) == ["user_id", "item_id", "weight", "time"]
    again = Interactions.from_frame(frame, user="user_id", item="item_id", weight="weight", time="time")
    cols = again.item_ids.indices(interactions.item_ids.ids)
    rows = again.user_ids.indices(interactions.user_ids.ids)
    assert (again.matrix[rows][:, cols] != interactions.matrix).nnz == 0


def test_a_frame_comes_in_the_library_that_is_asked_for():
    interactions = made([(1, 2, 1, 5)])
    assert type(interactions.to_frame("polars")).__module__.startswith("polars")
    assert type(interactions.to_frame("pyarrow")).__module__.startswith("pyarrow")
    with pytest.raises(ConfigError, match="there are no data frames of 'abacus'; choose one of pandas"):
        interactions.to_frame("abacus")


def test_splits_go_by_their_short_names():
    rng = np.random.default_rng(0)
    listed = [(int(u), int(i), 1, int(t)) for u, i, t in rng.integers([40, 30, 1000], size=(600, 3))]
    interactions = made(listed, time="time")
    train, valid, test = interactions.split("strong", seed=3)
    assert train.num_users + len(valid.user_ids) + len(test.user_ids) == 40
    assert len(valid.user_ids) == len(test.user_ids) == 4
    for kind, arguments in (("random", {"seed": 3}), ("last", {"k": 2}), ("time", {"fraction": 0.3})):
        train, test = interactions.split(kind, **arguments)
        assert test.item_ids == train.item_ids
        assert test.dataset.target_interactions_matrix.nnz > 0
    for kind, arguments, words in (
        ("weak", {}, "no split 'weak'; choose one of strong, random, last, time"),
        ("strong", {}, "the split 'strong' needs seed"),
        ("last", {"seed": 3}, "the split 'last' has no argument 'seed'; it takes k"),
        ("random", {"seed": 3, "fraction": 2.0}, "fraction is 2.0"),
    ):
        with pytest.raises(ConfigError, match=words):
            interactions.split(kind, **arguments)
