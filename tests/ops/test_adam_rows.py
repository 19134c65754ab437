"""Adam by rows with moments in bfloat16; with the others it is tested in ``tests/training/test_updates.py``."""

from __future__ import annotations

import pytest
import torch

from recoder.ops import adam_rows as module
from recoder.ops.adam_rows import AdamStep, adam_all, adam_every_row, adam_rows
from recoder.ops.kernels import library
from recoder.ops.rounding import Rounding

NUM_ROWS = 2500
ROUNDING = Rounding(3, "items.weight")
SHAPES = [(1,), (3,), (16,), (33,), (64,), (2, 5), ()]


def plain(monkeypatch):
    monkeypatch.setattr(module, "serve", lambda *tensors, **dtypes: False)


@pytest.fixture(params=["compiled", "by copies"])
def way(request, monkeypatch):
    """How rows are updated."""
    if request.param == "compiled" and library() is None:
        pytest.skip("no kernels are compiled")
    if request.param == "by copies":
        plain(monkeypatch)


class Table:
    """A table and its moments."""

    def __init__(self, *shape, dtype=torch.float32, moments=torch.bfloat16):
        generator = torch.Generator().manual_seed(0)
        self.table = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        self.first, self.second = (torch.zeros(shape, dtype=moments) for _ in range(2))

    def tensors(self):
        return self.table, self.first, self.second


def drawn_rows(seed, num_rows, count):
    return torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed))[:count]


