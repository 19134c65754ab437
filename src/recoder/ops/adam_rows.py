"""One step of Adam for a table of which some rows have gradients.

Sizes: N rows of the table, R of them touched, D factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam

from recoder.ops.gather import table_gradient
from recoder.ops.kernels import serve
from recoder.ops.kernels.tables import AdamNumbers, adam_every_row_, adam_rows_

__all__ = ["AdamStep", "adam_all", "adam_every_row", "adam_rows"]

_ROWS_AT_ONCE = 2048
"""Whose copies stay in the processor's cache between being read, updated and written."""


@dataclass(frozen=True)
class AdamStep:
    """What a step of Adam (Kingma & Ba 2015, arXiv:1412.6980) is told.

    Attributes:
        number: of the step, from 1.
        lr: learning rate.
        beta1, beta2: decay of the two moments.
        eps: keeps the division finite.
        weight_decay: L2 penalty, added to the gradient.
    """

    number: int
    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float


def adam_rows(table: Tensor, first: Tensor, second: Tensor, rows_R: Tensor, gradient: Tensor, step: AdamStep) -> None:
    """Updates the rows of a table and of its two moments, ``[N, ...]`` each, in place.

    In one pass over the touched memory where the compiled kernels serve; else by copies of the rows.

    Args:
        table: the parameters.
        first: mean of the gradients.
        second: mean of their squares.
        rows_R: int64, without repeats.
        gradient: of these rows, ``[R, ...]``.
        step: the rest.
    """
    if not (serve(table, first, second, gradient) and serve(rows_R, dtypes=(torch.int64,))):
        _by_copies(table, first, second, rows_R, gradient, step)
        return
    adam_rows_(table, first, second, rows_R, gradient, _numbers(step))


def _by_copies(table: Tensor, first: Tensor, second: Tensor, rows_R: Tensor, gradient: Tensor, step: AdamStep) -> None:
    tensors = table, first, second
    for start in range(0, len(rows_R), _ROWS_AT_ONCE):
        rows = rows_R[start : start + _ROWS_AT_ONCE]
        some, some_first, some_second = (tensor.index_select(0, rows) for tensor in tensors)
        adam_all(some, some_first, some_second, gradient[start : start + _ROWS_AT_ONCE], step)
        for tensor, updated in zip(tensors, (some, some_first, some_second), strict=True):
            tensor.index_copy_(0, rows, updated)


def adam_every_row(
    table: Tensor, first: Tensor, second: Tensor, rows_R: Tensor, gradient: Tensor, step: AdamStep
) -> None:
    """Updates all rows of a table and of its two moments from the gradients of some; those of the others are zero.

    Without a dense gradient, where the compiled kernels serve. The arguments are those of ``adam_rows``.
    """
    if serve(table, first, second, gradient) and serve(rows_R, dtypes=(torch.int64,)):
        adam_every_row_(table, first, second, rows_R, gradient, _numbers(step))
        return
    adam_all(table, first, second, table_gradient(table.shape, rows_R, gradient, sparse=False), step)


def adam_all(table: Tensor, first: Tensor, second: Tensor, gradient: Tensor, step: AdamStep) -> None:
    """Updates all rows of a table and of its two moments, in place."""
    adam(
        [table],
        [gradient.contiguous()],  # torch 2.13 reads it as if it were
        [first],
        [second],
        [],
        # torch counts the step by itself, before the update
        [torch.full((), step.number - 1, dtype=torch.float32, device=table.device)],
        fused=True,
        amsgrad=False,
        beta1=step.beta1,
        beta2=step.beta2,
        lr=step.lr,
        weight_decay=step.weight_decay,
        eps=step.eps,
        maximize=False,
    )


def _numbers(step: AdamStep) -> AdamNumbers:
    return AdamNumbers(
        rate=step.lr / (1 - step.beta1**step.number),
        root=(1 - step.beta2**step.number) ** -0.5,
        new1=1 - step.beta1,
        beta2=step.beta2,
        new2=1 - step.beta2,
        eps=step.eps,
        weight_decay=step.weight_decay,
    )
