from __future__ import annotations

import warnings

import pytest
import torch

from recoder.ops.products_at import products_at


@pytest.mark.parametrize("counts", [[2, 0, 3], [0, 0, 0], [1, 1, 1], [5, 0, 0]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_are_those_of_the_gathered_rows(counts, dtype):
    generator = torch.Generator().manual_seed(0)
    factors, table = (torch.randn(n, 4, generator=generator, dtype=dtype) for n in (3, 7))
    items = torch.randint(0, 7, (sum(counts),), generator=generator)
    users = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    offsets = torch.tensor([0, *counts]).cumsum(0)
    expected = (factors[users] * table[items]).sum(dim=1)
    torch.testing.assert_close(products_at(factors, table, offsets, items), expected)


def test_nobody_hears_of_betas():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        products_at(torch.ones(1, 2), torch.ones(3, 2), torch.tensor([0, 1]), torch.tensor([2]))
