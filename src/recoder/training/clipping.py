"""Clipping gradients by their global norm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recoder.ops.collectives import ALONE, Ranks
from recoder.training.updates import without_repeats

__all__ = ["clipped"]


@torch.no_grad()
def clipped(
    gradients: Sequence[Tensor], max_norm: float, *, are_cut: Sequence[bool] = (), ranks: Ranks = ALONE
) -> list[Tensor]:
    """Returns the gradients, scaled down together if the norm of all their numbers exceeds ``max_norm``.

    Pascanu, Mikolov & Bengio 2013 (arXiv:1211.5063). Gradients are scaled in place; of a sparse one the rows that
    repeat are added up first. With sparse ones the host waits for the device, to learn how many rows are left.

    Args:
        gradients: of the parameters.
        max_norm: above 0.
        are_cut: of which this process has a part, the ranks others; the other gradients are the same for all.
        ranks: the processes.
    """
    summed = [_summed(gradient) for gradient in gradients]
    numbers = [gradient._values() if gradient.is_sparse else gradient for gradient in summed]
    norms = torch.stack([torch.linalg.vector_norm(each) for each in numbers])
    if ranks.size > 1:
        of_parts = torch.tensor(are_cut, device=norms.device)
        squares = ranks.sum_(norms.square() * of_parts)
        norms = torch.where(of_parts, squares.sqrt(), norms)
    norm = torch.linalg.vector_norm(norms)
    scale = (max_norm / norm).clamp(max=1)  # 1 where the norm is 0
    for each in numbers:
        each.mul_(scale)
    return summed


def _summed(gradient: Tensor) -> Tensor:
    if not gradient.is_sparse:
        return gradient
    if gradient.device.type != "cpu" or gradient.sparse_dim() != 1:
        return gradient.coalesce()  # which the update would have to do otherwise
    rows, values = without_repeats(gradient)
    return torch.sparse_coo_tensor(rows.unsqueeze(0), values, gradient.shape, check_invariants=False)
