from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.ops import gram
from recoder.ops.gram import gram_squared_error
from recoder.ops.item_blocks import ItemRows
from recoder.ops.kernels import library
from recoder.ops.rows import SparseRows
from recoder.ops.score_losses import SquaredError

pytestmark = pytest.mark.skipif(library() is None, reason="no kernels are compiled")


def problem(num_users, num_items, num_factors, *, bias, by_ids, width, seed):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    num_rows = num_items + 2 if by_ids else num_items
    ids = torch.randperm(num_rows, generator=generator)[:num_items] if by_ids else None
    target = 2 * torch.rand(num_users, min(width, num_items), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.7] = 0
    items = ItemRows(normal(num_rows, num_factors), normal(num_rows) if bias else None, ids)
    return normal(num_users, num_factors), items, SparseRows.from_dense(target)


def in_float64(factors, items, target):
    bias = None if items.bias is None else items.bias.double()
    return factors.double(), ItemRows(items.weight.double(), bias, items.ids), target


def parts(result):
    value, gradients = result
    return [part for part in (value, gradients.factors, gradients.weight, gradients.bias) if part is not None]


def assert_close(ours, theirs):
    for our_part, their_part in zip(ours, theirs, strict=True):
        assert our_part.dtype == torch.float32
        size = float(their_part.abs().max()) if their_part.numel() else 0.0
        torch.testing.assert_close(our_part.double(), their_part, rtol=1e-5, atol=1e-5 * (1 + size))


@given(
    num_users=st.integers(0, 40),
    num_items=st.integers(0, 60),
    num_factors=st.integers(1, 35),
    bias=st.booleans(),
    by_ids=st.booleans(),
    width=st.integers(0, 60),
    confidence=st.sampled_from([0.0, 2.5]),
    numbers=st.sampled_from([1, 100, 1 << 19]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None)
def test_loss_and_gradients_are_those_of_the_plain_form_in_float64(
    num_users, num_items, num_factors, bias, by_ids, width, confidence, numbers, seed
):
    given = problem(num_users, num_items, num_factors, bias=bias, by_ids=by_ids, width=width, seed=seed)
    loss = SquaredError(confidence)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(gram, "_BLOCK_NUMBERS", numbers)
        ours = parts(gram_squared_error(loss, *given, scale=0.4))
    assert_close(ours, parts(gram_squared_error(loss, *in_float64(*given), scale=0.4)))
    without = gram_squared_error(loss, *given)[0]
    torch.testing.assert_close(without, ours[0], rtol=1e-5, atol=1e-3)


def test_the_same_holds_where_several_threads_work():
    given = problem(300, 1000, 64, bias=True, by_ids=True, width=900, seed=0)
    loss = SquaredError(1.5)
    ours = parts(gram_squared_error(loss, *given, scale=1 / 300))
    assert_close(ours, parts(gram_squared_error(loss, *in_float64(*given), scale=1 / 300)))


def test_the_same_numbers_come_out_each_time():
    given = problem(60, 3000, 200, bias=True, by_ids=False, width=3000, seed=0)
    first = parts(gram_squared_error(SquaredError(), *given, scale=0.1))
    for _ in range(20):
        again = parts(gram_squared_error(SquaredError(), *given, scale=0.1))
        assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
