"""A batch of sparse rows, in the compressed form that every kernel takes.

Sizes: B rows (users), C columns (items of the batch, or the whole catalogue), Z stored entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

__all__ = ["SparseRows"]


@dataclass(frozen=True, eq=False)  # == on tensors is element-wise
class SparseRows:
    """Rows of a sparse matrix: row ``b`` holds the entries ``offsets[b]`` to ``offsets[b + 1]``.

    Attributes:
        offsets: int64 ``[B + 1]``, from 0 to Z.
        cols: int64 ``[Z]``, each in ``[0, num_cols)``.
        values: floating point ``[Z]``.
        num_cols: C.
    """

    offsets: Tensor
    cols: Tensor
    values: Tensor
    num_cols: int

    @property
    def num_rows(self) -> int:
        """B."""
        return self.offsets.shape[0] - 1

    @cached_property
    def row_ids(self) -> Tensor:
        """The row of each entry: int64 ``[Z]``, ascending."""
        counts_B = self.offsets.diff()
        rows_B = torch.arange(self.num_rows, device=self.offsets.device)
        # output_size spares the host a look at the counts
        return torch.repeat_interleave(rows_B, counts_B, output_size=self.cols.shape[0])

    def sum_rows(self, entries: Tensor) -> Tensor:
        """Returns the sum of ``entries`` (one number per stored entry, ``[Z]``) in each row: ``[B]``."""
        sums_B = entries.new_zeros(self.num_rows)
        return sums_B.index_add(0, self.row_ids, entries)

    def with_values(self, values: Tensor) -> SparseRows:
        """Returns the same pattern holding other values: ``[Z]``."""
        return SparseRows(self.offsets, self.cols, values, self.num_cols)

    def to(self, device: torch.device) -> SparseRows:
        """Returns the rows on ``device``."""
        if self.offsets.device == device:
            return self
        offsets, cols, values = (part.to(device, non_blocking=True) for part in (self.offsets, self.cols, self.values))
        return SparseRows(offsets, cols, values, self.num_cols)

    def to_dense(self) -> Tensor:
        """Returns the rows as a dense ``[B, C]`` tensor; repeated entries are added up."""
        dense_BC = self.values.new_zeros(self.num_rows, self.num_cols)
        return dense_BC.index_put((self.row_ids, self.cols), self.values, accumulate=True)

    @staticmethod
    def from_dense(dense: Tensor) -> SparseRows:
        """Returns the non-zero entries of a dense ``[B, C]`` tensor; gradients flow back to it."""
        rows, cols = dense.nonzero(as_tuple=True)
        return SparseRows(_offsets(rows, dense.shape[0]), cols, dense[rows, cols], dense.shape[1])

    @staticmethod
    def from_coordinates(indices: Tensor, values: Tensor, size: tuple[int, int]) -> SparseRows:
        """Returns the rows of a sparse matrix given by coordinates in any order.

        Args:
            indices: int64 ``[2, Z]``: row and column of each entry.
            values: floating point ``[Z]``.
            size: (B, C).
        """
        rows, order = torch.sort(indices[0], stable=True)
        return SparseRows(_offsets(rows, size[0]), indices[1][order], values[order], size[1])


def _offsets(ascending_rows: Tensor, num_rows: int) -> Tensor:
    bounds = torch.arange(num_rows + 1, device=ascending_rows.device)
    return torch.searchsorted(ascending_rows, bounds)
