"""The items that a loss scores, handed out in blocks: neither all their rows nor all their scores exist at once.

Sizes: B users, N items of the table, I items to score, i of them in a block, D factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recoder.ops.rows import SparseRows
from recoder.ops.workspace import Workspace

__all__ = ["Gradients", "ItemGradients", "ItemRows", "TargetEntries", "item_blocks"]

BLOCK_SCORES = 1 << 20
"""Scores of a block: 4 MiB in float32, so that a block stays in the processor's cache."""

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

    def cut(self, block: slice, dtype: torch.dtype, space: Workspace) -> tuple[Tensor, Tensor | None]:
        """Returns the factors ``[i, D]`` and biases ``[i]`` of some of the items to score, as ``dtype``."""
        if self.ids is None:
            weight, bias = self.weight[block], None if self.bias is None else self.bias[block]
        else:
            ids = self.ids[block]
            gathered = space.take("rows", len(ids), self.weight.shape[1], like=self.weight)
            weight = torch.index_select(self.weight, 0, ids, out=gathered)
            bias = None if self.bias is None else self.bias.index_select(0, ids)
        if weight.dtype != dtype:
            weight = space.take("converted rows", *weight.shape, like=weight, dtype=dtype).copy_(weight)
        return weight, None if bias is None else bias.to(dtype)


@dataclass(frozen=True, eq=False)
class Gradients:
    """Of a loss in the users' factors ``[B, D]``, and in the factors and biases of the items (biases: or None).

    Those of the items are ``[I, D]`` and ``[I]``; ``[N, D]`` and ``[N]``, zero for items that were not scored, if they
    were asked for as ``dense``.
    """

    factors: Tensor
    weight: Tensor
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
        num_rows = len(items.weight) if dense else len(items)
        self.weight = space.take("weight gradient", num_rows, items.weight.shape[1], like=like)
        self.bias = None if items.bias is None else space.take("bias gradient", num_rows, like=like)
        if self._ids is not None:
            self.weight.zero_()
            if self.bias is not None:
                self.bias.zero_()

    def write(self, block: slice, weight_iD: Tensor, bias_i: Tensor | None) -> None:
        """Writes the gradients of a block of the items to score; biases come where the items have some."""
        for gradient, rows in ((self.weight, weight_iD), (self.bias, bias_i)):
            if gradient is None or rows is None:
                continue
            if self._ids is None:
                gradient[block] = rows
            else:
                gradient.index_add_(0, self._ids[block], rows.to(gradient.dtype))


@dataclass(frozen=True, eq=False)
class TargetEntries:
    """The stored entries of a target in the order of their columns; see ``ColumnOrder``."""

    target: SparseRows
    rows: Tensor
    cols: Tensor
    values: Tensor

    @staticmethod
    def of(target: SparseRows, dtype: torch.dtype) -> TargetEntries:
        """Returns the entries of ``target``, their values as ``dtype``."""
        order = target.columns
        return TargetEntries(target, order.rows, target.cols[order.entries], target.values.to(dtype)[order.entries])

    def cut(self, block: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the rows, the places in a contiguous ``[B, i]`` and the values of the entries of some columns."""
        offsets = self.target.columns.host_offsets
        last = len(offsets) - 1  # a target may be narrower than the catalogue
        entries = slice(int(offsets[min(block.start, last)]), int(offsets[min(block.stop, last)]))
        rows = self.rows[entries]
        return rows, rows * (block.stop - block.start) + (self.cols[entries] - block.start), self.values[entries]


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
