"""Adam that reads and writes only the rows which a step touched.

Sizes: N rows of a table, R rows touched by the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from recoder.ops.adam_rows import AdamStep, adam_all, adam_every_row, adam_rows
from recoder.ops.gather import may_repeat

__all__ = ["RowAdam"]


class RowAdam(Optimizer):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980) for tables with sparse gradients.

    A row is touched if the step's gradient holds it, even with zeros; a dense gradient touches every row. Untouched
    rows and their moments stay as they are, so a step costs what it touches, whatever the size of the table. The price:
    the moments of a rare row decay per visit, not per step, and so does its weight decay. Each table counts its steps
    once. With every row touched it equals ``torch.optim.Adam``; without weight decay it equals
    ``torch.optim.SparseAdam``, but for where the tiny ``eps`` is added.

    Args:
        params: tables ``[N, ...]``.
        lr: learning rate.
        betas: decay of the two moments.
        eps: keeps the division finite.
        weight_decay: L2 penalty, added to the gradient of touched rows.
        every_row: take a sparse gradient for a dense one that is zero elsewhere, which touches every row.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        every_row: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._update = adam_every_row if every_row else adam_rows

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Updates the rows that the gradients touch."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._step_table(table, table.grad, group)
        return loss

    def _step_table(self, table: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[table]
        if not state:
            # an int, not a tensor as in torch's Adam: reading it must not wait for a device
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(table)
            state["exp_avg_sq"] = torch.zeros_like(table)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        step = AdamStep(state["step"], group["lr"], beta1, beta2, group["eps"], group["weight_decay"])
        moments = state["exp_avg"], state["exp_avg_sq"]
        if gradient.is_sparse:
            self._update(table, *moments, *_without_repeats(gradient), step)
        else:
            adam_all(table, *moments, gradient, step)


def _without_repeats(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the rows of a sparse gradient, int64 ``[R]``, and their values, those of repeats added up."""
    rows, values = gradient._indices()[0], gradient._values()
    if not may_repeat(rows):
        return rows, values
    if rows.device.type != "cpu":
        gradient = gradient.coalesce()
        return gradient.indices()[0], gradient.values()
    # faster than coalesce, which sorts the rows' values too
    unique, place = np.unique(rows.numpy(), return_inverse=True)
    sums = values.new_zeros(len(unique), *values.shape[1:])
    return torch.from_numpy(unique), sums.index_add_(0, torch.from_numpy(place.reshape(-1)), values)
