from __future__ import annotations

import threading
import time
import warnings

import pytest
import torch

from recoder.ops.products_at import _hear_the_warning, products_at


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


def test_threads_that_make_the_first_tensor_leave_warnings_as_they_were(monkeypatch):
    make = torch.sparse_csr_tensor

    def slow(*arguments, **more):
        time.sleep(0.1)
        return make(*arguments, **more)

    monkeypatch.setattr(torch, "sparse_csr_tensor", slow)
    filters = list(warnings.filters)
    threads = [threading.Thread(target=_hear_the_warning.__wrapped__) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)  # the first one leaves while the second one is in
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == filters
