"""Products of factors at some entries only. Sizes: B users, N items, D factors, Z entries."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from recoder._quiet import quiet

__all__ = ["products_at"]


def products_at(factors_BD: Tensor, table_ND: Tensor, offsets: Tensor, items_Z: Tensor) -> Tensor:
    """Returns the products of users' factors with rows of a table: ``[Z]``, without gathering these.

    Args:
        factors_BD: the users' factors.
        table_ND: of the same dtype.
        offsets: int64 ``[B + 1]``: user ``b`` has the entries ``offsets[b]`` to ``offsets[b + 1]``.
        items_Z: int64 ``[Z]``: the row of the table for each.
    """
    _hear_the_warning()
    zeros_Z = factors_BD.new_zeros(len(items_Z))
    shape = len(factors_BD), len(table_ND)
    pattern = torch.sparse_csr_tensor(offsets, items_Z, zeros_Z, shape, check_invariants=False)
    products_Z: Tensor = torch.sparse.sampled_addmm(pattern, factors_BD, table_ND.T, beta=0.0).values()
    return products_Z


@cache
def _hear_the_warning() -> None:
    """Makes torch's first CSR tensor, at which it warns, once, that such tensors are in beta."""
    with quiet(UserWarning):
        torch.sparse_csr_tensor([0, 0], [], torch.zeros(0), (1, 1), check_invariants=False)
