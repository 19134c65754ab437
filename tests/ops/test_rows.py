from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.ops.rows import SparseRows

DENSE = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [3.0, 0.0, 4.0]])

dense_tensors = st.tuples(st.integers(0, 5), st.integers(0, 6), st.integers(0, 1000)).map(
    lambda sizes: torch.from_numpy(np.random.default_rng(sizes[2]).integers(0, 3, sizes[:2]).astype(np.float32))
)


@given(dense_tensors)
@settings(max_examples=60, deadline=None)
def test_dense_tensors_come_back(dense):
    rows = SparseRows.from_dense(dense)
    assert torch.equal(rows.to_dense(), dense)
    assert rows.num_rows == dense.shape[0]
    assert rows.num_cols == dense.shape[1]
    assert rows.offsets.dtype == rows.cols.dtype == torch.int64


@given(dense_tensors, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_coordinates_in_any_order_give_the_same_rows(dense, random):
    indices = dense.nonzero().T
    order = list(range(indices.shape[1]))
    random.shuffle(order)
    values = dense[indices[0], indices[1]]
    rows = SparseRows.from_coordinates(indices[:, order], values[order], tuple(dense.shape))
    assert torch.equal(rows.to_dense(), dense)
    assert torch.equal(rows.offsets, SparseRows.from_dense(dense).offsets)


@given(dense_tensors)
@settings(max_examples=60, deadline=None)
def test_sums_of_rows_equal_the_dense_ones(dense):
    rows = SparseRows.from_dense(dense)
    assert torch.equal(rows.sum_rows(rows.values), dense.sum(dim=1))
    assert torch.equal(rows.sum_rows(rows.values**2), (dense**2).sum(dim=1))


def test_row_ids_name_the_row_of_each_entry():
    rows = SparseRows.from_dense(DENSE)
    assert rows.offsets.tolist() == [0, 1, 1, 3]
    assert rows.row_ids.tolist() == [0, 2, 2]
    assert rows.row_ids is rows.row_ids


def test_repeated_entries_are_added_up():
    rows = SparseRows.from_coordinates(torch.tensor([[0, 0], [1, 1]]), torch.tensor([2.0, 3.0]), (1, 2))
    assert rows.to_dense().tolist() == [[0, 5]]


def test_entries_of_a_row_keep_their_order():
    indices = torch.tensor([[1, 0, 1, 1], [5, 0, 2, 9]])
    rows = SparseRows.from_coordinates(indices, torch.arange(4.0), (2, 10))
    assert rows.cols.tolist() == [0, 5, 2, 9]
    assert rows.values.tolist() == [1, 0, 2, 3]


def test_with_values_keeps_the_pattern():
    rows = SparseRows.from_dense(DENSE)
    doubled = rows.with_values(rows.values * 2)
    assert torch.equal(doubled.to_dense(), DENSE * 2)
    assert doubled.cols is rows.cols
    assert torch.equal(rows.to_dense(), DENSE)


def test_gradients_flow_through_both_ways():
    dense = DENSE.double().requires_grad_()
    weight = torch.arange(9.0, dtype=torch.float64).reshape(3, 3)
    (SparseRows.from_dense(dense).to_dense() * weight).sum().backward()
    assert torch.equal(dense.grad, weight * (DENSE != 0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_of_the_values_stays(dtype):
    rows = SparseRows.from_dense(DENSE.to(dtype))
    assert rows.to_dense().dtype == rows.sum_rows(rows.values).dtype == dtype


def test_moving_to_the_same_device_is_free():
    rows = SparseRows.from_dense(DENSE)
    assert rows.to(torch.device("cpu")) is rows


def test_moving_moves_every_part():
    moved = SparseRows.from_dense(DENSE).to(torch.device("meta"))
    assert {part.device.type for part in (moved.offsets, moved.cols, moved.values)} == {"meta"}
