from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.errors import ShapeError
from recoder.ops.kernels import serve
from recoder.ops.rows import SparseRows, need_not_wait_for

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


@given(dense_tensors, st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_blocks_are_the_rows_in_order_and_of_no_rows_there_is_one(dense, rows_per_block):
    blocks = list(SparseRows.from_dense(dense).split(rows_per_block))
    assert torch.equal(torch.cat([block.to_dense() for block in blocks]), dense)
    assert [block.num_rows for block in blocks[:-1]] == [rows_per_block] * (len(blocks) - 1)
    assert blocks[-1].num_rows > 0 or len(blocks) == 1


@given(dense_tensors, st.data())
@settings(max_examples=60, deadline=None)
def test_rows_that_are_taken_come_in_the_order_that_is_asked_for(dense, data):
    some = data.draw(st.lists(st.integers(0, len(dense) - 1), max_size=8) if len(dense) else st.just([]))
    taken = SparseRows.from_dense(dense).take(torch.tensor(some, dtype=torch.int64))
    assert torch.equal(taken.to_dense(), dense[some])
    assert torch.equal(taken.offsets, SparseRows.from_dense(dense[some]).offsets)


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


def dense_by_columns(rows, order):
    """The dense tensor that the entries make, read in the order of their columns."""
    dense = torch.zeros(rows.num_rows, rows.num_cols)
    for col in range(rows.num_cols):
        for place in range(int(order.offsets[col]), int(order.offsets[col + 1])):
            dense[order.rows[place], col] += rows.values[order.entries[place]]
    return dense


@given(dense_tensors)
@settings(max_examples=60, deadline=None)
def test_order_of_columns_holds_every_entry_under_its_column(dense):
    rows = SparseRows.from_dense(dense)
    order = rows.columns
    assert torch.equal(dense_by_columns(rows, order), dense)
    assert sorted(order.entries.tolist()) == list(range(len(rows.cols)))
    assert order.offsets.tolist() == order.host_offsets.tolist()
    assert order.offsets.dtype == order.rows.dtype == order.entries.dtype == torch.int64


def test_order_of_columns_keeps_entries_that_repeat():
    indices, values = torch.tensor([[0, 1, 0, 0], [2, 1, 2, 0]]), torch.tensor([2.0, 5.0, 3.0, 7.0])
    rows = SparseRows.from_coordinates(indices, values, (2, 3))
    assert rows.columns.offsets.tolist() == [0, 1, 2, 4]
    assert torch.equal(dense_by_columns(rows, rows.columns), torch.tensor([[7.0, 0.0, 5.0], [0.0, 5.0, 0.0]]))


@pytest.mark.parametrize(
    ("offsets", "cols"),
    [
        ([0, 1], [7]),
        ([0, 1], [-1]),
        ([0, 1], [1 << 40]),
        ([0, 3], [1, 2]),
        ([0, 1], [1, 2]),
        ([1, 2], [1, 2]),
        ([0, 2, 1, 2], [1, 2]),
        ([0, -1, 2], [1, 2]),
    ],
)
def test_entries_that_are_nowhere_are_refused_where_the_kernels_would_write_them(offsets, cols):
    rows = SparseRows(torch.tensor(offsets), torch.tensor(cols), torch.ones(len(cols)), 5)
    if not serve(rows.offsets, rows.cols, dtypes=(torch.int64,)):
        pytest.skip("there are no kernels")
    with pytest.raises(ShapeError, match=f"rows of {len(cols)} entries over 5 columns"):
        rows.prepare()


def test_orders_are_derived_once():
    rows = SparseRows.from_dense(DENSE)
    assert "columns" not in rows.__dict__
    rows.prepare()
    assert {"columns", "row_ids"} <= rows.__dict__.keys()
    assert rows.columns is rows.columns


def test_with_values_keeps_the_orders():
    rows = SparseRows.from_dense(DENSE)
    rows.prepare()
    doubled = rows.with_values(rows.values * 2)
    assert doubled.columns is rows.columns
    assert doubled.row_ids is rows.row_ids


def test_orders_of_a_pattern_that_has_none_are_derived_later():
    rows = SparseRows.from_dense(DENSE).with_values(torch.ones(3))
    assert rows.columns.rows.tolist() == [2, 0, 2]


def test_orders_move_along():
    rows = SparseRows.from_dense(DENSE)
    rows.prepare()
    moved = rows.to(torch.device("meta"))
    order = moved.columns
    assert {part.device.type for part in (moved.row_ids, order.offsets, order.rows, order.entries)} == {"meta"}
    assert order.host_offsets is rows.columns.host_offsets


@pytest.mark.parametrize("is_prepared", [False, True])
def test_a_pickled_copy_has_the_same_content_and_derives_again(is_prepared):
    rows = SparseRows.from_dense(DENSE)
    if is_prepared:
        rows.prepare()
    copy = pickle.loads(pickle.dumps(rows))
    assert "columns" not in copy.__dict__
    assert torch.equal(copy.to_dense(), DENSE)
    assert torch.equal(copy.columns.entries, rows.columns.entries)
    assert torch.equal(copy.row_ids, rows.row_ids)


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


def test_what_is_copied_to_the_host_is_waited_for():
    assert not need_not_wait_for(torch.device("cpu"))
    assert need_not_wait_for(torch.device("cuda"))
