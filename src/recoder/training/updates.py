"""What a step of each type of optimizer does to one parameter and its state: by the functions behind torch's classes.

The classes themselves import torch's compiler, which costs 70 MiB and most of a second at their first use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.adagrad import adagrad
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from recoder.ops.adagrad_rows import adagrad_rows
from recoder.ops.adam_rows import AdamStep, adam_all, adam_every_row, adam_rows
from recoder.ops.gather import may_repeat, table_gradient
from recoder.ops.large import zeros_like_table
from recoder.ops.rounding import Rounding

__all__ = ["STATE_KEYS", "UPDATES", "State", "StepOptions", "Update", "update_by_adam", "without_repeats"]

MOMENTUM = 0.9
_EPS_OF_ADAGRAD = 1e-10

State = dict[str, Any]
"""Tensors of a parameter's shape, or of a number for each row; ``step`` is an int: a tensor would be waited for."""


@dataclass(frozen=True, eq=False)
class StepOptions:
    """How a parameter is to be updated.

    Attributes:
        lr: learning rate.
        weight_decay: L2 penalty, added to the gradient.
        every_row: take a sparse gradient for a dense one that is zero elsewhere.
        is_table: the parameter's rows are of users or items each.
        rounding: keep moments in bfloat16, rounded in this way; None: in the parameter's dtype.
    """

    lr: float
    weight_decay: float = 0.0
    every_row: bool = False
    is_table: bool = False
    rounding: Rounding | None = None


Update = Callable[[Tensor, Tensor, State, StepOptions], None]
"""One step for one parameter: changes it and its state, empty before the first step, in place, given its gradient."""


