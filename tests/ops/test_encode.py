from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from recoder.ops.encode import row_norms, weighted_row_sums
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
    sums = weighted_row_sums(table, rows, rows.cols, sparse=sparse)
    assert sums.shape == (num_users, num_factors)
    torch.testing.assert_close(sums, dense @ table, rtol=1e-12, atol=1e-14)


def test_item_ids_choose_the_table_rows():
    dense = random_dense(5, 3)
    table = torch.randn(10, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    items = torch.tensor([9, 2, 5])
    rows = SparseRows.from_dense(dense)
    sums = weighted_row_sums(table, rows, items[rows.cols], sparse=False)
    torch.testing.assert_close(sums, dense @ table[items], rtol=1e-12, atol=1e-14)


def test_repeated_items_are_added_up():
    table = torch.eye(3)
    rows = SparseRows.from_coordinates(torch.tensor([[0, 0, 0], [2, 2, 1]]), torch.tensor([1.0, 4.0, 3.0]), (1, 3))
    assert weighted_row_sums(table, rows, rows.cols, sparse=False).tolist() == [[0, 3, 5]]


@pytest.mark.parametrize(("num_users", "num_items"), [(5, 7), (1, 1), (0, 4)])
def test_row_norms_equal_the_dense_ones(num_users, num_items):
    dense = random_dense(num_users, num_items)
    torch.testing.assert_close(row_norms(SparseRows.from_dense(dense)), dense.norm(dim=1), rtol=1e-14, atol=0)


def test_gradients_are_those_of_finite_differences():
    dense = random_dense(5, 4)
    pattern = SparseRows.from_dense(dense)

    def normalised_sums(values, table):
        rows = pattern.with_values(values)
        norms = row_norms(rows).clamp_min(1e-12)
        return weighted_row_sums(table, rows, rows.cols, sparse=False) / norms[:, None]

    values = pattern.values.clone().requires_grad_()
    table = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(normalised_sums, (values, table))


def test_sparse_gradient_holds_only_the_rows_that_were_read():
    table = torch.ones(6, 2, requires_grad=True)
    dense = torch.zeros(2, 6)
    dense[0, 4], dense[1, 1] = 2, 3
    rows = SparseRows.from_dense(dense)
    weighted_row_sums(table, rows, rows.cols, sparse=True).sum().backward()
    assert table.grad.is_sparse
    assert table.grad.coalesce().indices().tolist() == [[1, 4]]
    assert torch.equal(table.grad.to_dense(), dense.sum(dim=0)[:, None].expand(6, 2))


def test_values_of_another_dtype_take_that_of_the_table():
    dense = F.one_hot(torch.tensor([1, 0]), 3).float()
    rows = SparseRows.from_dense(dense)
    sums = weighted_row_sums(torch.ones(3, 2, dtype=torch.float64), rows, rows.cols, sparse=False)
    assert sums.dtype == torch.float64
