"""Memory of large tables: in huge pages, where the system gives them.

Rows are read and written here and there, and with pages of 4 KiB the processor looks up a page for nearly each.
NumPy asks Linux for huge pages (``madvise``), torch does not.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["empty_table", "zeros_like_table"]

_NUMPY_DTYPES = {torch.float32: np.float32, torch.float64: np.float64}


def empty_table(*shape: int) -> Tensor:
    """Returns a tensor of the default dtype in main memory, its content left open."""
    dtype = _NUMPY_DTYPES.get(torch.get_default_dtype())
    return torch.empty(shape) if dtype is None else torch.from_numpy(np.empty(shape, dtype))


def zeros_like_table(table: Tensor) -> Tensor:
    """Returns zeros of the shape and dtype of a tensor, where it is."""
    dtype = _NUMPY_DTYPES.get(table.dtype)
    if dtype is None or table.device.type != "cpu":
        return torch.zeros_like(table)
    return torch.from_numpy(np.zeros(table.shape, dtype))
