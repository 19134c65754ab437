"""Encoding sparse rows: sums of table rows, weighted by the interactions.

Sizes: B users, N items, D factors, Z stored interactions.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from recoder.ops.rows import SparseRows

__all__ = ["row_norms", "weighted_row_sums"]


def row_norms(rows: SparseRows) -> Tensor:
    """Returns the Euclidean norm of each row: ``[B]``; 0 for a row without entries."""
    return rows.sum_rows(rows.values.square()).sqrt()


def weighted_row_sums(table_ND: Tensor, rows: SparseRows, item_ids: Tensor, *, sparse: bool) -> Tensor:
    """Returns the sum over each user's interactions of value times table row: ``[B, D]``, in ``O(Z D)``.

    Args:
        table_ND: floating point ``[N, D]``.
        rows: the interactions; only their offsets and values are read.
        item_ids: int64 ``[Z]``: the table row of each interaction.
        sparse: give the table a sparse gradient, which holds only the rows that were read.
    """
    return F.embedding_bag(
        item_ids,
        table_ND,
        rows.offsets,
        mode="sum",
        sparse=sparse,
        per_sample_weights=rows.values.to(table_ND.dtype),
        include_last_offset=True,
    )
