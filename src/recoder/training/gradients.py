"""Gradients that processes have computed of some users of a batch each, added up.

Sizes: N rows of a table, D factors, R rows that have a gradient in one of the processes.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from recoder.ops.collectives import Ranks
from recoder.ops.gather import table_gradient
from recoder.training.updates import without_repeats

__all__ = ["sum_gradients"]

_SMALL = 1 << 16
"""Gradients with fewer numbers are exchanged together: to start an exchange costs more than to copy them."""


@torch.no_grad()
def sum_gradients(parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
    """Replaces the gradients of parameters by their sums over processes, all of which have the same parameters.

    Of a sparse gradient only the rows are exchanged that some process has.
    """
    if ranks.size == 1:
        return
    small: list[Tensor] = []
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if gradient.is_sparse and gradient.sparse_dim() == 1:
            parameter.grad = _sum_of_rows(gradient, ranks)
            continue
        parameter.grad = gradient = (gradient.to_dense() if gradient.is_sparse else gradient).contiguous()
        if gradient.numel() < _SMALL:
            small.append(gradient)
        else:
            ranks.sum_(gradient)
    for dtype in dict.fromkeys(gradient.dtype for gradient in small):
        of_dtype = [gradient for gradient in small if gradient.dtype == dtype]
        together = ranks.sum_(torch.cat([gradient.view(-1) for gradient in of_dtype]))
        for gradient, sums in zip(of_dtype, torch.split(together, [g.numel() for g in of_dtype]), strict=True):
            gradient.view(-1).copy_(sums)


def _sum_of_rows(gradient: Tensor, ranks: Ranks) -> Tensor:
    ids, rows = without_repeats(gradient)
    ids_R = torch.unique(torch.cat(ranks.gathered_rows(ids)))
    sums_R = rows.new_zeros(len(ids_R), *rows.shape[1:])
    sums_R.index_copy_(0, torch.searchsorted(ids_R, ids), rows)
    return table_gradient(gradient.shape, ids_R, ranks.sum_(sums_R), sparse=True)
