from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.ops.encode import sums_by_column, weighted_row_sums
from recoder.ops.rows import SparseRows


def random_dense(num_rows, num_cols, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    dense = torch.rand(num_rows, num_cols, generator=generator, dtype=dtype) + 0.1
    dense[torch.rand(num_rows, num_cols, generator=generator) < 0.6] = 0
    dense[: num_rows // 4] = 0  # users without items
    return dense


SHAPES = [(5, 7, 3), (1, 1, 1), (4, 1, 2), (1, 9, 5), (0, 4, 2), (6, 5, 1)]


@pytest.mark.parametrize(("num_users", "num_items", "num_factors"), SHAPES)
@pytest.mark.parametrize("sparse", [False, True])
def test_weighted_sums_equal_the_dense_product(num_users, num_items, num_factors, sparse):
    dense = random_dense(num_users, num_items)
    table = torch.randn(num_items, num_factors, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    rows = SparseRows.from_dense(dense)
    sums = weighted_row_sums(table, rows, None, sparse=sparse)
    assert sums.shape == (num_users, num_factors)
    torch.testing.assert_close(sums, dense @ table, rtol=1e-12, atol=1e-14)


def test_item_ids_choose_the_table_rows():
    dense = random_dense(5, 3)
    table = torch.randn(10, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    items = torch.tensor([9, 2, 5])
    rows = SparseRows.from_dense(dense)
    sums = weighted_row_sums(table, rows, items, sparse=False)
    torch.testing.assert_close(sums, dense @ table[items], rtol=1e-12, atol=1e-14)


def test_repeated_items_are_added_up():
    table = torch.eye(3)
    rows = SparseRows.from_coordinates(torch.tensor([[0, 0, 0], [2, 2, 1]]), torch.tensor([1.0, 4.0, 3.0]), (1, 3))
    assert weighted_row_sums(table, rows, None, sparse=False).tolist() == [[0, 3, 5]]


def test_gradients_are_those_of_finite_differences():
    dense = random_dense(5, 4)
    pattern = SparseRows.from_dense(dense)

    def normalised_sums(values, table):
        rows = pattern.with_values(values)
        norms = rows.sum_rows(values.square()).sqrt().clamp_min(1e-12)
        return weighted_row_sums(table, rows, None, sparse=False) / norms[:, None]

    values = pattern.values.clone().requires_grad_()
    table = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(normalised_sums, (values, table))


def test_sparse_gradient_holds_only_the_rows_that_were_read():
    table = torch.ones(6, 2, requires_grad=True)
    dense = torch.zeros(2, 6)
    dense[0, 4], dense[1, 1] = 2, 3
    rows = SparseRows.from_dense(dense)
    weighted_row_sums(table, rows, None, sparse=True).sum().backward()
    assert table.grad.is_sparse
    assert table.grad.coalesce().indices().tolist() == [[1, 4]]
    assert torch.equal(table.grad.to_dense(), dense.sum(dim=0)[:, None].expand(6, 2))


def test_values_of_another_dtype_take_that_of_the_table():
    dense = F.one_hot(torch.tensor([1, 0]), 3).float()
    rows = SparseRows.from_dense(dense)
    sums = weighted_row_sums(torch.ones(3, 2, dtype=torch.float64), rows, None, sparse=False)
    assert sums.dtype == torch.float64


def gradients_of_sums(sums, leaves, slope):
    gradients = torch.autograd.grad((sums * slope).sum(), leaves)
    return [gradient.to_dense() if gradient.is_sparse else gradient for gradient in gradients]


def assert_sums_and_gradients_are_dense_ones(dense, items, num_rows, num_factors=3, *, sparse):
    """Compares with the dense product and its gradients in the table and in the interactions' values."""
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(num_rows, num_factors, dtype=torch.float64, generator=generator).requires_grad_()
    slope = torch.randn(len(dense), num_factors, dtype=torch.float64, generator=generator)
    pattern = SparseRows.from_dense(dense)
    values = pattern.values.clone().requires_grad_()
    rows = pattern.with_values(values)
    ours = weighted_row_sums(table, rows, items, sparse=sparse)
    read = table[: dense.shape[1]] if items is None else table[items]
    theirs = rows.to_dense() @ read
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(
        gradients_of_sums(ours, [table, values], slope),
        gradients_of_sums(theirs, [table, values], slope),
        rtol=1e-12,
        atol=1e-13,
    )


ITEMS = {
    "columns are rows": (None, 6),
    "columns are the first rows": (None, 10),
    "ascending": ([0, 2, 3, 5, 8, 9], 10),
    "unsorted": ([9, 0, 5, 2, 8, 3], 10),
    "all, unsorted": ([5, 0, 3, 1, 4, 2], 6),
    "repeated": ([4, 1, 4, 9, 1, 0], 10),
    "repeated and ascending": ([1, 1, 2, 4, 4, 4], 10),
}


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("items", "num_rows"), ITEMS.values(), ids=ITEMS.keys())
def test_gradients_are_those_of_the_dense_product(items, num_rows, sparse):
    dense = random_dense(5, 6)
    dense[:, [1, 5]] = 0  # items without users
    items = None if items is None else torch.tensor(items)
    assert_sums_and_gradients_are_dense_ones(dense, items, num_rows, sparse=sparse)


@given(
    num_users=st.integers(0, 6),
    num_cols=st.integers(1, 7),
    num_more=st.integers(0, 4),
    named=st.booleans(),
    ascending=st.booleans(),
    sparse=st.booleans(),
    seed=st.integers(0, 100),
)
@settings(max_examples=80)
def test_they_are_for_any_shape(num_users, num_cols, num_more, named, ascending, sparse, seed):
    num_rows = num_cols + num_more
    chosen = torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed))[:num_cols]
    items = (chosen.sort().values if ascending else chosen) if named else None
    assert_sums_and_gradients_are_dense_ones(random_dense(num_users, num_cols, seed), items, num_rows, sparse=sparse)


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_of_entries_that_repeat_are_added_up(sparse):
    indices, values = torch.tensor([[0, 0, 1, 0], [2, 2, 2, 1]]), torch.tensor([1.0, 4.0, 3.0, 5.0])
    rows = SparseRows.from_coordinates(indices, values, (2, 3))
    table = torch.zeros(4, 1, requires_grad=True)
    weighted_row_sums(table, rows, None, sparse=sparse).backward(torch.tensor([[1.0], [10.0]]))
    gradient = table.grad.to_dense() if sparse else table.grad
    assert gradient.squeeze(1).tolist() == [0, 5, 35, 0]


def test_only_what_needs_a_gradient_gets_one():
    rows = SparseRows.from_dense(random_dense(3, 4))
    table = torch.ones(4, 2, dtype=torch.float64)
    assert not weighted_row_sums(table, rows, None, sparse=False).requires_grad
    values = rows.values.clone().requires_grad_()
    weighted_row_sums(table, rows.with_values(values), None, sparse=False).sum().backward()
    torch.testing.assert_close(values.grad, torch.full_like(values, 2))
    assert table.grad is None


@pytest.mark.parametrize("width", [1, 2, 100])
@pytest.mark.parametrize("num_missing", [0, 3])
@pytest.mark.parametrize(("num_users", "num_items", "num_factors"), SHAPES)
def test_sums_by_column_equal_the_dense_product(num_users, num_items, num_factors, num_missing, width):
    dense = random_dense(num_users, num_items)
    factors = torch.randn(num_users, num_factors, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    rows = SparseRows.from_dense(dense)
    values = rows.values[rows.columns.entries]
    expected = F.pad(dense, (0, num_missing)).T @ factors  # columns that the rows do not have
    for start in range(0, num_items + num_missing, width):
        columns = slice(start, min(start + width, num_items + num_missing))
        sums = sums_by_column(rows, values, factors, columns)
        torch.testing.assert_close(sums, expected[columns], rtol=1e-12, atol=1e-14)
