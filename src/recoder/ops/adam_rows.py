"""One step of Adam for some rows of a table.

Sizes: N rows of the table, R of them touched, D factors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.adam import adam

__all__ = ["AdamStep", "adam_all", "adam_rows"]

_ROWS_AT_ONCE = 2048
"""Whose copies stay in the processor's cache between being read, updated and written."""

_COMPILED_DTYPES = ({torch.float32}, {torch.float64})


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

    In one pass over the touched memory where numba is installed (the extra ``fast``); else by copies of the rows.

    Args:
        table: the parameters.
        first: mean of the gradients.
        second: mean of their squares.
        rows_R: int64, without repeats.
        gradient: of these rows, ``[R, ...]``.
        step: the rest.
    """
    tensors = table, first, second, gradient
    kernel = _compiled() if all(t.device.type == "cpu" and t.is_contiguous() for t in tensors) else None
    if kernel is None or {t.dtype for t in tensors} not in _COMPILED_DTYPES:
        _by_copies(table, first, second, rows_R, gradient, step)
        return
    arrays = [t.detach().reshape(len(t), math.prod(t.shape[1:])).numpy() for t in tensors]
    rate = step.lr / (1 - step.beta1**step.number)
    root = (1 - step.beta2**step.number) ** -0.5
    numbers = (rate, root, 1 - step.beta1, step.beta2, 1 - step.beta2, step.eps, step.weight_decay)
    _in_threads(len(rows_R), kernel, *arrays, rows_R.numpy(), *map(arrays[0].dtype.type, numbers))


def _by_copies(table: Tensor, first: Tensor, second: Tensor, rows_R: Tensor, gradient: Tensor, step: AdamStep) -> None:
    tensors = table, first, second
    for start in range(0, len(rows_R), _ROWS_AT_ONCE):
        rows = rows_R[start : start + _ROWS_AT_ONCE]
        some, some_first, some_second = (tensor.index_select(0, rows) for tensor in tensors)
        adam_all(some, some_first, some_second, gradient[start : start + _ROWS_AT_ONCE], step)
        for tensor, updated in zip(tensors, (some, some_first, some_second), strict=True):
            tensor.index_copy_(0, rows, updated)


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


def _in_threads(num_rows: int, kernel: Callable[..., None], *arguments: Any) -> None:
    """Calls ``kernel(start, stop, *arguments)`` for parts of the rows, in as many threads as torch computes with."""
    parts = min(torch.get_num_threads(), 1 + num_rows // 256)
    bounds = [num_rows * part // parts for part in range(parts + 1)]
    others = [_threads(parts).submit(kernel, *bounds[k : k + 2], *arguments) for k in range(1, parts)]
    kernel(*bounds[:2], *arguments)
    for other in others:
        other.result()


@cache
def _threads(number: int) -> ThreadPoolExecutor:
    # numba's own threads would spin beside torch's, which wait for them
    return ThreadPoolExecutor(number, thread_name_prefix="recoder-rows")


@cache
def _compiled() -> Callable[..., None] | None:
    """Returns the kernel, or None where numba is not installed."""
    try:
        import numba
    except ImportError:
        return None
    compiled: Callable[..., None] = numba.njit(_update_rows, nogil=True, error_model="numpy", cache=True)
    return compiled


def _update_rows(
    start: int,
    stop: int,
    table: Any,
    first: Any,
    second: Any,
    gradient: Any,
    rows: Any,
    rate: Any,
    root: Any,
    new1: Any,
    beta2: Any,
    new2: Any,
    eps: Any,
    weight_decay: Any,
) -> None:
    """Updates the touched rows ``start`` to ``stop``; compiled, so that a row is read and written once.

    All numbers have the dtype of the tables, for a literal would make the arithmetic one of float64.
    """
    for touched in range(start, stop):
        row = rows[touched]
        for d in range(table.shape[1]):
            slope = gradient[touched, d] + weight_decay * table[row, d]
            mean = first[row, d] + (slope - first[row, d]) * new1
            square = second[row, d] * beta2 + slope * slope * new2
            first[row, d] = mean
            second[row, d] = square
            table[row, d] -= rate * mean / (np.sqrt(square) * root + eps)
