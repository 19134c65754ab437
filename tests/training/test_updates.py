from __future__ import annotations

import pytest
import torch
from torch import nn

from recoder.ops import adam_rows
from recoder.ops.kernels import library
from recoder.training.updates import StepOptions, update_by_adam

NUM_ROWS, SIZE = 9, 3
SHAPES = [(NUM_ROWS, SIZE), (NUM_ROWS,)]


class RowAdam:
    """Adam for some tables, as torch has its optimizers."""

    def __init__(self, tables, lr=1e-3, weight_decay=0.0, every_row=False, **of_adam):
        self.tables, self.options, self.of_adam = tables, StepOptions(lr, weight_decay, every_row), of_adam
        self.state = {table: {} for table in tables}

    @torch.no_grad()
    def step(self):
        for table in self.tables:
            if table.grad is not None:
                update_by_adam(table, table.grad, self.state[table], self.options, **self.of_adam)


@pytest.fixture(autouse=True, params=["compiled", "by copies"])
def way(request, monkeypatch):
    """How rows are updated."""
    if request.param == "compiled":
        if library() is None:
            pytest.skip("no kernels are compiled")
    else:
        monkeypatch.setattr(adam_rows, "serve", lambda *tensors, **dtypes: False)


def parameters(shape, count):
    start = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return [nn.Parameter(start.clone()) for _ in range(count)]


def random_gradient(shape, seed):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def sparse_gradient(table, rows, values):
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, table.shape, check_invariants=True)


