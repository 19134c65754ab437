from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.losses import MSELoss
from recoder.ops import gram
from recoder.ops.fused import fused_loss
from recoder.ops.gram import gram_is_cheaper, gram_squared_error
from recoder.ops.item_blocks import ItemRows
from recoder.ops.kernels import library
from recoder.ops.kernels.gram import threads_and_scratch
from recoder.ops.rows import SparseRows
from recoder.ops.score_losses import SquaredError
from recoder.ops.workspace import Workspace

SCALE = 0.37
ODD_SHAPES = [(6, 9), (1, 1), (5, 1), (1, 8), (2, 40), (4, 0), (0, 3), (0, 0)]
CONFIDENCES = pytest.mark.parametrize("confidence", [0.0, 2.5])


def problem(num_users, num_items, num_factors=3, *, bias=True, ids="shuffled", width=None, dtype=torch.float64, seed=0):
    """Random factors, items (see ``ids``) of a table with three more, and a target that may be narrower."""
    generator = torch.Generator().manual_seed(seed)
    num_rows = num_items if ids == "all" else num_items + 3
    chosen = torch.randperm(num_rows, generator=generator)[:num_items]
    places = {"all": None, "ascending": chosen.sort().values, "shuffled": chosen}[ids]
    factors, weight, biases = (
        torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)
        for shape in ((num_users, num_factors), (num_rows, num_factors), (num_rows,))
    )
    width = num_items if width is None else min(width, num_items)
    dense = 2 * torch.rand(num_users, width, generator=generator, dtype=torch.float64)
    dense[torch.rand(num_users, width, generator=generator) < 0.6] = 0
    dense[: num_users // 3] = 0
    return factors, ItemRows(weight, biases if bias else None, places), SparseRows.from_dense(dense.to(dtype))


def by_blocks_of_scores(confidence, factors, items, target, **options):
    return flat(fused_loss(SquaredError(confidence), factors, items, target, scale=SCALE, **options))


def by_gram(confidence, factors, items, target, **options):
    return flat(gram_squared_error(SquaredError(confidence), factors, items, target, scale=SCALE, **options))


def flat(result):
    value, gradients = result
    parts = [value, gradients.factors, gradients.weight, gradients.bias]
    return [part.clone() for part in parts if part is not None]


def assert_same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("numbers", [1 << 21, 1, 7])
@pytest.mark.parametrize(("num_users", "num_items"), ODD_SHAPES)
@CONFIDENCES
def test_value_and_gradients_are_those_of_the_scores(confidence, num_users, num_items, numbers, monkeypatch):
    monkeypatch.setattr(gram, "_BLOCK_NUMBERS", numbers)
    given = problem(num_users, num_items)
    assert_same(by_gram(confidence, *given), by_blocks_of_scores(confidence, *given))


@given(
    num_users=st.integers(0, 7),
    num_items=st.integers(0, 12),
    num_factors=st.integers(1, 5),
    bias=st.booleans(),
    ids=st.sampled_from(["all", "ascending", "shuffled"]),
    width=st.none() | st.integers(0, 12),
    confidence=st.sampled_from([0.0, 1.0, 40.0]),
    numbers=st.sampled_from([1, 7, 1 << 21]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100)
def test_they_are_for_any_shape(num_users, num_items, num_factors, bias, ids, width, confidence, numbers, seed):
    given = problem(num_users, num_items, num_factors, bias=bias, ids=ids, width=width, seed=seed)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(gram, "_BLOCK_NUMBERS", numbers)
        assert_same(by_gram(confidence, *given), by_blocks_of_scores(confidence, *given))


@CONFIDENCES
def test_they_are_those_of_the_documented_loss_on_dense_scores(confidence):
    factors, items, target = problem(6, 9)
    weight, bias = items.weight[items.ids].requires_grad_(), items.bias[items.ids].requires_grad_()
    leaf = factors.clone().requires_grad_()
    loss = MSELoss(confidence, reduction="sum")(leaf @ weight.T + bias, target.to_dense())
    gradients = torch.autograd.grad(SCALE * loss, [leaf, weight, bias])
    assert_same(by_gram(confidence, factors, items, target), [loss.detach(), *gradients])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("ids", ["all", "ascending", "shuffled"])
def test_dense_gradients_hold_those_of_the_scored_items_in_their_rows_and_zeros(ids, bias):
    space = Workspace()
    for num_users, num_items in [(6, 9), (4, 5), (6, 9), (3, 0)]:
        given = problem(num_users, num_items, ids=ids, bias=bias)
        expected = by_blocks_of_scores(2.5, *given, dense=True)
        assert_same(by_gram(2.5, *given, dense=True, space=space), expected)


def test_value_alone_is_the_same():
    factors, items, target = problem(6, 9)
    value, gradients = gram_squared_error(SquaredError(2.5), factors, items, target)
    assert gradients is None
    assert_same(value, by_gram(2.5, factors, items, target)[0])


def test_memory_that_was_used_before_changes_nothing():
    space = Workspace()
    for seed, (num_users, num_items, bias) in enumerate([(6, 9, True), (2, 3, False), (7, 30, True), (6, 9, True)]):
        given = problem(num_users, num_items, bias=bias, seed=seed)
        assert_same(by_gram(2.5, *given, space=space), by_gram(2.5, *given))


def test_float32_is_exact_to_its_rounding():
    exact = by_gram(2.5, *problem(60, 400, 16))
    rounded = by_gram(2.5, *problem(60, 400, 16, dtype=torch.float32))
    for ours, theirs in zip(rounded, exact, strict=True):
        assert ours.dtype == torch.float32
        assert float((ours - theirs).norm()) < 1e-5 * float(theirs.norm())


def test_inputs_stay_as_they_were_and_results_have_no_graph():
    factors, items, target = problem(5, 7)
    tensors = [factors, items.weight, items.bias, target.values]
    before = [tensor.clone() for tensor in tensors]
    for tensor in tensors[:3]:
        tensor.requires_grad_()
    assert not any(part.requires_grad for part in by_gram(2.5, factors, items, target))
    assert all(torch.equal(tensor, old) for tensor, old in zip(tensors, before, strict=True))


@pytest.mark.parametrize(
    ("num_users", "num_factors", "cheaper"), [(500, 200, True), (134, 200, True), (133, 200, False), (1, 2, False)]
)
def test_it_is_chosen_where_its_products_are_fewer(num_users, num_factors, cheaper):
    assert gram_is_cheaper(num_users, num_factors) is cheaper


@pytest.mark.parametrize(("num_factors", "threads"), [(8, 2), (200, 64), (700, 128)])
def test_the_scratch_of_a_pass_keeps_within_its_limit_whatever_the_threads(num_factors, threads):
    if library() is None:
        pytest.skip("there are no compiled kernels here")
    granted, numbers = threads_and_scratch(num_factors, threads)
    assert 1 <= granted <= threads
    assert 4 * numbers <= 32 << 20
    assert granted == threads or threads_and_scratch(num_factors, granted + 1)[0] == granted
