"""The squared error of all items without their scores: its cost does not grow with the number of users.

With users' factors z, items' factors w and biases b, scores are ``x = z w + b``. With ``G = W'W``, ``S = Z'Z`` and u
the sum of the users' factors, the sum of all x squared is ``<G, S> + 2 (W'b)'u + B b'b``, and its gradients are
``2 (Z G + 1 (W'b)')``, ``2 (W S + b u')`` and ``2 (W u + B b)``; each stored entry of the target corrects the part of
its own score. Sizes: B users, I items, i of them in a block, D factors, Z stored entries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recoder.ops.collectives import ALONE, Ranks
from recoder.ops.encode import sums_by_column, weighted_row_sums
from recoder.ops.item_blocks import Gradients, ItemGradients, ItemRows, TargetEntries
from recoder.ops.kernels import serve
from recoder.ops.kernels.factor_losses import served_dtypes
from recoder.ops.kernels.gram import finish_gram, gram_pass, squared_entries
from recoder.ops.products_at import products_at
from recoder.ops.rows import SparseRows
from recoder.ops.score_losses import SquaredError
from recoder.ops.workspace import Workspace

__all__ = ["gram_is_cheaper", "gram_squared_error"]

_BLOCK_NUMBERS = 1 << 19
"""Of a block's factors: 2 MiB in float32, so that it stays in the processor's cache."""


def gram_is_cheaper(num_users: int, num_factors: int) -> bool:
    """Returns whether products with ``D x D`` matrices, two of them, cost less than the three with all users."""
    return 2 * num_factors < 3 * num_users


@torch.no_grad()
def gram_squared_error(
    loss: SquaredError,
    factors_BD: Tensor,
    items: ItemRows,
    target: SparseRows,
    *,
    scale: float | None = None,
    dense: bool = False,
    space: Workspace | None = None,
    ranks: Ranks = ALONE,
) -> tuple[Tensor, Gradients | None]:
    """Returns what ``fused_loss`` does, in ``O(I D^2 + Z D)``; the squares cancel, so it is never less than float32.

    Args:
        loss: the confidence.
        factors_BD: the users' factors.
        items: what to score.
        target: ``[B, I]``, or narrower: nobody has the items that are missing.
        scale: what to multiply gradients by; None: there are none to compute.
        dense: give gradients for all N items, not only for those that are scored.
        space: where to compute. The gradients lie there too, so the next call with it overwrites them.
        ranks: as in ``fused_loss``.

    Raises:
        ShapeError, UnknownIdError: see ``ItemRows.check``.
    """
    space = space or Workspace()
    items.check(target)
    num_users = len(factors_BD)
    factors_BD, target = factors_BD.contiguous(), target.with_values(target.values.to(factors_BD.dtype))
    users_DD, users_sum_D = factors_BD.T @ factors_BD, factors_BD.sum(dim=0)
    correction, slopes_Z, of_factors = _of_entries(loss, factors_BD, items, target, 1.0 if scale is None else scale)
    of_items = None if scale is None else ItemGradients(items, dense=dense, like=factors_BD, space=space)
    part = _ItemPart(factors_BD, users_sum_D, items, target.with_values(slopes_Z), scale, of_items, space)
    part.compute(users_DD * (0.0 if scale is None else 2 * scale))
    items_DD, biased_D = part.items_DD, part.biased_D
    value = (items_DD * users_DD).sum() + 2 * torch.dot(biased_D, users_sum_D) + correction
    biases = items.bias if items.bias is None or items.ids is None else items.bias[items.ids]
    if biases is not None:
        value += num_users * biases.square().sum()
    if of_items is None or scale is None:
        return value, None
    of_factors.addmm_(factors_BD, items_DD, alpha=2 * scale).add_(biased_D, alpha=2 * scale)
    return value, Gradients(ranks.sum_(of_factors), of_items.weight, of_items.bias)


class _ItemPart:
    """What is summed over the items, and their gradients, a block of items at a time.

    Args:
        factors_BD: the users' factors.
        users_sum_D: their sum.
        items: what is scored.
        slopes: of the stored entries of the target, times ``scale``.
        scale: what to multiply gradients by; None: there are none.
        of_items: where the gradients are written; None: they are not wanted.
        space: where to compute.

    Attributes:
        items_DD: the products of the items' factors.
        biased_D: the sum of the items' factors, each times its bias.
    """

    def __init__(
        self,
        factors_BD: Tensor,
        users_sum_D: Tensor,
        items: ItemRows,
        slopes: SparseRows,
        scale: float | None,
        of_items: ItemGradients | None,
        space: Workspace,
    ) -> None:
        num_factors = factors_BD.shape[1]
        self.items_DD = factors_BD.new_zeros(num_factors, num_factors)
        self.biased_D = torch.zeros_like(users_sum_D)
        self._factors_BD, self._users_sum_D, self._items = factors_BD, users_sum_D, items
        self._slopes, self._scale = slopes, 1.0 if scale is None else scale
        self._by_column = TargetEntries.of(slopes, factors_BD.dtype)
        self._of_items, self._space = of_items, space

    def compute(self, scaled_DD: Tensor) -> None:
        """Computes it all, with the gradients' products ``scaled_DD`` of the users' factors."""
        if self.is_served():
            blocks = _blocks(len(self._items), 1 if self._writes_directly() else self._factors_BD.shape[1])
            for block in blocks:
                self._by_kernel(block, scaled_DD)
            return
        for block in _blocks(len(self._items), self._factors_BD.shape[1]):
            weight_iD = self._items.weight_of(block, self._factors_BD.dtype, self._space)
            self.items_DD.addmm_(weight_iD.T, weight_iD)
            self._add_biased(block, weight_iD)
            if self._of_items is not None:
                of_weight_iD = self._of_items.place(block, self._factors_BD.dtype)
                torch.mm(weight_iD, scaled_DD, out=of_weight_iD)
                self._of_items.write(block, of_weight_iD, self._finish(block, weight_iD, of_weight_iD))

    def is_served(self) -> bool:
        """Returns whether the kernels take it."""
        items = self._items
        numbers = [self._factors_BD, items.weight, self._slopes.values, *([] if items.bias is None else [items.bias])]
        whole_numbers = [self._slopes.columns.rows, *([] if items.ids is None else [items.ids])]
        return torch.float32 in served_dtypes() and serve(*numbers) and serve(*whole_numbers, dtypes=(torch.int64,))

    def _writes_directly(self) -> bool:
        return self._of_items is None or self._of_items.is_direct

    def _by_kernel(self, block: slice, scaled_DD: Tensor) -> None:
        table_ND, bias_N, ids_i = self._items.part(block)
        of_items, of_weight_iD, of_bias_i = self._of_items, None, None
        if of_items is not None:
            of_weight_iD, of_bias_i = of_items.place(block, torch.float32), of_items.bias_place(block)
        gram_pass(
            table_ND,
            bias_N,
            ids_i,
            self._factors_BD,
            self._users_sum_D,
            self._by_column.cut(block),
            self.items_DD,
            self.biased_D,
            products_DD=scaled_DD,
            scale=self._scale,
            of_weight_ID=of_weight_iD,
            of_bias_I=of_bias_i,
            space=self._space,
        )
        if of_items is not None and of_weight_iD is not None and of_bias_i is not None:
            of_items.write(block, of_weight_iD, of_bias_i)

    def _add_biased(self, block: slice, weight_iD: Tensor) -> None:
        bias_i = self._items.bias_of(block)
        if bias_i is not None:
            self.biased_D += weight_iD.T @ bias_i

    def _finish(self, block: slice, weight_iD: Tensor, of_weight_iD: Tensor) -> Tensor:
        """Adds what biases and stored entries add to a block's gradients.

        Returns the gradients of the biases: ``[i]``, zero where there are none.
        """
        bias_i = self._items.bias_of(block)
        bias_i = weight_iD.new_zeros(len(weight_iD)) if bias_i is None else bias_i
        entries = self._by_column.cut(block)
        if serve(self._factors_BD, weight_iD, bias_i, of_weight_iD):
            return finish_gram(
                weight_iD,
                bias_i,
                self._factors_BD,
                self._users_sum_D,
                entries.offsets,
                entries.rows,
                entries.values,
                self._scale,
                of_weight_iD,
            )
        of_weight_iD.addr_(bias_i, self._users_sum_D, alpha=2 * self._scale)
        of_weight_iD += sums_by_column(self._slopes, self._by_column.values, self._factors_BD, block)
        of_squares_i = weight_iD @ self._users_sum_D + len(self._factors_BD) * bias_i
        return (2 * self._scale * of_squares_i).index_add_(0, entries.cols, entries.values)


def _of_entries(
    loss: SquaredError, factors_BD: Tensor, items: ItemRows, target: SparseRows, scale: float
) -> tuple[Tensor | float, Tensor, Tensor]:
    """Returns what the stored entries add to the loss of a target of zeros, and the gradients of that times ``scale``.

    These are the slope of each entry, ``[Z]``, and the users' part ``[B, D]``.
    """
    table_ND, bias_N, values_Z = items.weight, items.bias, target.values
    items_Z = target.cols if items.ids is None else items.ids[target.cols]
    of_float32 = (factors_BD, table_ND, values_Z, *([] if bias_N is None else [bias_N]))
    if serve(*of_float32) and serve(items_Z, target.offsets, dtypes=(torch.int64,)):
        return squared_entries(factors_BD, table_ND, bias_N, target.offsets, items_Z, values_Z, loss.confidence, scale)
    scores_Z = products_at(factors_BD, table_ND, target.offsets, items_Z)
    correction, slopes_Z = loss.correction(scores_Z if bias_N is None else scores_Z + bias_N[items_Z], values_Z)
    slopes_Z *= scale
    of_factors = weighted_row_sums(table_ND, target.with_values(slopes_Z), items.ids, sparse=False)
    return correction, slopes_Z, of_factors


def _blocks(num_items: int, num_factors: int) -> list[slice]:
    height = max(1, _BLOCK_NUMBERS // max(1, num_factors))
    return [slice(start, min(start + height, num_items)) for start in range(0, num_items, height)]
