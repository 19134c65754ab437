from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.ops import fused, one_pass
from recoder.ops.fused import fused_loss
from recoder.ops.item_blocks import ItemRows, TargetEntries
from recoder.ops.kernels import factor_losses
from recoder.ops.kernels.factor_losses import served_dtypes
from recoder.ops.one_pass import one_pass_serves
from recoder.ops.rows import SparseRows
from recoder.ops.score_losses import Logistic, Multinomial, SquaredError
from recoder.ops.workspace import Workspace

pytestmark = pytest.mark.skipif(not served_dtypes(), reason="needs the compiled kernels and AVX-512")
LOSSES = [Logistic(), SquaredError(), SquaredError(2.5), Multinomial()]
EVERY_LOSS = pytest.mark.parametrize("loss", LOSSES, ids=str)
EVERY_DTYPE = pytest.mark.parametrize("dtype", served_dtypes(), ids=str)
SCALE = 0.3
# what a gradient may be off by, relative to the largest of its tensor
ROUNDING = {torch.float32: 2e-5, torch.bfloat16: 2e-2}


def problem(num_users, num_items, num_factors, *, bias=True, by_ids=True, width=None, spread=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    num_rows = num_items + 3 if by_ids else num_items
    ids = torch.randperm(num_rows, generator=generator)[:num_items] if by_ids else None
    factors, weight, biases = (
        spread * torch.randn(*shape, generator=generator)
        for shape in ((num_users, num_factors), (num_rows, num_factors), (num_rows,))
    )
    target = torch.rand(num_users, num_items if width is None else min(width, num_items), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.8] = 0
    return factors, ItemRows(weight, biases if bias else None, ids), SparseRows.from_dense(target)


def in_float64(factors, items, target):
    bias = None if items.bias is None else items.bias.double()
    return factors.double(), ItemRows(items.weight.double(), bias, items.ids), target


def parts(result):
    value, gradients = result
    known = [] if gradients is None else [gradients.factors, gradients.weight, gradients.bias]
    return [part.clone() for part in (value, *known) if part is not None]


def assert_close(ours, theirs, dtype):
    for our_part, their_part in zip(ours, theirs, strict=True):
        assert our_part.dtype == torch.float32
        assert our_part.shape == their_part.shape
        size = float(their_part.abs().max()) if their_part.numel() else 0.0
        torch.testing.assert_close(our_part.double(), their_part, rtol=0, atol=ROUNDING[dtype] * (1e-3 + size))


@given(
    num_users=st.integers(0, 70),
    num_items=st.integers(0, 130),
    num_factors=st.integers(1, 70),
    bias=st.booleans(),
    by_ids=st.booleans(),
    width=st.integers(0, 130),
    loss=st.sampled_from(LOSSES),
    dtype=st.sampled_from(served_dtypes() or [torch.float32]),
    dense=st.booleans(),
    of_items=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=250, deadline=None)
def test_loss_and_gradients_are_those_of_the_plain_form_in_float64(
    num_users, num_items, num_factors, bias, by_ids, width, loss, dtype, dense, of_items, seed
):
    given = problem(num_users, num_items, num_factors, bias=bias, by_ids=by_ids, width=width, seed=seed)
    how = {"scale": SCALE, "dense": dense, "of_items": of_items}
    ours = parts(fused_loss(loss, *given, dtype=dtype, **how))
    assert_close(ours, parts(fused_loss(loss, *in_float64(*given), **how)), dtype)
    assert_close(parts(fused_loss(loss, *given, dtype=dtype)), [ours[0].double()], dtype)


@pytest.mark.parametrize("sizes", [(513, 300, 64), (1100, 120, 33), (40, 3000, 200), (3, 20, 1500)], ids=str)
@EVERY_LOSS
@EVERY_DTYPE
def test_the_same_holds_where_users_and_items_are_cut_into_blocks(loss, sizes, dtype):
    given = problem(*sizes, spread=0.2)
    ours = parts(fused_loss(loss, *given, scale=SCALE, dtype=dtype))
    assert_close(ours, parts(fused_loss(loss, *in_float64(*given), scale=SCALE)), dtype)


@EVERY_DTYPE
def test_what_is_kept_of_a_multinomial_and_what_is_made_twice_agree(dtype, monkeypatch):
    given = problem(300, 1000, 40)
    kept = parts(fused_loss(Multinomial(), *given, scale=SCALE, dtype=dtype))
    monkeypatch.setattr(one_pass, "KEPT_BYTES", 0)
    twice = parts(fused_loss(Multinomial(), *given, scale=SCALE, dtype=dtype))
    assert_close(kept, [part.double() for part in twice], dtype)


@EVERY_LOSS
def test_the_other_way_to_compute_it_agrees(loss, monkeypatch):
    given = problem(120, 700, 50)
    ours = parts(fused_loss(loss, *given, scale=SCALE))
    monkeypatch.setattr(fused, "one_pass_serves", lambda *arguments: False)
    theirs = parts(fused_loss(loss, *given, scale=SCALE))
    assert_close(ours, [part.double() for part in theirs], torch.float32)


@EVERY_LOSS
@EVERY_DTYPE
def test_the_same_numbers_come_out_each_time(loss, dtype):
    given, space = problem(200, 900, 64), Workspace()
    first = parts(fused_loss(loss, *given, scale=SCALE, dtype=dtype, space=space))
    for _ in range(10):
        again = parts(fused_loss(loss, *given, scale=SCALE, dtype=dtype, space=space))
        assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))