def normal(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def simple(*shape, seed):
    """Sixteenths, whose means and squares float32 holds exactly where betas are halves."""
    return torch.randint(-20, 21, shape, generator=torch.Generator().manual_seed(seed)) / 16


def step_of(number, betas=(0.9, 0.999), weight_decay=0.0):
    return AdamStep(number, 0.01, *betas, 1e-8, weight_decay)


@pytest.mark.skipif(library() is None, reason="no kernels are compiled")
class TestKernel:
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("update", [adam_rows, adam_every_row])
    @pytest.mark.parametrize("num_rows", [0, 1, 40, NUM_ROWS])
    @pytest.mark.parametrize("has_ids", [False, True])
    def test_rounds_bit_for_bit_as_the_plain_form(self, shape, update, num_rows, has_ids, monkeypatch):
        ids = torch.arange(NUM_ROWS) * 5_000_000_000 + 3 if has_ids else None
        rounding = Rounding(3, "x", ids)
        ours, theirs = Table(NUM_ROWS, *shape), Table(NUM_ROWS, *shape)
        for number in range(1, 4):
            rows, gradient = drawn_rows(number, NUM_ROWS, num_rows), simple(num_rows, *shape, seed=number)
            step = step_of(number, betas=(0.5, 0.5))
            update(*ours.tensors(), rows, gradient, step, rounding)
            with monkeypatch.context() as context:
                plain(context)
                update(*theirs.tensors(), rows, gradient, step, rounding)
        assert torch.equal(ours.first, theirs.first)
        assert torch.equal(ours.second, theirs.second)
        torch.testing.assert_close(ours.table, theirs.table)
        assert num_rows == 0 or ours.second.any()

    def test_of_any_numbers_a_few_are_rounded_otherwise_and_to_a_neighbour(self, monkeypatch):
        ours, theirs = Table(NUM_ROWS, 64), Table(NUM_ROWS, 64)
        rows, gradient = torch.arange(NUM_ROWS), normal(NUM_ROWS, 64, seed=1)
        adam_rows(*ours.tensors(), rows, gradient, step_of(1, weight_decay=0.1), ROUNDING)
        plain(monkeypatch)
        adam_rows(*theirs.tensors(), rows, gradient, step_of(1, weight_decay=0.1), ROUNDING)
        for one, other in ((ours.first, theirs.first), (ours.second, theirs.second)):
            apart = (one.view(torch.int16).int() - other.view(torch.int16)).abs()
            assert apart.max() <= 1
            assert (apart > 0).float().mean() < 1e-3
        torch.testing.assert_close(ours.table, theirs.table)

    def test_what_is_not_a_number_stays_so(self):
        ours = Table(4, 3)
        gradient = torch.full((2, 3), float("nan"))
        adam_rows(*ours.tensors(), torch.tensor([1, 3]), gradient, step_of(1), ROUNDING)
        for tensor in ours.tensors():
            assert tensor[[1, 3]].isnan().all()
            assert not tensor[[0, 2]].isnan().any()


@pytest.mark.usefixtures("way")
class TestMomentsInBfloat16:
    @pytest.mark.parametrize("weight_decay", [0.0, 0.1])
    def test_a_step_is_that_of_moments_in_float32_and_then_they_are_rounded(self, weight_decay):
        ours, exact = Table(NUM_ROWS, 7), Table(NUM_ROWS, 7, moments=torch.float32)
        rows, gradient = drawn_rows(0, NUM_ROWS, 300), normal(300, 7, seed=0)
        adam_rows(*ours.tensors(), rows, gradient, step_of(1, weight_decay=weight_decay), ROUNDING)
        adam_rows(*exact.tensors(), rows, gradient, step_of(1, weight_decay=weight_decay))
        torch.testing.assert_close(ours.table, exact.table)
        for rounded, moment in ((ours.first, exact.first), (ours.second, exact.second)):
            assert rounded.dtype == torch.bfloat16
            torch.testing.assert_close(rounded.float(), moment, rtol=2.0**-7, atol=0)
            assert (rounded.float() != moment)[rows].float().mean() > 0.9

    def test_on_average_moments_are_those_in_float32(self):
        ours, exact = Table(NUM_ROWS, 64), Table(NUM_ROWS, 64, moments=torch.float32)
        gradient = torch.full((NUM_ROWS, 64), 0.3)
        rows, num_steps = torch.arange(NUM_ROWS), 30
        for number in range(1, num_steps + 1):
            adam_rows(*ours.tensors(), rows, gradient, step_of(number), ROUNDING)
            adam_rows(*exact.tensors(), rows, gradient, step_of(number))
        for rounded, moment in ((ours.first, exact.first), (ours.second, exact.second)):
            error = rounded.double() / moment.double() - 1
            # an error of a step is at most a 128th, and they do not add up in one direction
            assert error.mean().abs() < 5 * num_steps**0.5 / 128 * error.numel() ** -0.5
            assert error.std() > 1e-4

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_all_rows_at_once_are_every_row_and_each_row_alone(self, dtype):
        dense, by_rows, every = (Table(NUM_ROWS, 5, dtype=dtype) for _ in range(3))
        rows, gradient = drawn_rows(0, NUM_ROWS, NUM_ROWS), simple(NUM_ROWS, 5, seed=0).to(dtype)
        step = step_of(1, betas=(0.5, 0.5))
        adam_all(*dense.tensors(), gradient, step, ROUNDING)
        adam_every_row(*every.tensors(), rows, gradient[rows], step, ROUNDING)
        for row in rows.split(700):
            adam_rows(*by_rows.tensors(), row, gradient[row], step, ROUNDING)
        for other in (by_rows, every):
            for one, another in zip(dense.tensors(), other.tensors(), strict=True):
                assert torch.equal(one, another)

    def test_rows_of_a_part_become_what_they_become_in_the_whole(self):
        whole = Table(NUM_ROWS, 5)
        part_ids = torch.arange(1, NUM_ROWS, 3)
        part = [tensor[part_ids] for tensor in whole.tensors()]
        gradient = simple(NUM_ROWS, 5, seed=2)
        step = step_of(1, betas=(0.5, 0.5))
        adam_rows(*whole.tensors(), torch.arange(NUM_ROWS), gradient, step, ROUNDING)
        rounding = Rounding(ROUNDING.seed, ROUNDING.name, part_ids)
        adam_rows(*part, torch.arange(len(part_ids)), gradient[part_ids], step, rounding)
        for one, another in zip(part, whole.tensors(), strict=True):
            assert torch.equal(one, another[part_ids])

    def test_untouched_rows_stay_as_they_are(self):
        ours = Table(9, 4)
        adam_all(*ours.tensors(), normal(9, 4, seed=0), step_of(1), ROUNDING)
        before = [tensor.clone() for tensor in ours.tensors()]
        adam_rows(*ours.tensors(), torch.tensor([2, 5]), normal(2, 4, seed=1), step_of(2), ROUNDING)
        untouched = [0, 1, 3, 4, 6, 7, 8]
        for tensor, old in zip(ours.tensors(), before, strict=True):
            assert torch.equal(tensor[untouched], old[untouched])
            assert (tensor[[2, 5]] != old[[2, 5]]).any()
