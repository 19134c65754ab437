"""Rows of a table, with a gradient that holds just these rows.

Sizes: N rows of the table, D factors, R rows that are asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["add_table_gradient", "gather_rows", "may_repeat", "table_gradient"]


def gather_rows(table: Tensor, ids_R: Tensor, *, sparse: bool) -> Tensor:
    """Returns ``table[ids]``: ``[R, ...]``.

    Args:
        table: floating point ``[N, ...]``.
        ids_R: int64 ``[R]``, in any order, repeats allowed.
        sparse: give the table a sparse gradient that holds only these rows.
    """
    gathered: Tensor = _GatherRows.apply(table, ids_R, sparse)  # type: ignore[no-untyped-call]  # in torch 2.13
    return gathered


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ids_R: Tensor, sparse: bool) -> Tensor:
        ctx.save_for_backward(ids_R)
        ctx.shape, ctx.sparse = table.shape, sparse
        return table.index_select(0, ids_R)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (ids_R,) = ctx.saved_tensors
        return table_gradient(ctx.shape, ids_R, gradients[0], sparse=ctx.sparse), None, None


def table_gradient(shape: torch.Size, ids_R: Tensor, rows: Tensor, *, sparse: bool) -> Tensor:
    """Returns the gradient of a table of which only these rows have one: sparse, or dense with zeros elsewhere.

    Args:
        shape: of the table, ``[N, ...]``.
        ids_R: int64 ``[R]``; the gradients of a row that repeats are added up.
        rows: their gradients, ``[R, ...]``.
        sparse: which of the two.
    """
    if sparse:
        return torch.sparse_coo_tensor(ids_R.unsqueeze(0), rows, shape, check_invariants=False)
    return rows.new_zeros(shape).index_add_(0, ids_R, rows)


def may_repeat(ids_R: Tensor) -> bool:
    """Returns False if no id repeats; on a device, which would have to be waited for, it is not looked at."""
    if ids_R.device.type != "cpu":
        return True
    ids = ids_R.numpy()
    if bool((ids[1:] > ids[:-1]).all()):
        return False
    return len(np.unique(ids)) < len(ids)


def add_table_gradient(table: Tensor, ids_R: Tensor | None, rows: Tensor) -> None:
    """Adds to the gradient of a table, a leaf, that of some of its rows.

    Args:
        table: ``[N, ...]``.
        ids_R: int64 ``[R]``: which rows: the gradient is a sparse one; None: all N.
        rows: their gradients, ``[R, ...]``; they may become part of the table's gradient, so leave them as they are.
    """
    gradient = rows if ids_R is None else table_gradient(table.shape, ids_R, rows, sparse=True)
    if table.grad is None:
        table.grad = gradient
    elif table.grad.is_sparse:
        table.grad = gradient + table.grad
    else:
        table.grad = table.grad.add_(gradient)
