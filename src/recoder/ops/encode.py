"""Encoding sparse rows: sums of table rows, weighted by the interactions.

Sizes: B users, N items, D factors, C columns of the batch, Z stored interactions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recoder.ops.gather import table_gradient
from recoder.ops.rows import ColumnOrder, SparseRows

__all__ = ["sums_by_column", "weighted_row_sums"]


def weighted_row_sums(table_ND: Tensor, rows: SparseRows, items_C: Tensor | None, *, sparse: bool) -> Tensor:
    """Returns the sum over each user's interactions of value times table row: ``[B, D]``, in ``O(Z D)``.

    Its gradient in the table is a sum over each item's users, as the rows in the order of their columns give it.

    Args:
        table_ND: floating point ``[N, D]``.
        rows: the interactions ``[B, C]``.
        items_C: int64 ``[C]``, without repeats: the table row of each column; None: column ``c`` is row ``c``.
        sparse: give the table a sparse gradient, which holds only the rows that were read.
    """
    sums: Tensor = _WeightedRowSums.apply(table_ND, rows.values, rows, items_C, sparse)  # type: ignore[no-untyped-call]  # in torch 2.13
    return sums


class _WeightedRowSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, table_ND: Tensor, values_Z: Tensor, rows: SparseRows, items_C: Tensor | None, sparse: bool
    ) -> Tensor:
        ids_Z = rows.cols if items_C is None else items_C[rows.cols]
        ctx.save_for_backward(table_ND, values_Z, ids_Z)
        ctx.rows, ctx.items_C, ctx.sparse = rows, items_C, sparse
        return _bags(table_ND, ids_Z, rows.offsets, values_Z)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        table_ND, values_Z, ids_Z = ctx.saved_tensors
        rows: SparseRows = ctx.rows
        sums_BD = gradients[0].contiguous()
        of_table = of_values = None
        if ctx.needs_input_grad[0]:
            of_table = _table_gradient(table_ND.shape, rows, ctx.items_C, sums_BD, sparse=ctx.sparse)
        if ctx.needs_input_grad[1]:
            of_values = (sums_BD[rows.row_ids] * table_ND[ids_Z]).sum(dim=1).to(values_Z.dtype)
        return of_table, of_values, None, None, None


def sums_by_column(rows: SparseRows, values_Z: Tensor, factors_BD: Tensor, columns: slice) -> Tensor:
    """Returns, for each of some columns, the sum over its users of value times factors: ``[c, D]``.

    Args:
        rows: ``[B, C]``; columns beyond C have no users.
        values_Z: of the entries, in the order of their columns.
        factors_BD: the users'.
        columns: ``c`` of them.
    """
    order, last = rows.columns, rows.num_cols
    start, stop = min(columns.start, last), min(columns.stop, last)
    entries = slice(int(order.host_offsets[start]), int(order.host_offsets[stop]))
    offsets = order.offsets[start : stop + 1] - entries.start
    missing = (columns.stop - columns.start) - (stop - start)
    if missing:
        offsets = torch.cat([offsets, offsets[-1:].expand(missing)])
    return _bags(factors_BD, order.rows[entries], offsets, values_Z[entries])


def _table_gradient(
    shape: torch.Size,
    rows: SparseRows,
    items_C: Tensor | None,
    sums_BD: Tensor,
    *,
    sparse: bool,
) -> Tensor:
    columns = rows.columns
    weights_Z = rows.values_by_column
    offsets = None if sparse else _offsets_of_all(columns, items_C, shape[0])
    if offsets is not None:
        return _bags(sums_BD, columns.rows, offsets, weights_Z)
    # a column without entries was not read, so its row of the table is not touched
    read = np.flatnonzero(np.diff(columns.host_offsets))
    read_R = torch.from_numpy(read).to(rows.cols.device, non_blocking=True)
    offsets = columns.offsets
    if len(read) < rows.num_cols:
        offsets = torch.cat([offsets[read_R], offsets[-1:]])
    ids_R = read_R if items_C is None else items_C[read_R]
    return table_gradient(shape, ids_R, _bags(sums_BD, columns.rows, offsets, weights_Z), sparse=sparse)


def _offsets_of_all(columns: ColumnOrder, items_C: Tensor | None, num_rows: int) -> Tensor | None:
    """Returns where the entries of each row of the table lie: int64 ``[N + 1]``; None if they are in another order.

    A bag for every row, most of them empty, gives a dense gradient in one pass.
    """
    if items_C is None:
        return columns.offsets if len(columns.host_offsets) == num_rows + 1 else None
    if items_C.device.type != "cpu":
        return None
    items = items_C.numpy()
    if (items[1:] <= items[:-1]).any():
        return None
    counts = np.zeros(num_rows + 1, dtype=np.int64)
    counts[items + 1] = np.diff(columns.host_offsets)
    return torch.from_numpy(counts.cumsum())


def _bags(table: Tensor, ids_Z: Tensor, offsets: Tensor, values_Z: Tensor) -> Tensor:
    """Returns the weighted sum of table rows in each bag; bag ``b`` is entries ``offsets[b]`` to ``offsets[b + 1]``."""
    return F.embedding_bag(
        ids_Z, table, offsets, mode="sum", per_sample_weights=values_Z.to(table.dtype), include_last_offset=True
    )
