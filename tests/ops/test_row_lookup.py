from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recoder.ops.row_lookup import RowLookup
from recoder.ops.rows import SparseRows


def rows_of(dense):
    return SparseRows.from_scipy(sparse.csr_matrix(np.asarray(dense, dtype=np.float32)))


@given(
    num_rows=st.integers(0, 12),
    num_others=st.integers(0, 12),
    num_cols=st.integers(1, 3),
    seed=st.integers(0, 10_000),
)
def test_a_row_is_found_where_one_has_its_entries_and_only_there(num_rows, num_others, num_cols, seed):
    rng = np.random.default_rng(seed)
    rows, others = (rng.integers(0, 3, (number, num_cols)) for number in (num_rows, num_others))
    places = RowLookup(rows_of(rows)).places(rows_of(others)).tolist()
    for other, place in zip(others.tolist(), places, strict=True):
        if place < 0:
            assert other not in rows.tolist()
        else:
            assert rows[place].tolist() == other


@pytest.mark.parametrize("changed", [[(5, 1.0)], [(3, 2.0)], [], [(3, 1.0), (5, 1.0)]])
def test_rows_that_differ_are_none_whatever_their_hashes(changed, monkeypatch):
    rows = np.zeros((1, 8))
    rows[0, 3] = 1
    other = np.zeros((1, 8))
    for col, value in changed:
        other[0, col] = value
    monkeypatch.setattr(RowLookup, "_hashes", lambda self, rows: torch.zeros(rows.num_rows, dtype=torch.int64))
    lookup = RowLookup(rows_of(rows))
    assert lookup.places(rows_of(other)).tolist() == [-1]
    assert lookup.places(rows_of(rows)).tolist() == [0]
