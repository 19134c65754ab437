"""The items that a loss scores, handed out in blocks: neither all their rows nor all their scores exist at once.

Sizes: B users, N items of the table, I items to score, i of them in a block, D factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from recoder.errors import ShapeError, UnknownIdError
from recoder.ops.kernels import serve
from recoder.ops.kernels.losses import Entries
from recoder.ops.kernels.tables import gather_rounded
from recoder.ops.rows import Offsets, SparseRows
from recoder.ops.workspace import Workspace

__all__ = ["Gradients", "ItemGradients", "ItemRows", "TargetBlock", "TargetEntries", "item_blocks"]

BLOCK_SCORES = 1 << 21
"""Scores of a block: 8 MiB in float32, so that a block stays in the processor's cache."""

DEVICE_BLOCK_SCORES = 1 << 22
"""The same on another device, where starting an operation costs more than memory does."""

_SMALLEST_BLOCK = 256
_ALIGNMENT = 64


@dataclass(frozen=True, eq=False)
class ItemRows:
    """Factors and biases of the items to score.

    Attributes:
        weight: floating point ``[N, D]``.
        bias: ``[N]``, or None.
        ids: int64 ``[I]``: the rows to score; None: all N.
    """

    weight: Tensor
    bias: Tensor | None
    ids: Tensor | None

    def __len__(self) -> int:
        return len(self.weight if self.ids is None else self.ids)

    def check(self, target: SparseRows) -> None:
        """Checks what compiled kernels would not: the width of a target, and the ids unless a device holds them.

        Raises:
            ShapeError: if the target has more columns than there are items.
            UnknownIdError: if an id is no row of the table.
        """
        if target.num_cols > len(self):
            raise ShapeError(f"the target has {target.num_cols} columns, but there are {len(self)} items to score")
        ids = self.ids
        if ids is None or ids.device.type != "cpu" or not len(ids):
            return
        lowest, highest = ids.numpy().min(), ids.numpy().max()
        if lowest < 0 or highest >= len(self.weight):
            raise UnknownIdError(
                f"item id {lowest if lowest < 0 else highest} is outside this model's {len(self.weight)} items; "
                "make the batches from the data set that the model is trained on"
            )

    def part(self, block: slice) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Returns the table, the biases and the rows to score of some of the items to score; views."""
        if self.ids is not None:
            return self.weight, self.bias, self.ids[block]
        return self.weight[block], None if self.bias is None else self.bias[block], None

    def weight_of(self, block: slice, dtype: torch.dtype, space: Workspace, *, kept_as: int | None = None) -> Tensor:
        """Returns the factors of some of the items to score as ``dtype``: ``[i, D]``.

        They are overwritten by the next ones that are kept under the same number, or also under none.
        """
        of_block = "" if kept_as is None else f" {kept_as}"
        if self.ids is None:
            weight = self.weight[block]
        else:
            ids = self.ids[block]
            shape = len(ids), self.weight.shape[1]
            if dtype == torch.bfloat16 and serve(self.weight) and serve(ids, dtypes=(torch.int64,)):
                return gather_rounded(
                    self.weight, ids, space.take("converted rows" + of_block, *shape, like=ids, dtype=dtype)
                )
            weight = torch.index_select(
                self.weight, 0, ids, out=space.take("rows" + of_block, *shape, like=self.weight)
            )
        if weight.dtype == dtype:
            return weight
        return space.take("converted rows" + of_block, *weight.shape, like=weight, dtype=dtype).copy_(weight)

    def bias_of(self, block: slice) -> Tensor | None:
        """Returns the biases of some of the items to score: ``[i]``, or None."""
        if self.bias is None:
            return None
        return self.bias[block] if self.ids is None else self.bias.index_select(0, self.ids[block])


@dataclass(frozen=True, eq=False)
class Gradients:
    """Of a loss in the users' factors ``[B, D]``, and in the factors and biases of the items, where these are wanted.

    Those of the items are ``[I, D]`` and ``[I]``; ``[N, D]`` and ``[N]``, zero for items that were not scored, if they
    were asked for as ``dense``.
    """

    factors: Tensor
    weight: Tensor | None
    bias: Tensor | None


class ItemGradients:
    """Where the gradients of the items are written, a block at a time.

    Args:
        items: what is scored.
        dense: keep a row for each of the N items, not only for those that are scored.
        like: a tensor of their dtype and device.
        space: where they lie.
    """

    def __init__(self, items: ItemRows, *, dense: bool, like: Tensor, space: Workspace) -> None:
        self._ids = items.ids if dense else None
        self._space = space
        num_rows = len(items.weight) if dense else len(items)
        self.weight = space.take("weight gradient", num_rows, items.weight.shape[1], like=like)
        self.bias = None if items.bias is None else space.take("bias gradient", num_rows, like=like)
        if self._ids is not None:
            self.weight.zero_()
            if self.bias is not None:
                self.bias.zero_()

    @property
    def is_direct(self) -> bool:
        """Whether ``place`` gives a place in the gradient itself, if the dtype is the same."""
        return self._ids is None

    def place(self, block: slice, dtype: torch.dtype) -> Tensor:
        """Returns where to compute the gradients of a block of the factors: ``[i, D]``, contiguous, as ``dtype``."""
        if self._ids is None and dtype == self.weight.dtype:
            return self.weight[block]
        shape = block.stop - block.start, self.weight.shape[1]
        return self._space.take("block gradient", *shape, like=self.weight, dtype=dtype)

    def bias_place(self, block: slice) -> Tensor:
        """Returns where to compute the gradients of a block of the biases, even if there are none: ``[i]``."""
        if self._ids is None and self.bias is not None:
            return self.bias[block]
        return self._space.take("block bias gradient", block.stop - block.start, like=self.weight)

    def write(self, block: slice, weight_iD: Tensor, bias_i: Tensor) -> None:
        """Writes the gradients of a block of the items to score; those of biases that there are not, nowhere."""
        for gradient, rows in ((self.weight, weight_iD), (self.bias, bias_i)):
            if gradient is None:
                continue
            if self._ids is not None:
                gradient.index_add_(0, self._ids[block], rows.to(gradient.dtype))
            elif rows.data_ptr() != gradient[block].data_ptr():
                gradient[block] = rows


@dataclass(frozen=True, eq=False)
class TargetBlock:
    """The stored entries of a target in some columns, ``i`` of them, in the order of the columns.

    Attributes:
        offsets: int64 ``[i + 1]`` in host memory: column ``c`` has the entries ``offsets[c]`` to ``offsets[c + 1]``.
        rows: int64 ``[Z]``: the row of each entry.
        values: ``[Z]``.
    """

    offsets: Offsets
    rows: Tensor
    values: Tensor

    @cached_property
    def cols(self) -> Tensor:
        """The column of each entry, counted from the first of these: int64 ``[Z]``."""
        counts = torch.from_numpy(np.diff(self.offsets)).to(self.rows.device, non_blocking=True)
        columns = torch.arange(len(counts), device=self.rows.device)
        return torch.repeat_interleave(columns, counts, output_size=len(self.rows))

    @cached_property
    def at(self) -> Tensor:
        """Where the entries lie in a contiguous ``[B, i]``: int64 ``[Z]``."""
        return self.rows * (len(self.offsets) - 1) + self.cols

    @cached_property
    def entries(self) -> Entries:
        """The same for the compiled kernels."""
        return Entries(self.offsets, self.rows, self.values)


@dataclass(frozen=True, eq=False)
class TargetEntries:
    """The stored entries of a target in the order of their columns; see ``ColumnOrder``."""

    target: SparseRows
    values: Tensor

    @staticmethod
    def of(target: SparseRows, dtype: torch.dtype) -> TargetEntries:
        """Returns the entries of ``target``, their values as ``dtype``."""
        _ = target.columns  # derived first: it may give the values too
        return TargetEntries(target, target.values_by_column.to(dtype))

    def sums_of_rows(self) -> Tensor:
        """Returns the sum of each row's values: ``[B]``."""
        return self.target.sum_rows(self.target.values.to(self.values.dtype))

    def cut(self, block: slice) -> TargetBlock:
        """Returns the entries of some columns."""
        order, last = self.target.columns, self.target.num_cols
        offsets = order.host_offsets[min(block.start, last) : min(block.stop, last) + 1]
        # a target may be narrower than the catalogue: columns that are missing begin and end where the last one ends
        missing = block.stop - block.start + 1 - len(offsets)
        if missing:
            offsets = np.pad(offsets, (0, missing), mode="edge")
        entries = slice(int(offsets[0]), int(offsets[-1]))
        if entries.start:  # else no copy as long as the catalogue is made
            offsets = offsets - entries.start
        return TargetBlock(offsets, order.rows[entries], self.values[entries])


def item_blocks(num_users: int, num_items: int, device: torch.device) -> list[slice]:
    """Returns blocks of equal width and a narrow rest: at least two, where there are enough items for it to pay.

    Widths are multiples of 64 where they can be: products whose rows start at odd places take half as long again.
    """
    scores = BLOCK_SCORES if device.type == "cpu" else DEVICE_BLOCK_SCORES
    widest = max(_SMALLEST_BLOCK, min(scores // max(1, num_users), -(-num_items // 2)))
    number = -(-num_items // widest)
    width = max(1, num_items // max(1, number))
    if number > 1 and width > _ALIGNMENT:
        width -= width % _ALIGNMENT
    return [slice(start, min(start + width, num_items)) for start in range(0, num_items, width)]
