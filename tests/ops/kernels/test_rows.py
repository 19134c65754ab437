from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recoder.ops import rows as rows_module
from recoder.ops.kernels import library
from recoder.ops.kernels.rows import number_ids
from recoder.ops.rows import SparseRows

pytestmark = pytest.mark.skipif(library() is None, reason="no kernels are compiled")
DENSE = arrays.arrays(
    np.float32, st.tuples(st.integers(0, 8), st.integers(0, 12)), elements=st.sampled_from([0.0, 0.0, 0.5, 2.0])
)


@given(DENSE)
@settings(max_examples=100, deadline=None)
def test_the_order_of_columns_is_that_of_scipy(dense):
    ours, theirs = (SparseRows.from_dense(torch.from_numpy(dense)) for _ in range(2))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(rows_module, "serve", lambda *tensors, **options: False)
        expected = theirs.columns
    for name in ("offsets", "rows", "entries"):
        assert torch.equal(getattr(ours.columns, name), getattr(expected, name))
    np.testing.assert_array_equal(ours.columns.host_offsets, expected.host_offsets)
    assert torch.equal(ours.values_by_column, theirs.values_by_column)
    assert torch.equal(ours.row_ids, theirs.row_ids)


@given(st.lists(st.integers(0, 40), max_size=60))
@settings(max_examples=100, deadline=None)
def test_ids_get_the_numbers_of_numpy_unique(ids):
    numbers = np.array(ids, dtype=np.int64)
    expected, expected_numbers = np.unique(numbers, return_inverse=True)
    np.testing.assert_array_equal(number_ids(numbers, 41), expected)
    np.testing.assert_array_equal(numbers, expected_numbers)