@EVERY_LOSS
@pytest.mark.parametrize("threads", [1, 3, 5])
def test_any_number_of_threads_computes_it(loss, threads):
    given = problem(90, 200, 40)
    expected = parts(fused_loss(loss, *in_float64(*given), scale=SCALE))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert_close(parts(fused_loss(loss, *given, scale=SCALE)), expected, torch.float32)
    finally:
        torch.set_num_threads(before)


@EVERY_LOSS
def test_as_few_threads_compute_as_there_is_memory_for(loss, monkeypatch):
    given = problem(90, 200, 40)
    expected = parts(fused_loss(loss, *given, scale=SCALE))
    monkeypatch.setattr(factor_losses, "_SCRATCH_BYTES", 0)
    monkeypatch.setattr(factor_losses, "_SCRATCH_BYTES_OF_USER", 0)
    ours = parts(fused_loss(loss, *given, scale=SCALE))
    assert_close(ours, [part.double() for part in expected], torch.float32)


@EVERY_LOSS
def test_entries_that_repeat_count_as_often(loss):
    factors, items, _ = problem(5, 12, 7)
    indices = torch.tensor([[0, 0, 0, 3, 3], [4, 4, 4, 2, 9]])
    target = SparseRows.from_coordinates(indices, torch.tensor([0.5, 0.25, 1.0, 1.0, 0.5]), (5, 12))
    ours = parts(fused_loss(loss, factors, items, target, scale=SCALE))
    assert_close(ours, parts(fused_loss(loss, *in_float64(factors, items, target), scale=SCALE)), torch.float32)


@EVERY_LOSS
@EVERY_DTYPE
def test_what_is_not_a_number_makes_the_loss_so(loss, dtype):
    factors, items, target = problem(40, 100, 20)
    factors[7, 3] = torch.nan
    value, gradients = fused_loss(loss, factors, items, target, scale=SCALE, dtype=dtype)
    assert torch.isnan(value)
    assert torch.isnan(gradients.factors[7]).all()


@pytest.mark.parametrize("loss", [Logistic(), Multinomial()], ids=str)
@pytest.mark.parametrize("spread", [20.0, 150.0])
def test_scores_of_any_size_have_finite_losses(loss, spread):
    factors, items, target = problem(40, 200, 8)
    given = factors * spread, items, target
    ours = parts(fused_loss(loss, *given, scale=SCALE))
    assert all(torch.isfinite(part).all() for part in ours)
    assert_close(ours, parts(fused_loss(loss, *in_float64(*given), scale=SCALE)), torch.float32)


def test_items_with_a_bias_of_minus_infinity_have_no_share_of_a_multinomial():
    factors, items, target = problem(6, 40, 5, by_ids=False, width=30)
    items.bias[30:] = -torch.inf
    few = ItemRows(items.weight[:30], items.bias[:30], None)
    ours, theirs = (fused_loss(Multinomial(), factors, some, target, scale=SCALE) for some in (items, few))
    torch.testing.assert_close(ours[0], theirs[0])
    torch.testing.assert_close(ours[1].factors, theirs[1].factors)
    torch.testing.assert_close(ours[1].weight[30:], torch.zeros(10, 5), rtol=0, atol=1e-30)


def test_space_that_was_used_for_another_problem_may_be_used_again():
    space = Workspace()
    for sizes in ((300, 900, 50), (7, 30, 3), (300, 500, 60), (0, 20, 4), (20, 100, 40)):
        for loss in LOSSES:
            given = problem(*sizes)
            ours = parts(fused_loss(loss, *given, scale=SCALE, space=space))
            assert_close(ours, parts(fused_loss(loss, *in_float64(*given), scale=SCALE)), torch.float32)


@pytest.mark.parametrize("what", ["float64", "rows apart", "columns apart"])
def test_what_the_kernels_do_not_take_is_left_to_the_other_way(what):
    factors, items, target = problem(6, 9, 4)
    if what == "float64":
        factors, items, target = in_float64(factors, items, target)
    elif what == "rows apart":
        items = ItemRows(items.weight.repeat(1, 2)[:, :4], items.bias, items.ids)
    else:
        items = ItemRows(items.weight, items.bias.repeat_interleave(2)[::2], items.ids)
    assert not one_pass_serves(Logistic(), factors, items, TargetEntries.of(target, factors.dtype), factors.dtype)
