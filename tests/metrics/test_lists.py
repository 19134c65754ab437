from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recoder.metrics.lists import list_as_row, without_repeats

LISTS = arrays.arrays(np.int64, arrays.array_shapes(min_dims=2, max_dims=2, min_side=0), elements=st.integers(-2, 6))


@given(LISTS)
def test_repeats_go_and_the_first_of_each_stays_where_it_is(ranked):
    before = ranked.copy()
    cleaned = without_repeats(ranked)
    np.testing.assert_array_equal(ranked, before)
    for row, clean in zip(ranked.tolist(), cleaned.tolist(), strict=True):
        assert clean == [item if item >= 0 and item not in row[:rank] else -1 for rank, item in enumerate(row)]


@given(LISTS, st.integers(0, 5))
def test_cutting_the_lists_before_or_after_makes_no_difference(ranked, k):
    np.testing.assert_array_equal(without_repeats(ranked)[:, :k], without_repeats(ranked[:, :k]))


def test_list_becomes_one_row_of_at_most_k():
    assert list_as_row([3, 1, 2], 2).tolist() == [[3, 1]]
    assert list_as_row([], 2).shape == (1, 0)
    assert list_as_row([], 2).dtype == np.int64