def rows_of(gradient, rows):
    """The sparse gradient that holds these rows of a dense one."""
    return sparse_gradient(gradient, rows, gradient[rows])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_with_every_row_touched_it_equals_adam_of_torch(shape, weight_decay, is_sparse):
    ours, theirs = parameters(shape, 2)
    options = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": weight_decay}
    optimizer, reference = RowAdam([ours], **options), torch.optim.Adam([theirs], **options)
    order = [4, 0, 8, 2, 1, 7, 6, 5, 3]
    for step in range(6):
        gradient = random_gradient(shape, step)
        theirs.grad = gradient.clone()
        ours.grad = rows_of(gradient, order) if is_sparse else gradient.clone()
        optimizer.step()
        reference.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_without_weight_decay_it_equals_sparse_adam_of_torch(shape):
    ours, theirs = parameters(shape, 2)
    optimizer, reference = RowAdam([ours], lr=0.05), torch.optim.SparseAdam([theirs], lr=0.05)
    for step, rows in enumerate([[0, 3], [3, 8, 1], [3], [0, 1, 2, 3], [8, 0]]):
        gradient = random_gradient(shape, step)
        gradient = gradient + gradient.sign()  # far from 0: eps is added at another place
        theirs.grad = rows_of(gradient, rows)
        ours.grad = rows_of(gradient, rows)
        optimizer.step()
        reference.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_untouched_rows_and_their_moments_stay_as_they_are(weight_decay):
    (table,) = parameters((NUM_ROWS, SIZE), 1)
    optimizer = RowAdam([table], weight_decay=weight_decay)
    table.grad = random_gradient(table.shape, 0)
    optimizer.step()
    parts = [table.data, optimizer.state[table]["exp_avg"], optimizer.state[table]["exp_avg_sq"]]
    before = [part.clone() for part in parts]
    table.grad = rows_of(random_gradient(table.shape, 1), [2, 5])
    optimizer.step()
    untouched = [0, 1, 3, 4, 6, 7, 8]
    for part, old in zip(parts, before, strict=True):
        assert torch.equal(part[untouched], old[untouched])
        assert (part[[2, 5]] != old[[2, 5]]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_with_every_row_updated_it_equals_adam_of_torch_on_the_dense_gradient(shape, weight_decay, dtype):
    ours, theirs = (nn.Parameter(table.detach().to(dtype)) for table in parameters(shape, 2))
    options = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": weight_decay}
    optimizer, reference = RowAdam([ours], every_row=True, **options), torch.optim.Adam([theirs], **options)
    for step, rows in enumerate([[0, 3], [3, 8, 1], [], None, [3, 3, 0], list(range(NUM_ROWS))]):
        gradient = random_gradient(shape, step).to(dtype)
        ours.grad = gradient if rows is None else rows_of(gradient, rows)
        theirs.grad = ours.grad.to_dense()
        optimizer.step()
        reference.step()
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_rows_of_zeros_in_a_sparse_gradient_are_touched():
    ours, theirs = parameters((NUM_ROWS, SIZE), 2)
    optimizer, reference = RowAdam([ours], weight_decay=0.1), torch.optim.Adam([theirs], lr=1e-3, weight_decay=0.1)
    first = random_gradient(ours.shape, 0)
    for gradient in (first, torch.zeros_like(first)):
        ours.grad, theirs.grad = rows_of(gradient, list(range(NUM_ROWS))), gradient
        optimizer.step()
        reference.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


def test_repeated_rows_of_a_gradient_are_added_up():
    ours, theirs = parameters((NUM_ROWS, SIZE), 2)
    values = random_gradient((4, SIZE), 0)
    ours.grad = sparse_gradient(ours, [3, 7, 3, 3], values)
    theirs.grad = sparse_gradient(theirs, [3, 7], torch.stack([values[[0, 2, 3]].sum(dim=0), values[1]]))
    for table in (ours, theirs):
        RowAdam([table]).step()
    torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("rows_at_once", [1, 2, 4])
@pytest.mark.parametrize("rows", [[3, 7, 0, 8, 1], [0, 1, 2, 3, 4, 5, 6, 7, 8], [5, 2, 5, 8, 2, 0, 5]])
def test_updating_a_few_rows_at_a_time_changes_nothing(shape, weight_decay, rows_at_once, rows, monkeypatch):
    ours, theirs = parameters(shape, 2)
    few, all_at_once = (RowAdam([table], lr=0.05, weight_decay=weight_decay) for table in (ours, theirs))
    for step in range(3):
        values = random_gradient((len(rows), *shape[1:]), step)
        ours.grad, theirs.grad = (sparse_gradient(table, rows, values) for table in (ours, theirs))
        with monkeypatch.context() as context:
            context.setattr(adam_rows, "_ROWS_AT_ONCE", rows_at_once)
            context.setattr(adam_rows, "serve", lambda *tensors, **dtypes: False)
            few.step()
        all_at_once.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    for name in ("exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(few.state[ours][name], all_at_once.state[theirs][name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "values",
    [
        torch.arange(1.0, 4.0).expand(4, SIZE),
        torch.arange(-5.0, 7.0).reshape(SIZE, 4).T,
        torch.arange(-10.0, 14.0).reshape(8, SIZE)[::2],
    ],
    ids=["expanded", "transposed", "every other row"],
)
@pytest.mark.parametrize("is_sparse", [False, True])
def test_layout_of_a_gradient_in_memory_does_not_matter(values, is_sparse):
    ours, theirs = (nn.Parameter(torch.ones(4, SIZE)) for _ in range(2))
    assert not values.is_contiguous()
    rows = [0, 1, 2, 3]
    ours.grad = sparse_gradient(ours, rows, values) if is_sparse else values
    theirs.grad = values.contiguous()
    RowAdam([ours]).step()
    torch.optim.Adam([theirs]).step()
    torch.testing.assert_close(ours, theirs)


def test_each_table_counts_its_own_steps_once():
    first, second = parameters((NUM_ROWS, SIZE), 2)
    optimizer = RowAdam([first, second])
    for step in range(3):
        first.grad = rows_of(random_gradient(first.shape, step), [step])
        second.grad = rows_of(random_gradient(first.shape, step), [0, 1]) if step == 0 else None
        optimizer.step()
    assert optimizer.state[first]["step"] == 3
    assert optimizer.state[second]["step"] == 1


def test_a_gradient_without_rows_changes_no_row():
    (table,) = parameters((NUM_ROWS, SIZE), 1)
    before = table.detach().clone()
    table.grad = rows_of(random_gradient(table.shape, 0), [])
    RowAdam([table], weight_decay=0.1).step()
    assert torch.equal(table, before)


def test_gradients_of_single_numbers_are_those_of_the_dense_form():
    ours, theirs = parameters((NUM_ROWS, SIZE), 2)
    ids = torch.tensor([[0, 2, 2], [8, 0, 1]])
    torch.gather(ours, 0, ids, sparse_grad=True).sum().backward()
    theirs.grad = ours.grad.to_dense()
    assert ours.grad.sparse_dim() == 2
    for table in (ours, theirs):
        RowAdam([table]).step()
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("row", [-1, NUM_ROWS])
def test_rows_that_the_table_does_not_have_are_an_error(row):
    (table,) = parameters((NUM_ROWS, SIZE), 1)
    before = table.detach().clone()
    indices = torch.tensor([[2, row]])
    table.grad = torch.sparse_coo_tensor(indices, torch.ones(2, SIZE).double(), table.shape, check_invariants=False)
    with pytest.raises(IndexError, match=f"row {row} of a table with {NUM_ROWS} rows"):
        RowAdam([table]).step()
    assert torch.equal(table, before)