def update_by_adam(
    parameter: Tensor,
    gradient: Tensor,
    state: State,
    options: StepOptions,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> None:
    """Adam (Kingma & Ba 2015, arXiv:1412.6980), by rows where the gradient is sparse.

    A row is touched if the step's gradient holds it, even with zeros; a dense gradient touches every row, and so does
    ``every_row``. Untouched rows and their moments stay as they are, so a step costs what it touches, whatever the size
    of the table. The price: the moments of a rare row decay per visit, not per step, and so does its weight decay. With
    every row touched it equals ``torch.optim.Adam``; without weight decay it equals ``torch.optim.SparseAdam``, but
    for where the tiny ``eps`` is added.
    """
    if not state:
        dtype = parameter.dtype if options.rounding is None else torch.bfloat16
        state.update(step=0, **{key: zeros_like_table(parameter, dtype) for key in ("exp_avg", "exp_avg_sq")})
    state["step"] += 1
    step = AdamStep(state["step"], options.lr, *betas, eps, options.weight_decay)
    moments = state["exp_avg"], state["exp_avg_sq"]
    if gradient.is_sparse and gradient.sparse_dim() != 1:
        gradient = gradient.to_dense()  # of single numbers, not of rows
    if not gradient.is_sparse:
        adam_all(parameter, *moments, gradient, step, options.rounding)
        return
    update = adam_every_row if options.every_row else adam_rows
    update(parameter, *moments, *without_repeats(gradient), step, options.rounding)


def _update_by_sgd(parameter: Tensor, gradient: Tensor, state: State, options: StepOptions) -> None:
    momenta = [state.get("momentum_buffer")]
    sgd(
        [parameter],
        [gradient.contiguous()],
        momenta,
        fused=True,
        weight_decay=options.weight_decay,
        momentum=MOMENTUM,
        lr=options.lr,
        dampening=0.0,
        nesterov=False,
        maximize=False,
    )
    state["momentum_buffer"] = momenta[0]


def _update_by_adagrad(parameter: Tensor, gradient: Tensor, state: State, options: StepOptions) -> None:
    if not state:
        state.update(step=0, sum=torch.zeros_like(parameter))
    adagrad(
        [parameter],
        [gradient.contiguous()],
        [state["sum"]],
        [torch.tensor(float(state["step"]))],
        fused=parameter.device.type == "cpu",  # torch 2.13 has no fused Adagrad for CUDA
        lr=options.lr,
        weight_decay=options.weight_decay,
        lr_decay=0.0,
        eps=_EPS_OF_ADAGRAD,
        maximize=False,
    )
    state["step"] += 1


def _update_by_rowwise_adagrad(parameter: Tensor, gradient: Tensor, state: State, options: StepOptions) -> None:
    """Adagrad (Duchi, Hazan & Singer 2011) with one accumulator for a row of a table: of the mean of its squares.

    Gupta et al. 2014 (WWW, "Training large-scale recommender systems"), as FBGEMM's ``EXACT_ROWWISE_ADAGRAD``. Other
    parameters have one for each number. Rows are touched as in ``update_by_adam``.
    """
    if gradient.is_sparse and gradient.sparse_dim() != 1:
        gradient = gradient.to_dense()
    if not state:
        by_row = options.is_table or gradient.is_sparse
        state["sum"] = parameter.new_zeros(len(parameter)) if by_row else torch.zeros_like(parameter)
    rows_R = None
    if gradient.is_sparse:
        rows_R, gradient = without_repeats(gradient)
    # without decay, rows without a gradient stay as they are
    if rows_R is not None and options.every_row and options.weight_decay:
        gradient = table_gradient(parameter.shape, rows_R, gradient, sparse=False)
        rows_R = None
    adagrad_rows(
        parameter, state["sum"], rows_R, gradient, lr=options.lr, weight_decay=options.weight_decay, eps=_EPS_OF_ADAGRAD
    )


def _update_by_rmsprop(parameter: Tensor, gradient: Tensor, state: State, options: StepOptions) -> None:
    if not state:
        state.update(step=0, square_avg=torch.zeros_like(parameter), momentum_buffer=torch.zeros_like(parameter))
    rmsprop(
        [parameter],
        [gradient],
        [state["square_avg"]],
        [],
        [state["momentum_buffer"]],
        [torch.tensor(float(state["step"]))],
        lr=options.lr,
        alpha=0.99,
        eps=1e-8,
        weight_decay=options.weight_decay,
        momentum=MOMENTUM,
        centered=False,
    )
    state["step"] += 1


UPDATES: dict[str, Update] = {
    "sgd": _update_by_sgd,
    "adam": update_by_adam,
    "adagrad": _update_by_adagrad,
    "rmsprop": _update_by_rmsprop,
    "rowwise_adagrad": _update_by_rowwise_adagrad,
}

STATE_KEYS = {
    "sgd": {"momentum_buffer"},
    "adam": {"step", "exp_avg", "exp_avg_sq"},
    "adagrad": {"step", "sum"},
    "rmsprop": {"step", "square_avg", "momentum_buffer"},
    "rowwise_adagrad": {"sum"},
}


def without_repeats(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the rows of a sparse gradient, int64 ``[R]``, and their values, those of repeats added up."""
    rows, values = gradient._indices()[0], gradient._values()
    if rows.device.type == "cpu" and len(rows):
        lowest, highest = rows.numpy().min(), rows.numpy().max()
        if lowest < 0 or highest >= len(gradient):
            wrong = lowest if lowest < 0 else highest
            raise IndexError(f"a sparse gradient names row {wrong} of a table with {len(gradient)} rows")
    if not may_repeat(rows):
        return rows, values
    if rows.device.type != "cpu":
        gradient = gradient.coalesce()
        return gradient.indices()[0], gradient.values()
    # faster than coalesce, which sorts the rows' values too
    unique, place = np.unique(rows.numpy(), return_inverse=True)
    sums = values.new_zeros(len(unique), *values.shape[1:])
    return torch.from_numpy(unique), sums.index_add_(0, torch.from_numpy(place.reshape(-1)), values)
