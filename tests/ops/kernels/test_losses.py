from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.ops.item_blocks import TargetEntries
from recoder.ops.kernels import library
from recoder.ops.kernels.losses import DTYPES
from recoder.ops.rows import SparseRows
from recoder.ops.score_losses import Logistic, Multinomial, ScoreBlock
from recoder.ops.workspace import Workspace

pytestmark = pytest.mark.skipif(library() is None, reason="no kernels are compiled")
SHAPES = [(1, 1), (3, 5), (8, 16), (7, 17), (30, 64), (15, 300), (40, 700), (2, 20_000), (0, 5)]
EVERY_SHAPE = pytest.mark.parametrize("shape", SHAPES, ids=str)
BOTH_DTYPES = pytest.mark.parametrize("dtype", DTYPES, ids=str)
# what a rounded slope may be off by, relative to itself
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2**-8}


def block(shape, dtype, *, bias=True, spread=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(shape, generator=generator)
    target[torch.rand(shape, generator=generator) < 0.8] = 0
    entries = TargetEntries.of(SparseRows.from_dense(target), torch.float32)
    scores = (spread * torch.randn(shape, generator=generator)).to(dtype)
    biases = torch.randn(shape[1], generator=generator) if bias else None
    return ScoreBlock(scores, biases, entries.cut(slice(0, shape[1])), Workspace())


def plain(of_block, monkeypatch):
    """The same by the operations of PyTorch."""
    with monkeypatch.context() as context:
        context.setattr(ScoreBlock, "is_served", lambda self: False)
        return of_block()


def copied(given):
    return ScoreBlock(given.products_Bi.clone(), given.bias_i, given.target, Workspace())


def assert_same_slopes(ours, theirs, dtype):
    assert ours.slopes_Bi.dtype == dtype
    torch.testing.assert_close(ours.slopes_Bi.float(), theirs.slopes_Bi, rtol=ROUNDING[dtype], atol=1e-6)
    torch.testing.assert_close(ours.sums_i, theirs.sums_i, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bias", [False, True])
@EVERY_SHAPE
@BOTH_DTYPES
def test_logistic_loss_and_slopes_are_those_of_the_plain_form(shape, dtype, bias, monkeypatch):
    given = block(shape, dtype, bias=bias)
    theirs, their_slopes = plain(lambda: Logistic().of_block(copied(given), 0.3), monkeypatch)
    ours, our_slopes = Logistic().of_block(given, 0.3)
    assert ours == pytest.approx(float(theirs), rel=1e-5, abs=1e-5)
    assert_same_slopes(our_slopes, their_slopes, dtype)


@pytest.mark.parametrize("bias", [False, True])
@EVERY_SHAPE
@BOTH_DTYPES
def test_multinomial_sums_and_slopes_are_those_of_the_plain_form(shape, dtype, bias, monkeypatch):
    given, loss = block(shape, dtype, bias=bias), Multinomial()
    before = given.products_Bi.clone()
    their_match, their_sums = plain(lambda: loss.log_sums(copied(given)), monkeypatch)
    our_match, our_sums = loss.log_sums(given)
    assert our_match == pytest.approx(float(their_match), rel=1e-5, abs=1e-3)  # theirs is summed in float32
    torch.testing.assert_close(our_sums, their_sums, rtol=1e-6, atol=1e-5)
    assert torch.equal(given.products_Bi, before)
    weights = torch.rand(shape[0])
    their_slopes = plain(lambda: loss.slopes(copied(given), their_sums, weights, 0.3), monkeypatch)
    assert_same_slopes(loss.slopes(given, their_sums, weights, 0.3), their_slopes, dtype)


@given(st.integers(1, 40), st.integers(1, 80), st.floats(0, 60), st.sampled_from(DTYPES), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_logistic_loss_is_exact_for_scores_of_any_size(num_users, num_items, spread, dtype, seed):
    given = block((num_users, num_items), dtype, spread=spread, seed=seed)
    exact = given.products_Bi.double() + given.bias_i.double()
    target = torch.zeros(exact.numel(), dtype=torch.float64)
    target[given.target.at] = given.target.values.double()
    expected = torch.nn.functional.softplus(exact).sum() - torch.dot(exact.view(-1), target)
    size = torch.nn.functional.softplus(exact).sum() + torch.dot(exact.view(-1).abs(), target)
    value, slopes = Logistic().of_block(given, 1.0)
    assert value == pytest.approx(float(expected), abs=2e-6 * (1 + float(size)) + 1e-7 * exact.numel())
    wanted = exact.sigmoid() - target.view_as(exact)
    torch.testing.assert_close(slopes.slopes_Bi.double(), wanted, rtol=ROUNDING[dtype], atol=1e-6)


@BOTH_DTYPES
def test_what_is_not_a_number_stays_so(dtype):
    for loss in (Logistic(), Multinomial()):
        given = block((20, 40), dtype)
        given.products_Bi[3, 7] = float("nan")
        if isinstance(loss, Logistic):
            value, slopes = loss.of_block(given, 1.0)
            assert np.isnan(value)
        else:
            _, log_sums = loss.log_sums(given)
            assert log_sums.isnan().nonzero().flatten().tolist() == [3]
            slopes = loss.slopes(given, log_sums, torch.ones(20), 1.0)
        assert slopes.slopes_Bi[3, 7].isnan()
        assert slopes.sums_i.isnan().nonzero().flatten().tolist() in ([7], list(range(40)))


@BOTH_DTYPES
def test_huge_scores_overflow_nothing(dtype):
    given = block((6, 33), dtype)
    given.products_Bi.copy_(torch.where(given.products_Bi > 0, 1e4, -1e4))
    value, slopes = Logistic().of_block(copied(given), 1.0)
    assert np.isfinite(value)
    assert slopes.slopes_Bi.isfinite().all()
    _, log_sums = Multinomial().log_sums(given)
    assert log_sums.isfinite().all()
    assert Multinomial().slopes(given, log_sums, torch.ones(6), 1.0).slopes_Bi.isfinite().all()


@BOTH_DTYPES
def test_entries_that_repeat_are_added_up(dtype, monkeypatch):
    repeated = SparseRows.from_coordinates(
        torch.tensor([[1, 0, 1, 1, 2], [4, 4, 4, 0, 1]]), torch.tensor([0.1, 0.5, 0.2, 0.4, 1.0]), (3, 5)
    )
    entries = TargetEntries.of(repeated, torch.float32).cut(slice(0, 5))
    given = ScoreBlock(torch.randn(3, 5).to(dtype), torch.randn(5), entries, Workspace())
    theirs, their_slopes = plain(lambda: Logistic().of_block(copied(given), 1.0), monkeypatch)
    ours, our_slopes = Logistic().of_block(given, 1.0)
    assert ours == pytest.approx(float(theirs), rel=1e-5)
    assert_same_slopes(our_slopes, their_slopes, dtype)


def test_one_thread_gives_what_many_do():
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, threads, 5):
            torch.set_num_threads(number)
            value, slopes = Logistic().of_block(block((60, 1000), torch.float32), 1.0)
            results.append((value, slopes.slopes_Bi, slopes.sums_i))
    finally:
        torch.set_num_threads(threads)
    for value, slopes_Bi, sums_i in results[1:]:
        assert value == pytest.approx(results[0][0], rel=1e-7)
        assert torch.equal(slopes_Bi, results[0][1])
        assert torch.equal(sums_i, results[0][2])


def test_the_plain_form_is_taken_for_other_dtypes():
    assert not block((4, 6), torch.float64).is_served()


@BOTH_DTYPES
def test_users_whose_scores_in_a_block_are_all_excluded_add_nothing(dtype):
    given = block((5, 40), dtype)
    given.products_Bi[1] = -float("inf")
    given.products_Bi[2, ::2] = -float("inf")
    exact = given.products_Bi.float() + given.bias_i
    _, log_sums = Multinomial().log_sums(given)
    torch.testing.assert_close(log_sums, torch.logsumexp(exact, dim=1))
    assert log_sums[1] == -float("inf")
