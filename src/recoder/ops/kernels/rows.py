"""The entries of sparse rows in other orders, by the compiled kernels. Sizes: B rows, C columns, Z entries."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recoder.ops.kernels import address, library

__all__ = ["number_ids", "order_by_column"]


def order_by_column(offsets: Tensor, cols: Tensor, num_cols: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns where each column begins ``[C + 1]``, the rows and the numbers of the entries in the order of their columns.

    The last tensor is the row of each entry in the order that they have. All are int64.

    Args:
        offsets: int64 ``[B + 1]``: row ``b`` has the entries ``offsets[b]`` to ``offsets[b + 1]``.
        cols: int64 ``[Z]``, in [0, C): trusted.
        num_cols: C.
    """
    kernels = library()
    assert kernels is not None  # the caller has asked `serve`
    column_offsets = offsets.new_empty(num_cols + 1)
    rows, entries, row_ids = (torch.empty_like(cols) for _ in range(3))
    kernels.order_by_column(
        *map(address, (offsets, cols)),
        ctypes.c_int64(len(offsets) - 1),
        ctypes.c_int64(num_cols),
        *map(address, (column_offsets, rows, entries, row_ids)),
    )
    return column_offsets, rows, entries, row_ids


def number_ids(ids_Z: npt.NDArray[np.int64], limit: int) -> npt.NDArray[np.int64]:
    """Replaces ids by their numbers among the different ones, which it returns, ascending.

    Args:
        ids_Z: contiguous, in [0, ``limit``): trusted. **Overwritten.**
        limit: above all ids, at most 2^31.
    """
    kernels = library()
    assert kernels is not None  # the caller has looked
    different = np.empty(min(limit, len(ids_Z)), dtype=np.int64)
    numbers = np.empty(limit, dtype=np.int32)
    kernels.number_ids.restype = ctypes.c_int64
    found = kernels.number_ids(
        ctypes.c_void_p(ids_Z.ctypes.data),
        ctypes.c_int64(len(ids_Z)),
        ctypes.c_int64(limit),
        ctypes.c_void_p(numbers.ctypes.data),
        ctypes.c_void_p(different.ctypes.data),
    )
    return different[:found]
