from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.ops.gather import add_table_gradient, gather_rows, may_repeat, table_gradient

NUM_ROWS = 7
SHAPES = [(NUM_ROWS, 3), (NUM_ROWS,), (NUM_ROWS, 2, 3)]
IDS = {
    "ascending": [0, 2, 3, 6],
    "unsorted": [5, 0, 6, 2],
    "repeated": [3, 1, 3, 3, 0],
    "repeated and ascending": [1, 1, 4],
    "all": list(range(NUM_ROWS)),
    "one": [4],
    "none": [],
}
EVERY_SHAPE = pytest.mark.parametrize("shape", SHAPES)
EVERY_IDS = pytest.mark.parametrize("ids", IDS.values(), ids=IDS.keys())
DENSE_AND_SPARSE = pytest.mark.parametrize("sparse", [False, True])


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def as_tensor(ids):
    return torch.tensor(ids, dtype=torch.int64)


def indexing_gradient(shape, ids, rows):
    """The gradient that autograd gives a table for ``table[ids]``."""
    table = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    table[ids].backward(rows)
    return table.grad


def dense(gradient):
    return gradient.to_dense() if gradient.is_sparse else gradient


@EVERY_SHAPE
@EVERY_IDS
@DENSE_AND_SPARSE
def test_gathered_rows_and_their_gradient_are_those_of_indexing(shape, ids, sparse):
    table, ids = normal(*shape).requires_grad_(), as_tensor(ids)
    rows = gather_rows(table, ids, sparse=sparse)
    assert torch.equal(rows, table[ids])
    slope = normal(*rows.shape, seed=1)
    rows.backward(slope)
    assert table.grad.is_sparse == sparse
    torch.testing.assert_close(dense(table.grad), indexing_gradient(shape, ids, slope), rtol=1e-14, atol=0)


def test_sparse_gradient_holds_only_the_rows_that_were_asked_for():
    table = normal(NUM_ROWS, 3).requires_grad_()
    gather_rows(table, as_tensor([5, 2]), sparse=True).sum().backward()
    assert table.grad._indices().tolist() == [[5, 2]]
    assert table.grad._values().shape == (2, 3)


@DENSE_AND_SPARSE
def test_a_table_without_gradient_gives_rows_without_gradient(sparse):
    assert not gather_rows(normal(4, 2), as_tensor([1]), sparse=sparse).requires_grad


@EVERY_SHAPE
@EVERY_IDS
@DENSE_AND_SPARSE
def test_table_gradient_is_that_of_indexing(shape, ids, sparse):
    ids = as_tensor(ids)
    rows = normal(len(ids), *shape[1:], seed=1)
    gradient = table_gradient(torch.Size(shape), ids, rows, sparse=sparse)
    assert gradient.is_sparse == sparse
    torch.testing.assert_close(dense(gradient), indexing_gradient(shape, ids, rows), rtol=1e-14, atol=0)


@given(st.lists(st.integers(0, 6), max_size=6))
@settings(max_examples=100)
def test_ids_may_repeat_just_where_one_does(ids):
    assert may_repeat(as_tensor(ids)) == (len(set(ids)) < len(ids))


def test_ids_on_another_device_are_not_looked_at():
    assert may_repeat(torch.arange(3, device="meta"))


def gradient_before(kind, shape):
    """What the table's gradient is before more is added to it: nothing, a dense tensor or a sparse one."""
    if kind == "nothing":
        return None
    ids = as_tensor([6, 2, 2])
    return table_gradient(torch.Size(shape), ids, normal(3, *shape[1:], seed=2), sparse=kind == "sparse")


@EVERY_SHAPE
@EVERY_IDS
@pytest.mark.parametrize("before", ["nothing", "dense", "sparse"])
def test_gradients_of_rows_are_added_to_what_is_there(shape, ids, before):
    table, ids = normal(*shape).requires_grad_(), as_tensor(ids)
    table.grad = gradient_before(before, shape)
    rows = normal(len(ids), *shape[1:], seed=1)
    expected = indexing_gradient(shape, ids, rows)
    if table.grad is not None:
        expected = expected + dense(table.grad)
    add_table_gradient(table, ids, rows.clone())
    torch.testing.assert_close(dense(table.grad), expected, rtol=1e-14, atol=1e-15)
    assert table.grad.is_sparse == (before != "dense")


@EVERY_SHAPE
@pytest.mark.parametrize("before", ["nothing", "dense", "sparse"])
def test_gradients_of_all_rows_make_a_dense_gradient(shape, before):
    table = normal(*shape).requires_grad_()
    table.grad = gradient_before(before, shape)
    rows = normal(*shape, seed=1)
    expected = rows if table.grad is None else rows + dense(table.grad)
    add_table_gradient(table, None, rows.clone())
    assert not table.grad.is_sparse
    torch.testing.assert_close(table.grad, expected, rtol=1e-14, atol=0)
