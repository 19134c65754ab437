from __future__ import annotations

import pytest
import torch

from recoder.ops.kernels import library
from recoder.ops.kernels.tables import gather_rounded

pytestmark = pytest.mark.skipif(library() is None, reason="no kernels are compiled")


@pytest.mark.parametrize("num_rows", [0, 1, 7, 3000])
@pytest.mark.parametrize("size", [1, 3, 16, 33])
def test_rounded_rows_are_those_that_torch_rounds(num_rows, size):
    table = torch.randn(3001, size) * 10 ** torch.randint(-30, 30, (3001, 1)).float()
    table[5, 0], table[6, 0] = float("inf"), float("nan")
    rows = torch.randint(0, 3001, (num_rows,))
    rows[:2] = torch.tensor([5, 6])[:num_rows]
    gathered = gather_rounded(table, rows, torch.empty(num_rows, size, dtype=torch.bfloat16))
    torch.testing.assert_close(gathered, table[rows].bfloat16(), rtol=0, atol=0, equal_nan=True)


def test_every_nan_stays_one():
    bits = torch.tensor([[0x7FFFFFFF, 0x7F800001, 0x7FC00000, -1]], dtype=torch.int32)
    gathered = gather_rounded(bits.view(torch.float32), torch.tensor([0]), torch.empty(1, 4, dtype=torch.bfloat16))
    assert gathered.isnan().all()
