from __future__ import annotations

import numpy as np
import pytest
import torch

from recoder.ops import adagrad_rows as module
from recoder.ops.adagrad_rows import adagrad_rows
from recoder.ops.kernels import library

LR, EPS = 0.1, 1e-10
NUM_ROWS = 11


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def in_numpy(table, sums, rows, gradient, weight_decay):
    """Exact row-wise Adagrad, a row at a time."""
    for row, slope in zip(rows, gradient, strict=True):
        slope = slope + weight_decay * table[row]
        sums[row] += np.mean(slope**2)
        table[row] -= LR * slope / (np.sqrt(sums[row]) + EPS)


@pytest.mark.parametrize("shape", [(1,), (4,), (2, 3)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("rows_at_once", [1, 2, 2048])
def test_a_row_is_divided_by_the_root_of_the_sum_of_its_mean_squares(shape, weight_decay, rows_at_once, monkeypatch):
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", rows_at_once)
    table, sums = drawn(NUM_ROWS, *shape), torch.zeros(NUM_ROWS, dtype=torch.float64)
    expected = table.numpy().copy(), sums.numpy().copy()
    for step, rows in enumerate([[3, 1, 8], [], [8], list(range(NUM_ROWS)), None]):
        gradient = drawn(NUM_ROWS if rows is None else len(rows), *shape, seed=step + 1)
        ids = None if rows is None else torch.tensor(rows, dtype=torch.int64)
        adagrad_rows(table, sums, ids, gradient, lr=LR, weight_decay=weight_decay, eps=EPS)
        in_numpy(*expected, range(NUM_ROWS) if rows is None else rows, gradient.numpy(), weight_decay)
    np.testing.assert_allclose(table, expected[0], rtol=1e-12)
    np.testing.assert_allclose(sums, expected[1], rtol=1e-12)


@pytest.mark.parametrize("shape", [(NUM_ROWS, 1), (NUM_ROWS,), (1, 1)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_of_rows_of_one_number_it_is_adagrad_of_torch(shape, weight_decay):
    table, sums = drawn(*shape), torch.zeros(shape[0], dtype=torch.float64)
    theirs = torch.nn.Parameter(table.clone())
    reference = torch.optim.Adagrad([theirs], lr=LR, weight_decay=weight_decay, eps=EPS)
    for step in range(5):
        theirs.grad = drawn(*shape, seed=step + 1)
        rows = torch.arange(shape[0]) if step % 2 else None
        adagrad_rows(table, sums, rows, theirs.grad, lr=LR, weight_decay=weight_decay, eps=EPS)
        reference.step()
    torch.testing.assert_close(table, theirs.data, rtol=1e-12, atol=0)


@pytest.mark.parametrize("shape", [(NUM_ROWS, 3), (), (2, 0), (0, 4)])
def test_with_an_accumulator_for_each_number_it_is_too(shape):
    table, sums = drawn(*shape), torch.zeros(shape, dtype=torch.float64)
    theirs = torch.nn.Parameter(table.clone())
    reference = torch.optim.Adagrad([theirs], lr=LR, eps=EPS)
    for step in range(3):
        theirs.grad = drawn(*shape, seed=step + 1)
        adagrad_rows(table, sums, None, theirs.grad, lr=LR, weight_decay=0, eps=EPS)
        reference.step()
    torch.testing.assert_close(table, theirs.data, rtol=1e-12, atol=0)


@pytest.mark.skipif(library() is None, reason="no kernels are compiled")
@pytest.mark.parametrize("shape", [(1,), (3,), (64,), (2, 5), ()])
@pytest.mark.parametrize("rows", [[], [7], list(range(0, 3000, 2)), None])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_the_kernel_does_what_the_plain_form_does(shape, rows, weight_decay, monkeypatch):
    ours, theirs = ((drawn(3000, *shape, dtype=torch.float32), torch.zeros(3000)) for _ in range(2))
    ids = None if rows is None else torch.tensor(rows, dtype=torch.int64)
    for step in range(3):
        gradient = drawn(3000 if rows is None else len(rows), *shape, seed=step + 1, dtype=torch.float32)
        adagrad_rows(*ours, ids, gradient, lr=LR, weight_decay=weight_decay, eps=EPS)
        with monkeypatch.context() as context:
            context.setattr(module, "serve", lambda *tensors: False)
            adagrad_rows(*theirs, ids, gradient, lr=LR, weight_decay=weight_decay, eps=EPS)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_row_whose_gradients_were_all_zero_stays_as_it_is():
    table, sums = drawn(NUM_ROWS, 3, dtype=torch.float32), torch.zeros(NUM_ROWS)
    before = table.clone()
    adagrad_rows(table, sums, torch.tensor([4]), torch.zeros(1, 3), lr=LR, weight_decay=0, eps=EPS)
    assert torch.equal(table, before)
