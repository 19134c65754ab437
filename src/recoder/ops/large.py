"""Memory of large tables: in huge pages, where the system gives them.

Rows are read and written here and there, and with pages of 4 KiB the processor looks up a page for nearly each.
NumPy asks Linux for huge pages (``madvise``), torch does not.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from recoder._memory import check_memory

__all__ = ["empty_table", "zeros_like_table"]

_LARGE = 2**26
"""Bytes that it pays to look for."""
_NUMPY_DTYPES = {torch.float32: np.float32, torch.float64: np.float64, torch.bfloat16: np.int16}
"""Of as many bytes: NumPy has no bfloat16."""


def empty_table(*shape: int) -> Tensor:
    """Returns a tensor of the default dtype in main memory, its content left open.

    Raises:
        NotEnoughMemoryError: if there is no memory for it: the system gives it out all the same, and kills the process
            when it is filled.
    """
    dtype = torch.get_default_dtype()
    needed = math.prod(shape) * dtype.itemsize
    if needed > _LARGE:
        what = " by ".join(f"{size:,}" for size in shape)
        check_memory(needed, f"a table of {what} numbers", "have fewer factors, or share it: parallel='items'")
    of_numpy = _NUMPY_DTYPES.get(dtype)
    return torch.empty(shape) if of_numpy is None else torch.from_numpy(np.empty(shape, of_numpy)).view(dtype)


def zeros_like_table(table: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Returns zeros of the shape of a tensor, where it is, of its dtype or another."""
    dtype = table.dtype if dtype is None else dtype
    of_numpy = _NUMPY_DTYPES.get(dtype)
    if of_numpy is None or table.device.type != "cpu":
        return torch.zeros_like(table, dtype=dtype)
    return torch.from_numpy(np.zeros(table.shape, of_numpy)).view(dtype)
