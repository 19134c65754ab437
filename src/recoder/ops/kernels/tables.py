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

__all__ = ["AdagradNumbers", "AdamNumbers", "adagrad_rows_", "adam_every_row_", "adam_rows_", "gather_rounded"]


class AdamNumbers(ctypes.Structure):
    """What a step of Adam multiplies by, as C reads it."""

    _fields_ = tuple(
        (name, ctypes.c_float) for name in ("rate", "root", "new1", "beta2", "new2", "eps", "weight_decay")
    )


class AdagradNumbers(ctypes.Structure):
    """What a step of row-wise Adagrad is told, likewise."""

    _fields_ = tuple((name, ctypes.c_float) for name in ("lr", "weight_decay", "eps"))


def adam_rows_(
    table: Tensor,
    first: Tensor,
    second: Tensor,
    rows_R: Tensor,
    gradient: Tensor,
    numbers: AdamNumbers,
    key: int = 0,
    ids_N: Tensor | None = None,
) -> None:
    """Updates rows of a table and of its two moments, ``[N, ...]``, from their gradients ``[R, ...]``.

    Args:
        table: float32.
        first: mean of the gradients, float32 or bfloat16.
        second: mean of their squares, likewise.
        rows_R: int64, without repeats.
        gradient: float32.
        numbers: of the step.
        key: of the random bits that bfloat16 is rounded with; see ``recoder.ops.rounding``.
        ids_N: int64, rows of the whole table, likewise; None: all.
    """
    _adam("adam_rows", table, first, second, rows_R, gradient, numbers, key, ids_N)


def adam_every_row_(
    table: Tensor,
    first: Tensor,
    second: Tensor,
    rows_R: Tensor,
    gradient: Tensor,
    numbers: AdamNumbers,
    key: int = 0,
    ids_N: Tensor | None = None,
) -> None:
    """Updates all rows; the gradients of those that ``rows`` does not name are zero. The arguments are the same."""
    places_N = torch.full((len(table),), -1, dtype=torch.int32, device="cpu")
    places_N[rows_R] = torch.arange(len(rows_R), dtype=torch.int32, device="cpu")
    _adam("adam_every_row", table, first, second, places_N, gradient, numbers, key, ids_N)


def _adam(
    kernel: str,
    table: Tensor,
    first: Tensor,
    second: Tensor,
    order: Tensor,
    gradient: Tensor,
    numbers: AdamNumbers,
    key: int,
    ids_N: Tensor | None,
) -> None:
    """Calls a kernel for the dtype of the moments; ``order`` has an entry for each row that it goes through."""
    kernels = library()
    assert kernels is not None  # the caller has asked `serve`
    tensors = map(address, (table, first, second, order, gradient))
    sizes = map(ctypes.c_int64, (len(order), math.prod(table.shape[1:])))
    increment_version((table, first, second))  # autograd cannot see the change by itself
    if first.dtype == torch.bfloat16:
        getattr(kernels, f"{kernel}_bf16")(*tensors, *sizes, numbers, ctypes.c_uint64(key), address(ids_N))
    else:
        getattr(kernels, kernel)(*tensors, *sizes, numbers)


def adagrad_rows_(table: Tensor, sums_N: Tensor, rows_R: Tensor, gradient: Tensor, numbers: AdagradNumbers) -> None:
    """Updates rows of a float32 table ``[N, ...]`` and of their accumulators from their gradients ``[R, ...]``."""
    kernels = library()
    assert kernels is not None  # the caller has asked `serve`
    tensors = map(address, (table, sums_N, rows_R, gradient))
    sizes = map(ctypes.c_int64, (len(rows_R), math.prod(table.shape[1:])))
    increment_version((table, sums_N))
    kernels.adagrad_rows(*tensors, *sizes, numbers)


def gather_rounded(table_ND: Tensor, rows_R: Tensor, gathered_RD: Tensor) -> Tensor:
    """Writes rows of a float32 table to a bfloat16 tensor, which it returns."""
    kernels = library()
    assert kernels is not None  # the caller has asked `serve`
    assert gathered_RD.dtype == torch.bfloat16
    tensors = map(address, (table_ND, rows_R))
    sizes = map(ctypes.c_int64, gathered_RD.shape)
    kernels.gather_bf16(*tensors, *sizes, address(gathered_RD))
    return gathered_RD
