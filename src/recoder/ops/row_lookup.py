"""Finding rows by their content.

Sizes: R rows to look in, B rows to find, C columns, Z stored entries.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recoder.ops.rows import SparseRows

__all__ = ["RowLookup"]


class RowLookup:
    """Tells which of some rows another row is equal to, in time linear in what it holds.

    Args:
        rows: to look in, the entries of each in the order of their columns.
    """

    def __init__(self, rows: SparseRows) -> None:
        self._rows = rows
        # the same numbers in every process
        numbers = torch.Generator("cpu").manual_seed(0)
        of_columns_C = torch.randint(-(1 << 63), (1 << 63) - 1, (rows.num_cols,), generator=numbers, device="cpu")
        self._of_columns_C = of_columns_C.to(rows.cols.device)
        self._hashes_R, self._order_R = torch.sort(self._hashes(rows))

    def places(self, rows: SparseRows) -> Tensor:
        """Returns which row each of others, in the same order of columns, is equal to: int64 ``[B]``, -1: none."""
        if not len(self._order_R):
            return torch.full_like(rows.offsets[1:], -1)
        found_B = torch.searchsorted(self._hashes_R, self._hashes(rows)).clamp_max(len(self._order_R) - 1)
        places_B = self._order_R[found_B]
        return torch.where(self._is_same(rows, places_B), places_B, -1)

    def _hashes(self, rows: SparseRows) -> Tensor:
        """Returns a sum for each row, modulo 2^64, of numbers that follow from column and value: int64 ``[B]``."""
        bits_Z = rows.values.float().view(torch.int32).long()
        sums = F.pad((self._of_columns_C[rows.cols] * (2 * bits_Z + 1)).cumsum(0), (1, 0))
        return sums[rows.offsets[1:]] - sums[rows.offsets[:-1]]

    def _is_same(self, rows: SparseRows, places_B: Tensor) -> Tensor:
        """Returns whether each row equals the one at its place: bool ``[B]``."""
        own = self._rows
        has_length_B = own.offsets.diff()[places_B] == rows.offsets.diff()
        if not len(own.cols):
            return has_length_B
        # where its first entry lies beside the row's
        shifts_B = own.offsets[places_B] - rows.offsets[:-1]
        entries_Z = torch.arange(len(rows.cols), device=rows.cols.device) + shifts_B[rows.row_ids]
        entries_Z = entries_Z.clamp_max(len(own.cols) - 1)
        differs_Z = (own.cols[entries_Z] != rows.cols) | (own.values[entries_Z] != rows.values)
        differing = F.pad(differs_Z.long().cumsum(0), (1, 0))
        return has_length_B & (differing[rows.offsets[1:]] == differing[rows.offsets[:-1]])
