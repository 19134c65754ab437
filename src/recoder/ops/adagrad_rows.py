"""One step of Adagrad for a table, all rows or some, with an accumulator for each row or each number.

Sizes: N rows of the table, R of them touched.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recoder.ops.kernels import serve
from recoder.ops.kernels.tables import AdagradNumbers, adagrad_rows_

__all__ = ["adagrad_rows"]

_ROWS_AT_ONCE = 2048
"""Whose copies stay in the processor's cache between being read, updated and written."""


def adagrad_rows(
    table: Tensor,
    sums: Tensor,
    rows_R: Tensor | None,
    gradient: Tensor,
    *,
    lr: float,
    weight_decay: float,
    eps: float,
) -> None:
    """Updates rows of a table and of its accumulators in place.

    In one pass over the touched memory where the compiled kernels serve; else by copies of the rows.

    Args:
        table: the parameters, ``[N, ...]``.
        sums: of squared gradients: ``[N]``, of their mean over each row; or as the table.
        rows_R: int64, without repeats; None: all.
        gradient: of these rows, ``[R, ...]``.
        lr: learning rate.
        weight_decay: L2 penalty, added to the gradient.
        eps: keeps the division finite.
    """
    gradient = gradient.contiguous()
    if sums.dim() == 1 and serve(table, sums, gradient) and table.numel():
        rows_R = torch.arange(len(table), device="cpu") if rows_R is None else rows_R.contiguous()
        adagrad_rows_(table, sums, rows_R, gradient, AdagradNumbers(lr, weight_decay, eps))
        return
    if rows_R is None:
        num_rows = _ROWS_AT_ONCE if table.dim() > 1 and table.device.type == "cpu" else max(1, table.numel())
        parts = (torch.split(tensor, num_rows) if table.dim() else (tensor,) for tensor in (table, sums, gradient))
        for some, some_sums, some_gradient in zip(*parts, strict=True):
            some.sub_(_step(some, some_sums, some_gradient, weight_decay, eps), alpha=lr)
        return
    for start in range(0, len(rows_R), _ROWS_AT_ONCE):
        rows = rows_R[start : start + _ROWS_AT_ONCE]
        some, some_sums = table.index_select(0, rows), sums.index_select(0, rows)
        some.sub_(_step(some, some_sums, gradient[start : start + _ROWS_AT_ONCE], weight_decay, eps), alpha=lr)
        table.index_copy_(0, rows, some)
        sums.index_copy_(0, rows, some_sums)


def _step(table: Tensor, sums: Tensor, gradient: Tensor, weight_decay: float, eps: float) -> Tensor:
    """Adds to the accumulators, and returns the gradient over their roots."""
    if weight_decay:
        gradient = gradient.add(table, alpha=weight_decay)
    if sums.dim() == table.dim():
        return gradient / sums.addcmul_(gradient, gradient).sqrt().add_(eps)
    sums.add_(gradient.square().flatten(1).mean(1))
    return gradient / sums.sqrt().add_(eps).view(-1, *[1] * (table.dim() - 1))
