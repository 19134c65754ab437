"""Rows of tables by the compiled kernels.

Sizes: N rows of a table, R of them that are asked for, D factors.
"""

from __future__ import annotations

import ctypes
import math

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from recoder.ops.kernels import address, library

__all__ = ["AdamNumbers", "adam_every_row_", "adam_rows_", "gather_rounded"]


class AdamNumbers(ctypes.Structure):
    """What a step of Adam multiplies by, as C reads it."""

    _fields_ = tuple(
        (name, ctypes.c_float) for name in ("rate", "root", "new1", "beta2", "new2", "eps", "weight_decay")
    )


def adam_rows_(
    table: Tensor, first: Tensor, second: Tensor, rows_R: Tensor, gradient: Tensor, numbers: AdamNumbers
) -> None:
    """Updates rows of a table and of its two moments, float32 ``[N, ...]``, from their gradients ``[R, ...]``."""
    kernels = library()
    assert kernels is not None  # the caller has asked `serve`
    tensors = map(address, (table, first, second, rows_R, gradient))
    size = math.prod(table.shape[1:])
    increment_version((table, first, second))  # autograd cannot see the change by itself
    kernels.adam_rows(*tensors, ctypes.c_int64(len(rows_R)), ctypes.c_int64(size), numbers)


def adam_every_row_(
    table: Tensor, first: Tensor, second: Tensor, rows_R: Tensor, gradient: Tensor, numbers: AdamNumbers
) -> None:
    """Updates all rows; the gradients of those that ``rows`` does not name are zero."""
    kernels = library()
    assert kernels is not None  # the caller has asked `serve`
    places_N = torch.full((len(table),), -1, dtype=torch.int32)
    places_N[rows_R] = torch.arange(len(rows_R), dtype=torch.int32)
    tensors = map(address, (table, first, second, places_N, gradient))
    size = math.prod(table.shape[1:])
    increment_version((table, first, second))
    kernels.adam_every_row(*tensors, ctypes.c_int64(len(table)), ctypes.c_int64(size), numbers)


def gather_rounded(table_ND: Tensor, rows_R: Tensor, gathered_RD: Tensor) -> Tensor:
    """Writes rows of a float32 table to a bfloat16 tensor, which it returns."""
    kernels = library()
    assert kernels is not None  # the caller has asked `serve`
    assert gathered_RD.dtype == torch.bfloat16
    tensors = map(address, (table_ND, rows_R))
    sizes = map(ctypes.c_int64, gathered_RD.shape)
    kernels.gather_bf16(*tensors, *sizes, address(gathered_RD))
    return gathered_RD
