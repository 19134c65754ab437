"""One step of Adam for a table of which some rows have gradients; its moments may be kept in bfloat16.

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
from recoder.ops.rounding import Rounding, rounded

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


def adam_rows(
    table: Tensor,
    first: Tensor,
    second: Tensor,
    rows_R: Tensor,
    gradient: Tensor,
    step: AdamStep,
    rounding: Rounding | None = None,
) -> None:
    """Updates the rows of a table and of its two moments, ``[N, ...]`` each, in place.

    In one pass over the touched memory where the compiled kernels serve; else by copies of the rows.

    Args:
        table: the parameters.
        first: mean of the gradients.
        second: mean of their squares.
        rows_R: int64, without repeats.
        gradient: of these rows, ``[R, ...]``.
        step: the rest.
        rounding: of moments that are bfloat16, whatever the table; None: they are of its dtype.
    """
    if _are_served(table, (first, second), rows_R, gradient, rounding):
        adam_rows_(table, first, second, rows_R, gradient, _numbers(step), *_rounding_of(step, rounding))
        return
    _by_copies(table, (first, second), rows_R, gradient, step, rounding)


def _are_served(
    table: Tensor, moments: tuple[Tensor, Tensor], rows_R: Tensor, gradient: Tensor, rounding: Rounding | None
) -> bool:
    dtype = torch.float32 if rounding is None else torch.bfloat16
    return serve(table, gradient) and serve(*moments, dtypes=(dtype,)) and serve(rows_R, dtypes=(torch.int64,))


def _rounding_of(step: AdamStep, rounding: Rounding | None) -> tuple[int, Tensor | None]:
    return (0, None) if rounding is None else (rounding.key(step.number), rounding.ids_N)


def _by_copies(
    table: Tensor,
    moments: tuple[Tensor, Tensor],
    rows_R: Tensor,
    gradient: Tensor,
    step: AdamStep,
    rounding: Rounding | None,
) -> None:
    for start in range(0, len(rows_R), _ROWS_AT_ONCE):
        rows = rows_R[start : start + _ROWS_AT_ONCE]
        some = table.index_select(0, rows)
        first, second = (moment.index_select(0, rows).to(table.dtype) for moment in moments)
        adam_all(some, first, second, gradient[start : start + _ROWS_AT_ONCE], step)
        if rounding is not None:
            first, second = _rounded(first, second, rows, step, rounding)
        for tensor, updated in zip((table, *moments), (some, first, second), strict=True):
            tensor.index_copy_(0, rows, updated)


def _rounded(first: Tensor, second: Tensor, rows: Tensor, step: AdamStep, rounding: Rounding) -> tuple[Tensor, Tensor]:
    bits = rounding.bits(step.number, rows, first[:1].numel()).view(first.shape)
    return rounded(first, bits & 0xFFFF), rounded(second, bits >> 16)


def adam_every_row(
    table: Tensor,
    first: Tensor,
    second: Tensor,
    rows_R: Tensor,
    gradient: Tensor,
    step: AdamStep,
    rounding: Rounding | None = None,
) -> None:
    """Updates all rows of a table and of its two moments from the gradients of some; those of the others are zero.

    Without a dense gradient, where the compiled kernels serve. The arguments are those of ``adam_rows``.
    """
    if _are_served(table, (first, second), rows_R, gradient, rounding):
        adam_every_row_(table, first, second, rows_R, gradient, _numbers(step), *_rounding_of(step, rounding))
        return
    adam_all(table, first, second, table_gradient(table.shape, rows_R, gradient, sparse=False), step, rounding)


def adam_all(
    table: Tensor, first: Tensor, second: Tensor, gradient: Tensor, step: AdamStep, rounding: Rounding | None = None
) -> None:
    """Updates all rows of a table and of its two moments, in place; the arguments are those of ``adam_rows``."""
    if rounding is not None:
        every_row = torch.arange(len(table), device=table.device)
        adam_rows(table, first, second, every_row, gradient.contiguous(), step, rounding)
        return
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
