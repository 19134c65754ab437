from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recoder.losses import LogisticLoss, MSELoss, MultinomialNLLLoss, fused_form
from recoder.ops import fused, item_blocks
from recoder.ops.fused import fused_loss
from recoder.ops.item_blocks import ItemRows
from recoder.ops.rows import SparseRows
from recoder.ops.score_losses import Logistic, Multinomial, SquaredError
from recoder.ops.workspace import Workspace

LOSSES = {
    "mse": MSELoss(reduction="sum"),
    "mse with confidence": MSELoss(2.5, reduction="sum"),
    "logistic": LogisticLoss(reduction="sum"),
    "multinomial": MultinomialNLLLoss(reduction="sum"),
}
EVERY_LOSS = pytest.mark.parametrize("name", LOSSES)
SCALE = 0.37

# (most scores of a block, fewest items of a block, bytes that the multinomial may keep)
WHOLE = (1 << 20, 256, 32 << 20)
MANY_BLOCKS = (1, 1, 32 << 20)
MANY_BLOCKS_KEEPING_NOTHING = (1, 1, 0)
BLOCKS = [WHOLE, MANY_BLOCKS, MANY_BLOCKS_KEEPING_NOTHING, (12, 2, 32 << 20), (12, 2, 0)]


@dataclasses.dataclass
class Problem:
    factors: Tensor
    items: ItemRows
    target: SparseRows

    def to(self, dtype):
        items = self.items
        bias = None if items.bias is None else items.bias.to(dtype)
        return Problem(self.factors.to(dtype), ItemRows(items.weight.to(dtype), bias, items.ids), self.target)


