"""A batch of sparse rows, in the compressed form that every kernel takes.

Sizes: B rows (users), C columns (items of the batch, or the whole catalogue), Z stored entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor

from recoder.ops.kernels import serve
from recoder.ops.kernels.rows import order_by_column

__all__ = ["ColumnOrder", "Offsets", "SparseRows", "need_not_wait_for"]

Offsets = npt.NDArray[np.int64]


def need_not_wait_for(device: torch.device) -> bool:
    """Whether a copy to a device need not be waited for: one to the host would be read before it is there."""
    return device.type != "cpu"


@dataclass(frozen=True, eq=False)
class ColumnOrder:
    """The entries of some rows in the order of their columns: column ``c`` has ``offsets[c]`` to ``offsets[c + 1]``.

    Attributes:
        offsets: int64 ``[C + 1]``, where the rows are.
        host_offsets: the same in host memory, so that a slice can be cut without waiting for a device.
        rows: int64 ``[Z]``: the row of each entry.
        entries: int64 ``[Z]``: which entry of the rows it is.
    """

    offsets: Tensor
    host_offsets: Offsets
    rows: Tensor
    entries: Tensor

    def to(self, device: torch.device) -> ColumnOrder:
        """Returns the same on ``device``."""
        offsets, rows, entries = (
            part.to(device, non_blocking=need_not_wait_for(device)) for part in (self.offsets, self.rows, self.entries)
        )
        return ColumnOrder(offsets, self.host_offsets, rows, entries)


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

    @cached_property
    def columns(self) -> ColumnOrder:
        """The entries by column; derived once and kept, also by ``to``: best before the rows go to a device."""
        on_host = self.to(torch.device("cpu"))
        if serve(on_host.offsets, on_host.cols, dtypes=(torch.int64,)) and serve(on_host.values):
            ordered = order_by_column(on_host.offsets, on_host.cols, on_host.values.detach(), self.num_cols)
            order = ColumnOrder(ordered.offsets, ordered.offsets.numpy(), ordered.rows, ordered.entries)
            if on_host is not self:
                return order.to(self.offsets.device)
            self.__dict__.setdefault("row_ids", ordered.row_ids)
            if not self.values.requires_grad:
                self.__dict__["values_by_column"] = ordered.values
            return order
        # the entries' numbers are the values that scipy sorts, in time linear in Z and C
        numbers = np.arange(self.cols.shape[0], dtype=np.int64)
        by_row = sparse.csr_matrix(
            (numbers, on_host.cols.numpy(), on_host.offsets.numpy()), shape=(self.num_rows, self.num_cols)
        )
        by_column = by_row.tocsc()
        offsets = by_column.indptr.astype(np.int64)
        order = ColumnOrder(
            torch.from_numpy(offsets),
            offsets,
            torch.from_numpy(by_column.indices.astype(np.int64)),
            torch.from_numpy(by_column.data),
        )
        return order if on_host is self else order.to(self.offsets.device)

    @cached_property
    def values_by_column(self) -> Tensor:
        """The values in the order of the columns, ``[Z]``; derived once and kept."""
        return self.values[self.columns.entries]

    def prepare(self) -> None:
        """Derives ``row_ids`` and ``columns`` now."""
        _ = self.columns, self.row_ids

    def sum_rows(self, entries: Tensor) -> Tensor:
        """Returns the sum of ``entries`` (one number per stored entry, ``[Z]``) in each row: ``[B]``."""
        if entries.device.type == "cpu" and self.num_rows:
            return torch.segment_reduce(entries, "sum", offsets=self.offsets, initial=0.0, unsafe=True)
        sums_B = entries.new_zeros(self.num_rows)
        return sums_B.index_add(0, self.row_ids, entries)

    def dot_rows(self, other: SparseRows) -> Tensor:
        """Returns the product of each row with the same row of ``other``, which has as many columns: ``[B]``."""
        if other.cols is self.cols:
            return self.sum_rows(self.values * other.values)
        keys, order = torch.sort(other.row_ids * self.num_cols + other.cols)
        wanted = self.row_ids * self.num_cols + self.cols
        if not len(keys):
            return self.values.new_zeros(self.num_rows)
        places = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
        return self.sum_rows(self.values * other.values[order[places]] * (keys[places] == wanted))

    def cut(self, start: int, stop: int) -> SparseRows:
        """Returns rows ``start`` to ``stop``; they share their memory with these."""
        first, last = self.offsets[[start, stop]].tolist()
        return SparseRows(
            self.offsets[start : stop + 1] - first, self.cols[first:last], self.values[first:last], self.num_cols
        )

    def split(self, rows_per_block: int) -> Iterator[SparseRows]:
        """Yields the rows, so many at a time; of no rows once. They share their memory with these."""
        for start in range(0, max(1, self.num_rows), rows_per_block):
            yield self.cut(start, min(start + rows_per_block, self.num_rows))

    def take(self, rows_b: Tensor) -> SparseRows:
        """Returns some rows, in this order: int64 ``[b]``."""
        lengths_b = self.offsets.diff()[rows_b]
        offsets = F.pad(lengths_b.cumsum(0), (1, 0))
        shifts_z = torch.repeat_interleave(self.offsets[rows_b] - offsets[:-1], lengths_b)
        entries_z = torch.arange(len(shifts_z), device=shifts_z.device) + shifts_z
        return SparseRows(offsets, self.cols[entries_z], self.values[entries_z], self.num_cols)

    def with_values(self, values: Tensor) -> SparseRows:
        """Returns the same pattern holding other values: ``[Z]``."""
        return self._with_orders_of(SparseRows(self.offsets, self.cols, values, self.num_cols))

    def to(self, device: torch.device) -> SparseRows:
        """Returns the rows on ``device``."""
        if self.offsets.device == device:
            return self
        offsets, cols, values = (
            part.to(device, non_blocking=need_not_wait_for(device)) for part in (self.offsets, self.cols, self.values)
        )
        moved = SparseRows(offsets, cols, values, self.num_cols)
        if "columns" in self.__dict__:
            moved.__dict__["columns"] = self.columns.to(device)
        if "row_ids" in self.__dict__:
            moved.__dict__["row_ids"] = self.row_ids.to(device, non_blocking=need_not_wait_for(device))
        return moved

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
    def from_scipy(matrix: sparse.csr_matrix) -> SparseRows:
        """Returns the rows of a matrix, whose values they share."""
        offsets, cols = (torch.from_numpy(part.astype(np.int64)) for part in (matrix.indptr, matrix.indices))
        return SparseRows(offsets, cols, torch.from_numpy(matrix.data), matrix.shape[1])

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

    def __reduce__(self) -> tuple[type[SparseRows], tuple[Any, ...]]:
        # without what is derived: it shares memory with numpy arrays, which a data worker's queue would not move along
        return SparseRows, (self.offsets, self.cols, self.values, self.num_cols)

    def _with_orders_of(self, other: SparseRows) -> SparseRows:
        for name in ("row_ids", "columns"):
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other


def _offsets(ascending_rows: Tensor, num_rows: int) -> Tensor:
    bounds = torch.arange(num_rows + 1, device=ascending_rows.device)
    return torch.searchsorted(ascending_rows, bounds)
