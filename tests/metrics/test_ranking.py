from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoder.errors import ConfigError, DataTypeError, ShapeError
from recoder.metrics.ranking import (
    average_precision_at_k,
    checked_cutoff,
    dcg_at_k,
    hit_rate_at_k,
    ndcg_at_k,
    precision_at_k,
    r_precision_at_k,
    recall_at_k,
    reciprocal_rank_at_k,
)

# a perfect list scores 1 in these, however many items are relevant
NORMALIZED = [recall_at_k, ndcg_at_k, average_precision_at_k, r_precision_at_k, hit_rate_at_k, reciprocal_rank_at_k]
ALL = [*NORMALIZED, precision_at_k]


def one(hits: list[int]) -> np.ndarray:
    return np.array([hits], dtype=bool)


def relevant(*counts: int) -> np.ndarray:
    return np.array(counts, dtype=np.int64)


@st.composite
def users(draw):
    """Draws (hits_BC, n_relevant_B, k) that some lists could have given rise to."""
    num_users, num_ranks = draw(st.integers(1, 5)), draw(st.integers(0, 12))
    bits = st.lists(st.booleans(), min_size=num_users * num_ranks, max_size=num_users * num_ranks)
    hits = np.array(draw(bits), dtype=bool).reshape(num_users, num_ranks)
    missed = draw(st.lists(st.integers(0, 6), min_size=num_users, max_size=num_users))
    return hits, hits.sum(axis=1) + np.array(missed), draw(st.integers(1, 15))


def test_recall_by_hand():
    hits = one([1, 0, 1, 1])
    assert recall_at_k(hits, relevant(5), 2) == [1 / 2]
    assert recall_at_k(hits, relevant(5), 2, normalize=False) == [1 / 5]
    assert recall_at_k(hits, relevant(5), 4) == [3 / 4]
    assert recall_at_k(hits, relevant(3), 4) == [1.0]


def test_average_precision_by_hand():
    hits = one([1, 0, 1, 1])
    total = 1 / 1 + 2 / 3 + 3 / 4
    assert average_precision_at_k(hits, relevant(8), 4) == pytest.approx([total / 4], rel=1e-15)
    assert average_precision_at_k(hits, relevant(8), 4, normalize=False) == pytest.approx([total / 8], rel=1e-15)
    assert average_precision_at_k(hits, relevant(8), 2) == [1 / 2]


def test_dcg_and_ndcg_by_hand():
    hits = one([0, 1, 0, 1])
    gained = 1 / math.log2(3) + 1 / math.log2(5)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert dcg_at_k(hits, 4) == pytest.approx([gained], rel=1e-15)
    assert dcg_at_k(hits, 3) == pytest.approx([1 / math.log2(3)], rel=1e-15)
    assert ndcg_at_k(hits, relevant(3), 4) == pytest.approx([gained / ideal], rel=1e-15)


@given(users())
def test_values_equal_their_definitions(drawn):
    hits, n_relevant, k = drawn
    for user in np.flatnonzero(n_relevant):
        alone = (hits[user : user + 1], n_relevant[user : user + 1])
        row, found = hits[user].tolist(), hits[user, :k].sum()
        cutoff = min(k, n_relevant[user])
        assert precision_at_k(*alone, k) == [found / k]
        assert hit_rate_at_k(*alone, k) == [float(found > 0)]
        assert reciprocal_rank_at_k(*alone, k) == [1 / (row.index(True) + 1) if found else 0.0]
        assert r_precision_at_k(*alone, k) == [sum(row[:cutoff]) / cutoff]


@pytest.mark.parametrize("metric", NORMALIZED)
@pytest.mark.parametrize("num_relevant", [1, 3, 7, 100, 5000])
def test_perfect_list_scores_exactly_one(metric, num_relevant):
    k = 100
    hits = one([1] * min(k, num_relevant) + [0] * max(0, k - num_relevant))
    assert metric(hits, relevant(num_relevant), k) == [1.0]


