from __future__ import annotations

import pytest
import torch

from recoder.ops.rounding import Rounding, rounded

BITS = 1 << 16


def every_draw(value: float) -> torch.Tensor:
    """What a value is rounded to by each of the random numbers."""
    return rounded(torch.full((BITS,), value), torch.arange(BITS)).double()


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -1.5, 2.0**-130, 3.3895e38, float("inf"), float("-inf")])
def test_what_bfloat16_holds_stays_as_it_is(value):
    held = torch.tensor(value).bfloat16()
    assert torch.equal(rounded(held.float().expand(BITS), torch.arange(BITS)), held.expand(BITS))


def test_what_is_not_a_number_stays_so():
    assert every_draw(float("nan")).isnan().all()


@pytest.mark.parametrize("value", [0.1, -0.1, 1 + 2.0**-20, -1234.567, 1e-38, 1e-41, 3e38])
def test_a_value_goes_to_its_two_neighbours_and_all_draws_together_to_itself(value):
    found = every_draw(value)
    below, above = found.min().item(), found.max().item()
    exact = torch.tensor(value).double().item()
    assert below < exact < above
    assert set(found.unique().tolist()) == {below, above}
    neighbour = torch.tensor(below).bfloat16().view(torch.int16) + (-1 if value < 0 else 1)
    assert neighbour.view(torch.bfloat16).item() == above
    # the lower half of a float32 has a step for each draw, so the mean is exact
    assert found.mean().item() == pytest.approx(exact, rel=1e-12)


def test_float64_is_rounded_as_its_float32():
    values = torch.randn(1000, dtype=torch.float64)
    bits = torch.randint(0, BITS, (1000,))
    assert torch.equal(rounded(values, bits), rounded(values.float(), bits))


def test_a_moment_of_tiny_steps_grows_as_it_should_where_rounding_to_the_nearest_stalls():
    rounding, rows, num_steps = Rounding(3, "table"), torch.arange(100), 2000
    at_random, to_nearest = (torch.zeros(100, 8, dtype=torch.bfloat16) for _ in range(2))
    for step in range(1, num_steps + 1):
        bits = rounding.bits(step, rows, 8) & 0xFFFF
        at_random = rounded(at_random.float() * 0.999 + 0.001, bits)
        to_nearest = (to_nearest.float() * 0.999 + 0.001).bfloat16()
    expected = 1 - 0.999**num_steps
    assert at_random.float().mean().item() == pytest.approx(expected, rel=5e-3)
    assert to_nearest.float().max().item() < 0.3 * expected


class TestRounding:
    def test_bits_are_a_function_of_seed_name_step_row_and_column(self):
        rows = torch.tensor([5, 0, 7])
        bits = Rounding(1, "x").bits(4, rows, 6)
        assert torch.equal(Rounding(1, "x").bits(4, rows, 6), bits)
        assert torch.equal(Rounding(1, "x").bits(4, torch.arange(8), 9)[rows, :6], bits)
        others = Rounding(2, "x").bits(4, rows, 6), Rounding(1, "y").bits(4, rows, 6), Rounding(1, "x").bits(5, rows, 6)
        for other in others:
            assert (other != bits).all()
        assert len(bits.unique()) == bits.numel()

    def test_rows_of_a_part_have_the_bits_that_they_have_in_the_whole(self):
        part = torch.tensor([1, 4, 6, 70_000_000_000])
        here = Rounding(1, "x", part).bits(2, torch.tensor([0, 3, 1]), 5)
        assert torch.equal(here, Rounding(1, "x").bits(2, part[[0, 3, 1]], 5))

    def test_every_bit_is_set_half_the_time_whatever_the_bits_beside_it(self):
        bits = Rounding(7, "x").bits(1, torch.arange(2000), 64)
        assert bits.min() >= 0
        assert bits.max() < 1 << 32
        ones = torch.stack([(bits >> place) & 1 for place in range(32)]).double() * 2 - 1
        limit = 5 * bits.numel() ** -0.5  # standard deviations
        assert ones.flatten(1).mean(1).abs().max() < limit
        flat = ones.flatten(1)
        between = (flat @ flat.T / bits.numel()).fill_diagonal_(0)
        assert between.abs().max() < limit
        next_column = (ones[:, :, 1:] * ones[:, :, :-1]).mean((1, 2))
        next_row = (ones[:, 1:] * ones[:, :-1]).mean((1, 2))
        assert torch.stack([next_column, next_row]).abs().max() < limit