def problem(num_users, num_items, num_factors=3, *, bias=True, ids="shuffled", width=None, seed=0):
    """Random factors and a target within (0, 1]; a third of its rows are empty, and so is the last column.

    ``ids`` says which rows of a table the items are: ``"all"``, or ``"ascending"`` or ``"shuffled"`` ones of a table
    with three rows more. ``width``: columns of the target.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    num_rows = num_items if ids == "all" else num_items + 3
    chosen = torch.randperm(num_rows, generator=generator)[:num_items]
    places = {"all": None, "ascending": chosen.sort().values, "shuffled": chosen}[ids]
    width = num_items if width is None else min(width, num_items)
    dense = torch.rand(num_users, width, generator=generator, dtype=torch.float64).clamp_min(1e-3)
    dense[torch.rand(num_users, width, generator=generator) < 0.6] = 0
    dense[: num_users // 3] = 0
    if width > 1:
        dense[:, -1] = 0
    items = ItemRows(normal(num_rows, num_factors), normal(num_rows) if bias else None, places)
    return Problem(normal(num_users, num_factors), items, SparseRows.from_dense(dense))


def dense_reference(loss, given, scale=SCALE):
    """Value and gradients of the documented loss, by autograd, on dense scores in float64."""
    given = given.to(torch.float64)
    ids = slice(None) if given.items.ids is None else given.items.ids
    factors, weight = given.factors.clone().requires_grad_(), given.items.weight[ids].clone().requires_grad_()
    leaves, scores = [factors, weight], factors @ weight.T
    if given.items.bias is not None:
        bias = given.items.bias[ids].clone().requires_grad_()
        leaves, scores = [*leaves, bias], scores + bias
    target = torch.zeros_like(scores).detach()
    target[:, : given.target.num_cols] = given.target.to_dense()
    value = loss(scores, target)
    return value.detach(), list(torch.autograd.grad(scale * value, leaves))


def computed(loss, given, scale=SCALE, **options):
    """The same by the fused loss; the gradients are copies."""
    value, gradients = fused_loss(fused_form(loss), given.factors, given.items, given.target, scale=scale, **options)
    parts = [gradients.factors, gradients.weight, gradients.bias]
    return value, [part.clone() for part in parts if part is not None]


def assert_same(ours, theirs, rtol=1e-9, atol=1e-11):
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)


def relative_error(ours, exact):
    return float((ours.double() - exact).norm() / exact.norm())


def set_blocks(monkeypatch, blocks):
    most_scores, fewest_items, kept_bytes = blocks
    monkeypatch.setattr(item_blocks, "BLOCK_SCORES", most_scores)
    monkeypatch.setattr(item_blocks, "_SMALLEST_BLOCK", fewest_items)
    monkeypatch.setattr(fused, "KEPT_BYTES", kept_bytes)


@pytest.mark.parametrize(
    ("documented", "form"),
    [
        (MSELoss(), SquaredError()),
        (MSELoss(2.5), SquaredError(2.5)),
        (LogisticLoss(), Logistic()),
        (MultinomialNLLLoss(), Multinomial()),
        (nn.MSELoss(), None),
        (type("Own", (MSELoss,), {})(), None),
    ],
)
def test_only_the_librarys_own_losses_have_a_fused_form(documented, form):
    assert fused_form(documented) == form


ODD_SHAPES = [(6, 9), (1, 1), (5, 1), (1, 8), (2, 40), (4, 0), (0, 3), (0, 0)]


@pytest.mark.parametrize("blocks", [WHOLE, MANY_BLOCKS, MANY_BLOCKS_KEEPING_NOTHING])
@pytest.mark.parametrize(("num_users", "num_items"), ODD_SHAPES)
@EVERY_LOSS
def test_value_and_gradients_are_those_of_the_documented_loss_on_dense_scores(
    name, num_users, num_items, blocks, monkeypatch
):
    given = problem(num_users, num_items)
    set_blocks(monkeypatch, blocks)
    assert_same(computed(LOSSES[name], given), dense_reference(LOSSES[name], given))


@EVERY_LOSS
@given(
    num_users=st.integers(0, 7),
    num_items=st.integers(0, 12),
    num_factors=st.integers(1, 4),
    bias=st.booleans(),
    ids=st.sampled_from(["all", "ascending", "shuffled"]),
    width=st.none() | st.integers(0, 12),
    blocks=st.sampled_from(BLOCKS),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_they_are_for_any_shape_and_blocks(name, num_users, num_items, num_factors, bias, ids, width, blocks, seed):
    given = problem(num_users, num_items, num_factors, bias=bias, ids=ids, width=width, seed=seed)
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_blocks(monkeypatch, blocks)
        assert_same(computed(LOSSES[name], given), dense_reference(LOSSES[name], given))


@EVERY_LOSS
def test_a_target_without_entries_leaves_the_loss_of_zeros(name):
    given = dataclasses.replace(problem(4, 5), target=SparseRows.from_dense(torch.zeros(4, 5)))
    assert_same(computed(LOSSES[name], given), dense_reference(LOSSES[name], given))


@pytest.mark.parametrize("name", ["logistic", "multinomial"])
def test_entries_that_repeat_are_added_up(name):
    indices, values = torch.tensor([[1, 0, 1, 1, 1], [4, 0, 2, 4, 4]]), torch.tensor([0.25, 0.5, 1.0, 0.125, 0.25])
    given = dataclasses.replace(problem(3, 6), target=SparseRows.from_coordinates(indices, values.double(), (3, 6)))
    assert_same(computed(LOSSES[name], given), dense_reference(LOSSES[name], given))


def in_their_rows(of_items, items):
    """Gradients of the items to score as those of the whole table."""
    places = slice(None) if items.ids is None else items.ids
    whole = of_items.new_zeros(len(items.weight), *of_items.shape[1:])
    whole[places] = of_items
    return whole


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("blocks", [WHOLE, MANY_BLOCKS])
@pytest.mark.parametrize("ids", ["all", "shuffled"])
@pytest.mark.parametrize("bias", [False, True])
@EVERY_LOSS
def test_dense_gradients_hold_those_of_the_scored_items_in_their_rows_and_zeros(
    name, bias, ids, blocks, dtype, monkeypatch
):
    set_blocks(monkeypatch, blocks)
    space = Workspace()
    for num_users, num_items in [(6, 9), (4, 5), (6, 9), (3, 0)]:
        given = problem(num_users, num_items, bias=bias, ids=ids).to(torch.float32)
        value, (of_factors, *of_items) = computed(LOSSES[name], given, dtype=dtype)
        expected = value, [of_factors, *(in_their_rows(part, given.items) for part in of_items)]
        ours = computed(LOSSES[name], given, dtype=dtype, dense=True, space=space)
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("blocks", [WHOLE, MANY_BLOCKS, MANY_BLOCKS_KEEPING_NOTHING])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@EVERY_LOSS
def test_large_scores_do_not_overflow(name, dtype, blocks, monkeypatch):
    levels = torch.tensor([[80.0], [-80.0], [0.0], [80.0], [-80.0]], dtype=dtype)
    target = torch.tensor([[1, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]])
    given = Problem(
        factors=torch.tensor([[1.0], [-1.0], [0.5]], dtype=dtype),
        items=ItemRows(levels, torch.zeros(5, dtype=dtype), None),
        target=SparseRows.from_dense(target.to(dtype)),
    )
    set_blocks(monkeypatch, blocks)
    value, gradients = computed(LOSSES[name], given)
    expected_value, expected = dense_reference(LOSSES[name], given)
    rtol = 1e-9 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(value.double(), expected_value, rtol=rtol, atol=0)
    for ours, theirs in zip(gradients, expected, strict=True):
        # sums of numbers as large as 80 may come out as 0
        torch.testing.assert_close(ours.double(), theirs, rtol=rtol, atol=80 * rtol)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@EVERY_LOSS
def test_factors_that_are_not_finite_show_in_the_value(name, bad):
    given = problem(3, 4)
    given.factors[1, 0] = bad
    assert not computed(LOSSES[name], given)[0].isfinite()


@pytest.mark.parametrize("blocks", BLOCKS)
@EVERY_LOSS
def test_value_alone_is_the_same(name, blocks, monkeypatch):
    given = problem(5, 11)
    set_blocks(monkeypatch, blocks)
    value, gradients = fused_loss(fused_form(LOSSES[name]), given.factors, given.items, given.target)
    assert gradients is None
    assert_same(value, dense_reference(LOSSES[name], given)[0])


@pytest.mark.parametrize("blocks", [MANY_BLOCKS, MANY_BLOCKS_KEEPING_NOTHING])
@EVERY_LOSS
def test_memory_that_was_used_before_changes_nothing(name, blocks, monkeypatch):
    set_blocks(monkeypatch, blocks)
    space = Workspace()
    for seed, (num_users, num_items, bias) in enumerate([(6, 9, True), (2, 3, False), (7, 30, True), (6, 9, True)]):
        given = problem(num_users, num_items, bias=bias, seed=seed)
        for dtype in (torch.float64, torch.float32):
            assert_same(
                computed(LOSSES[name], given.to(dtype), space=space), computed(LOSSES[name], given.to(dtype)), rtol=1e-6
            )


@EVERY_LOSS
def test_inputs_stay_as_they_were_and_results_have_no_graph(name):
    given = problem(5, 7)
    tensors = [given.factors, given.items.weight, given.items.bias, given.target.values]
    before = [tensor.clone() for tensor in tensors]
    for tensor in tensors[:3]:
        tensor.requires_grad_()
    value, gradients = computed(LOSSES[name], given)
    assert not any(tensor.requires_grad for tensor in [value, *gradients])
    assert all(torch.equal(tensor, old) for tensor, old in zip(tensors, before, strict=True))


LARGE_SCORES = (4000, 16, 32 << 20)
LARGE_SCORES_KEEPING_NOTHING = (4000, 16, 0)
LOW_PRECISION_BLOCKS = pytest.mark.parametrize("blocks", [LARGE_SCORES, LARGE_SCORES_KEEPING_NOTHING])


@LOW_PRECISION_BLOCKS
@EVERY_LOSS
def test_float32_is_exact_to_its_rounding(name, blocks, monkeypatch):
    given = problem(40, 500, 16)
    set_blocks(monkeypatch, blocks)
    value, gradients = computed(LOSSES[name], given.to(torch.float32))
    expected_value, expected = dense_reference(LOSSES[name], given)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(expected_value), rel=1e-5)
    assert all(relative_error(*pair) < 1e-5 for pair in zip(gradients, expected, strict=True))


@LOW_PRECISION_BLOCKS
@EVERY_LOSS
def test_products_of_bfloat16_come_close_and_give_float32(name, blocks, monkeypatch):
    given = problem(40, 500, 16)
    set_blocks(monkeypatch, blocks)
    value, gradients = computed(LOSSES[name], given.to(torch.float32), dtype=torch.bfloat16)
    expected_value, expected = dense_reference(LOSSES[name], given)
    assert {tensor.dtype for tensor in [value, *gradients]} == {torch.float32}
    assert float(value) == pytest.approx(float(expected_value), rel=1e-2)
    assert all(relative_error(*pair) < 2e-2 for pair in zip(gradients, expected, strict=True))


@LOW_PRECISION_BLOCKS
@pytest.mark.parametrize("gap", [30, 60, 300])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_blocks_with_next_to_nothing_of_a_users_probability_are_as_exact_as_the_rest(
    gap, dtype, tolerance, blocks, monkeypatch
):
    given = problem(40, 500, 16, ids="all")
    given.items.bias[100:350] -= gap
    set_blocks(monkeypatch, blocks)
    value, gradients = computed(LOSSES["multinomial"], given.to(torch.float32), dtype=dtype)
    expected_value, expected = dense_reference(LOSSES["multinomial"], given)
    assert float(value) == pytest.approx(float(expected_value), rel=tolerance)
    assert all(relative_error(*pair) < tolerance for pair in zip(gradients, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@EVERY_LOSS
def test_values_of_a_target_may_have_another_dtype_than_the_factors(name, dtype):
    given = problem(6, 9).to(dtype)
    given.target = given.target.with_values(given.target.values.float())
    value, gradients = computed(LOSSES[name], given)
    expected_value, expected = dense_reference(LOSSES[name], given)
    assert {tensor.dtype for tensor in [value, *gradients]} == {dtype}
    rtol = 1e-9 if dtype == torch.float64 else 1e-5
    assert_same([value.double(), *(part.double() for part in gradients)], [expected_value, *expected], rtol, rtol)


def test_steps_with_ever_other_numbers_of_items_use_the_same_memory():
    """What is kept of a multinomial was kept by the place of its block, which differs from step to step."""
    space, known = Workspace(), set()
    for num_items in (900, 700, 640, 530, 801, 775):
        generator = torch.Generator().manual_seed(num_items)
        factors, weight = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (3, num_items))
        target = SparseRows.from_dense((torch.rand(3, num_items, generator=generator) < 0.1).double())
        fused_loss(Multinomial(), factors, ItemRows(weight, None, None), target, scale=1.0, space=space)
        known = known or set(space._buffers)
        assert set(space._buffers) == known