@pytest.mark.parametrize("metric", ALL)
def test_user_without_relevant_items_is_nan_and_the_others_are_not(metric):
    values = metric(np.array([[0], [1]], dtype=bool), relevant(0, 1), 1)
    assert np.isnan(values[0])
    assert values[1] == 1.0


def test_dcg_of_nothing_is_zero():
    values = dcg_at_k(np.zeros((3, 0), dtype=bool), 5)
    assert values.dtype == np.float64
    assert values.tolist() == [0, 0, 0]


@given(users())
def test_values_lie_between_zero_and_one(drawn):
    hits, n_relevant, k = drawn
    for metric in ALL:
        values = metric(hits, n_relevant, k)
        assert values.dtype == np.float64
        known = values[n_relevant > 0]
        assert (known >= 0).all()
        assert (known <= 1).all()
        assert np.isnan(values[n_relevant == 0]).all()


@given(users(), st.data())
def test_one_more_hit_never_lowers_a_value(drawn, data):
    hits, n_relevant, k = drawn
    if hits.shape[1] == 0:
        return
    better = hits.copy()
    better[:, data.draw(st.integers(0, hits.shape[1] - 1))] = True
    # the item behind the new hit was relevant all along
    n_relevant = np.maximum(n_relevant, better.sum(axis=1))
    for metric in ALL:
        assert (metric(better, n_relevant, k) >= metric(hits, n_relevant, k)).all()


@given(users())
def test_moving_hits_to_the_top_never_lowers_a_value(drawn):
    hits, n_relevant, k = drawn
    ascending = np.sort(hits, axis=1)[:, ::-1]
    for metric in ALL:
        before, after = metric(hits, n_relevant, k), metric(ascending, n_relevant, k)
        assert (after >= before)[n_relevant > 0].all()


@given(users())
def test_unnormalized_recall_grows_with_k(drawn):
    hits, n_relevant, k = drawn
    shorter = recall_at_k(hits, n_relevant, k, normalize=False)
    longer = recall_at_k(hits, n_relevant, k + 1, normalize=False)
    assert (longer >= shorter)[n_relevant > 0].all()


@given(users())
def test_value_of_a_user_does_not_depend_on_the_others_or_on_padding(drawn):
    hits, n_relevant, k = drawn
    padded = np.pad(hits, [(0, 0), (0, 150)])
    for metric in ALL:
        together = metric(hits, n_relevant, k)
        alone = [metric(hits[u : u + 1], n_relevant[u : u + 1], k)[0] for u in range(len(hits))]
        np.testing.assert_array_equal(together, alone)
        np.testing.assert_array_equal(together, metric(padded, n_relevant, k))


def test_a_cutoff_far_beyond_the_lists_takes_no_more_memory():
    hits, counts = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]], dtype=bool), relevant(5, 1, 0)
    np.testing.assert_array_equal(dcg_at_k(hits, 10**15), dcg_at_k(hits, 5))
    np.testing.assert_array_equal(ndcg_at_k(hits, counts, 10**15), ndcg_at_k(hits, counts, 5))


@pytest.mark.parametrize("metric", ALL)
def test_ranks_beyond_k_do_not_count(metric):
    first, second = one([1, 0, 0, 0]), one([1, 0, 1, 1])
    assert metric(first, relevant(4), 2) == metric(second, relevant(4), 2)


@pytest.mark.parametrize("metric", ALL)
def test_shapes_that_do_not_fit_are_an_error(metric):
    with pytest.raises(ShapeError, match=r"\(1, 2\).*\(2,\)"):
        metric(one([1, 0]), relevant(1, 1), 2)


def test_cutoff_below_one_is_an_error():
    assert checked_cutoff(np.int64(3)) == 3
    with pytest.raises(ConfigError, match="k is 0"):
        checked_cutoff(0)
    with pytest.raises(DataTypeError, match=r"k is 2\.5"):
        checked_cutoff(2.5)
