"""The best columns of each row by the compiled kernels. Sizes: B rows, N columns, K of them to select."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from recoder.errors import ShapeError
from recoder.ops.kernels import address, library
from recoder.ops.rows import SparseRows

__all__ = ["DTYPES", "best_columns"]

DTYPES = (torch.float32, torch.bfloat16)
"""Of scores."""


def best_columns(
    scores_BN: Tensor, num_columns: int, seen: SparseRows | None, *, in_order: bool
) -> tuple[Tensor, Tensor, bool]:
    """Returns the columns and scores of the largest scores, and whether a score is not a number.

    Args:
        scores_BN: at most 2^31 columns. **Overwritten** by -inf where ``seen`` has an entry.
        num_columns: K, 1 to N.
        seen: ``[B, N]``, or None.
        in_order: largest first, equal ones in the order of their columns; False: in any order.

    Raises:
        ShapeError: if ``seen`` has entries in other columns.

    Returns:
        int64 and the dtype of the scores, ``[B, K]``; a row with fewer than K scores above -inf ends in column -1 with
        score -inf. Nothing of use if a score is not a number.
    """
    kernels = library()
    assert kernels is not None  # the caller has asked `serve`
    num_rows, num_all = scores_BN.shape
    ids_BK = torch.empty(num_rows, num_columns, dtype=torch.int64, device="cpu")
    best_BK = scores_BN.new_empty(num_rows, num_columns)
    function = kernels.top_k_f32 if scores_BN.dtype == torch.float32 else kernels.top_k_bf16
    function.restype = ctypes.c_int64
    result: int = function(
        address(scores_BN),
        ctypes.c_int64(num_rows),
        ctypes.c_int64(num_all),
        address(None if seen is None else seen.offsets),
        address(None if seen is None else seen.cols),
        ctypes.c_int64(0 if seen is None else len(seen.cols)),
        ctypes.c_int64(num_columns),
        ctypes.c_int64(in_order),
        address(ids_BK),
        address(best_BK),
    )
    if result == -2:
        raise ShapeError(f"rows hold columns that are not among the {num_all} of the scores")
    if result < 0:
        raise MemoryError(f"no memory to select {num_columns} columns")
    return ids_BK, best_BK, bool(result)
