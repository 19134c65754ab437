"""Gradients that processes have computed of some users of a batch each, added up.

Sizes: N rows of a table, D factors, R rows that have a gradient in one of the processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
    with_gradient = [parameter for parameter in parameters if parameter.grad is not None]
    by_rows = [parameter for parameter in with_gradient if _has_rows(parameter)]
    summands = []
    for parameter, gradient in zip(by_rows, _with_rows_of_all([_gradient(p) for p in by_rows], ranks), strict=True):
        parameter.grad = gradient
        summands.append(gradient._values())
    for parameter in with_gradient:
        if not _has_rows(parameter):
            gradient = _gradient(parameter)
            parameter.grad = (gradient.to_dense() if gradient.is_sparse else gradient).contiguous()
            summands.append(parameter.grad)
    _sum_each(summands, ranks)


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None  # the caller has looked
    return parameter.grad


def _has_rows(parameter: nn.Parameter) -> bool:
    gradient = _gradient(parameter)
    return gradient.is_sparse and gradient.sparse_dim() == 1


def _with_rows_of_all(gradients: Sequence[Tensor], ranks: Ranks) -> list[Tensor]:
    """Returns sparse gradients with the rows that any process has, those that this one lacks filled with zeros."""
    if not gradients:
        return []
    mine = [without_repeats(gradient) for gradient in gradients]
    # two exchanges for all tables: every start costs
    ids = torch.cat([ids for ids, _ in mine])
    lengths = [of_rank.tolist() for of_rank in ranks.gathered(ids.new_tensor([len(ids) for ids, _ in mine]))]
    padded = ids.new_zeros(max(map(sum, lengths)))
    padded[: len(ids)] = ids
    parts = [
        torch.split(theirs[: sum(of_rank)], of_rank)
        for theirs, of_rank in zip(ranks.gathered(padded), lengths, strict=True)
    ]
    filled = []
    for gradient, (ids, rows), ids_of_ranks in zip(gradients, mine, zip(*parts, strict=True), strict=True):
        if not all(torch.equal(ids, theirs) for theirs in ids_of_ranks):
            ids_R = torch.unique(torch.cat(ids_of_ranks))
            rows = rows.new_zeros(len(ids_R), *rows.shape[1:]).index_copy_(0, torch.searchsorted(ids_R, ids), rows)
            ids = ids_R
        filled.append(table_gradient(gradient.shape, ids, rows.contiguous(), sparse=True))
    return filled


def _sum_each(tensors: Sequence[Tensor], ranks: Ranks) -> None:
    """Replaces contiguous tensors by their sums over processes."""
    for tensor in tensors:
        if tensor.numel() >= _SMALL:
            ranks.sum_(tensor)
    small = [tensor for tensor in tensors if tensor.numel() < _SMALL]
    for dtype in dict.fromkeys(tensor.dtype for tensor in small):
        of_dtype = [tensor for tensor in small if tensor.dtype == dtype]
        together = ranks.sum_(torch.cat([tensor.view(-1) for tensor in of_dtype]))
        for tensor, sums in zip(of_dtype, torch.split(together, [t.numel() for t in of_dtype]), strict=True):
            tensor.view(-1).copy_(sums)
