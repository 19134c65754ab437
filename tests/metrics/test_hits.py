from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recoder.metrics import hits as module
from recoder.metrics.hits import hits_of_list, hits_of_rows


def test_repeated_item_counts_once_where_it_first_stands():
    hits, n_relevant = hits_of_list([4, 7, 4, 9], [9, 4, 4], 10)
    assert hits.tolist() == [[True, False, False, True]]
    assert n_relevant.tolist() == [2]


def test_repeated_item_takes_up_a_rank():
    hits, _ = hits_of_list([4, 4, 9], [9, 4], 2)
    assert hits.tolist() == [[True, False]]


def test_arrays_and_tensors_do_as_well_as_lists():
    expected, _ = hits_of_list([1, 2, 3], [3, 1], 3)
    for kind in (np.array, torch.tensor, tuple):
        hits, n_relevant = hits_of_list(kind([1, 2, 3]), kind([3, 1]), 3)
        assert hits.tolist() == expected.tolist()
        assert n_relevant.tolist() == [2]


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_lists_of_single_values_of_arrays_and_tensors_do_as_well(kind):
    hits, n_relevant = hits_of_list([kind(item) for item in (3, 5, 7)], (kind(item) for item in (7, 3)), 3)
    assert hits.tolist() == [[True, False, True]]
    assert n_relevant.tolist() == [2]


def test_items_may_be_anything_hashable():
    hits, _ = hits_of_list(["a", "b"], ["b"], 2)
    assert hits.tolist() == [[False, True]]


def test_padding_never_hits_the_item_that_stands_before_it_in_memory():
    # user 1's key for "item -1" equals user 0's key for the last item
    target = sparse.csr_matrix(np.array([[0, 0, 1], [1, 0, 0]]))
    ranked = np.array([[-1, -1], [-1, 0]])
    assert hits_of_rows(ranked, target.indptr, target.indices, 3).tolist() == [[False, False], [False, True]]


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 20, 1 << 22]))
def test_many_users_at_once_equal_one_list_at_a_time(seed, table_cells):
    generator = np.random.default_rng(seed)
    num_users, num_items, num_ranks = (
        generator.integers(1, 8),
        generator.integers(1, 12),
        generator.integers(0, 9),
    )
    target = sparse.csr_matrix(generator.random((num_users, num_items)) < generator.random())
    ranked = generator.integers(-1, num_items, size=(num_users, num_ranks))  # repeats and gaps included
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TABLE_CELLS", table_cells)
        hits = hits_of_rows(ranked, target.indptr, target.indices, num_items)
    assert hits.shape == ranked.shape
    for user in range(num_users):
        relevant = target[[user]].indices
        alone, n_relevant = hits_of_list(ranked[user].tolist(), relevant.tolist(), max(1, num_ranks))
        assert hits[user].tolist() == alone[0].tolist()
        assert n_relevant[0] == len(relevant)


def test_items_of_arrow_columns_are_found():
    column = pa.chunked_array([pa.array(["a", "b"]), pa.array(["c"])])
    for recommended, relevant in ((column, ["c"]), (column.chunk(0), ["b"]), (["c"], column), (list(column), ["a"])):
        hits, _ = hits_of_list(recommended, relevant, 3)
        assert hits.sum() == 1
