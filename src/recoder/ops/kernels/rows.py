"""The entries of sparse rows in other orders, by the compiled kernels. Sizes: B rows, C columns, Z entries."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recoder.errors import ShapeError
from recoder.ops.kernels import address, library

__all__ = ["Ordered", "number_ids", "order_by_column"]


class Ordered(NamedTuple):
    """Entries in the order of their columns, int64 but for the values; see ``order_by_column``.

    Attributes:
        offsets: ``[C + 1]``: where each column begins.
        rows: ``[Z]``: the row of each entry.
        values: float32 ``[Z]``.
        entries: ``[Z]``: which entry it was.
        row_ids: ``[Z]``: the row of each entry in the order that they had.
    """

    offsets: Tensor
    rows: Tensor
    values: Tensor
    entries: Tensor
    row_ids: Tensor


def order_by_column(offsets: Tensor, cols: Tensor, values: Tensor, num_cols: int) -> Ordered:
    """Returns entries in the order of their columns, those of a column in the order of their rows.

    Args:
        offsets: int64 ``[B + 1]``: row ``b`` has the entries ``offsets[b]`` to ``offsets[b + 1]``.
        cols: int64 ``[Z]``, in [0, C).
        values: float32 ``[Z]``.
        num_cols: C.

    Raises:
        ShapeError: if offsets do not ascend from 0 to Z, there are not as many values as columns, or one is beyond C.
    """
    kernels = library()
    assert kernels is not None  # the caller has asked `serve`
    rows, entries, row_ids = (torch.empty_like(cols) for _ in range(3))
    ordered = Ordered(offsets.new_empty(num_cols + 1), rows, torch.empty_like(values), entries, row_ids)
    kernels.order_by_column.restype = ctypes.c_int64
    is_wrong = len(values) != len(cols) or kernels.order_by_column(
        *map(address, (offsets, cols, values)),
        ctypes.c_int64(len(offsets) - 1),
        ctypes.c_int64(len(cols)),
        ctypes.c_int64(num_cols),
        *map(address, ordered),
    )
    if is_wrong:
        raise ShapeError(
            f"rows of {len(cols)} entries over {num_cols} columns have offsets that ascend from 0 to {len(cols)}, "
            f"columns from 0 to {num_cols - 1} and as many values; these have not"
        )
    return ordered


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
