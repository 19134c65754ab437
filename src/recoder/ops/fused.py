"""Losses of scores that are products of factors, with their gradients: no tensor of users by items is kept.

A block of items at a time: its scores by one matrix product, loss and slopes in their place, two products for the
gradients. Sizes: B users, I items to score, i of them in a block, D factors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recoder.ops.collectives import ALONE, Ranks
from recoder.ops.item_blocks import Gradients, ItemGradients, ItemRows, TargetEntries, item_blocks
from recoder.ops.one_pass import one_pass_loss, one_pass_serves
from recoder.ops.rows import SparseRows
from recoder.ops.score_losses import Multinomial, ScoreBlock, ScoreLoss, Slopes, over_all_items
from recoder.ops.workspace import Workspace

__all__ = ["fused_loss"]

KEPT_BYTES = 32 << 20
"""Of the multinomial's scores and the items' rows; where they need more, they are made twice."""


@torch.no_grad()
def fused_loss(
    loss: ScoreLoss | Multinomial,
    factors_BD: Tensor,
    items: ItemRows,
    target: SparseRows,
    *,
    scale: float | None = None,
    dtype: torch.dtype | None = None,
    dense: bool = False,
    of_items: bool = True,
    space: Workspace | None = None,
    ranks: Ranks = ALONE,
) -> tuple[Tensor, Gradients | None]:
    """Returns the loss of scores ``factors @ weight.T + bias``, a scalar, and the gradients of ``scale`` times it.

    Args:
        loss: which.
        factors_BD: the users' factors, floating point.
        items: what to score.
        target: ``[B, I]`` without repeats, or narrower: nobody has the items that are missing.
        scale: what to multiply gradients by; None: there are none to compute.
        dtype: of the inputs of matrix products; None: that of the factors.
        dense: give gradients for all N items, not only for those that are scored.
        of_items: give gradients of the items too, not only of the users' factors.
        space: where to compute. The gradients lie there too, so the next call with it overwrites them.
        ranks: processes with the same users and other items each. The gradients of the users' factors are those of all
            items, the loss is this process's part of the sum.

    Raises:
        ShapeError, UnknownIdError: see ``ItemRows.check``.
    """
    space = space or Workspace()
    items.check(target)
    entries = TargetEntries.of(target, factors_BD.dtype)
    dtype = dtype or factors_BD.dtype
    wanted = None
    if scale is not None and of_items:
        wanted = ItemGradients(items, dense=dense, like=factors_BD, space=space)
    if one_pass_serves(loss, factors_BD, items, entries, dtype):
        value, gradients = one_pass_loss(
            loss, factors_BD, items, entries, scale=scale, dtype=dtype, of_items=wanted, space=space, ranks=ranks
        )
        if gradients is not None:
            ranks.sum_(gradients.factors)
        return value, gradients
    products = _Products(factors_BD, items, entries, dtype, space)
    products.of_items = wanted
    if isinstance(loss, Multinomial):
        value = _multinomial(loss, products, entries.sums_of_rows(), scale, ranks)
    else:
        value = _by_score(loss, products, scale)
    if scale is None:
        return value, None
    gradients = products.gradients()
    ranks.sum_(gradients.factors)
    return value, gradients


def _by_score(loss: ScoreLoss, products: _Products, scale: float | None) -> Tensor:
    value = products.factors_BD.new_zeros(())
    for place in products.places:
        of_block, slopes = loss.of_block(products.block(place), scale=1.0 if scale is None else scale)
        value += of_block
        if scale is not None:
            products.add_gradients(place, slopes)
    return value


def _multinomial(loss: Multinomial, products: _Products, counts_B: Tensor, scale: float | None, ranks: Ranks) -> Tensor:
    """Goes through the blocks twice: what a score is compared with is known when all have been seen."""
    value = products.factors_BD.new_zeros(())
    keep = scale is not None and products.num_bytes <= KEPT_BYTES
    blocks, of_blocks = [], []
    for number, place in enumerate(products.places):
        block = products.block(place, kept_as=number if keep else None)
        matched, log_sums_B = loss.log_sums(block)
        value -= matched
        of_blocks.append(log_sums_B)
        if keep:
            blocks.append(block)
    if ranks.size == 1 and not of_blocks:
        return value
    log_sums_B, all_counts_B = over_all_items(of_blocks, counts_B, ranks)
    value += torch.dot(counts_B, log_sums_B)
    if scale is None:
        return value
    for number, place in enumerate(products.places):
        block = blocks[number] if keep else products.block(place)
        products.add_gradients(place, loss.slopes(block, log_sums_B, all_counts_B * scale, scale))
    return value


class _Products:
    """The matrix products of a loss, and its gradients.

    Args:
        factors_BD: the users' factors.
        items: what to score.
        entries: of the target.
        dtype: of the products' inputs.
        space: where to compute.
    """

    def __init__(
        self, factors_BD: Tensor, items: ItemRows, entries: TargetEntries, dtype: torch.dtype, space: Workspace
    ) -> None:
        self.factors_BD = factors_BD
        self.places = item_blocks(len(factors_BD), len(items), factors_BD.device)
        self.num_bytes = (len(factors_BD) + factors_BD.shape[1]) * len(items) * dtype.itemsize
        self.of_items: ItemGradients | None = None
        self._of_factors = torch.zeros_like(factors_BD)
        self._items = items
        self._entries = entries
        self._inputs_BD = factors_BD.to(dtype)
        self._space = space
        self._weights: dict[int, Tensor] = {}

    def block(self, place: slice, *, kept_as: int | None = None) -> ScoreBlock:
        """Returns the scores of a block of items; they overwrite those kept as the same number, or as none as well."""
        weight_iD = self._items.weight_of(place, self._inputs_BD.dtype, self._space, kept_as=kept_as)
        if kept_as is None:
            self._weights.clear()
        self._weights[place.start] = weight_iD
        name = "products" if kept_as is None else f"products {kept_as}"
        products_Bi = self._space.take(name, len(self._inputs_BD), len(weight_iD), like=self._inputs_BD)
        torch.mm(self._inputs_BD, weight_iD.T, out=products_Bi)
        return ScoreBlock(products_Bi, self._items.bias_of(place), self._entries.cut(place), self._space)

    def add_gradients(self, place: slice, slopes: Slopes) -> None:
        """Adds the gradients of a block."""
        slopes_Bi = slopes.slopes_Bi.to(self._inputs_BD.dtype)
        weight_iD = self._weights[place.start]
        if slopes_Bi.dtype == self._of_factors.dtype:
            self._of_factors.addmm_(slopes_Bi, weight_iD)
        else:
            self._of_factors += slopes_Bi @ weight_iD
        if self.of_items is not None:
            of_weight_iD = self.of_items.place(place, slopes_Bi.dtype)
            torch.mm(slopes_Bi.T, self._inputs_BD, out=of_weight_iD)
            self.of_items.write(place, of_weight_iD, slopes.sums_i)

    def gradients(self) -> Gradients:
        """Returns the sums of what was added."""
        if self.of_items is None:
            return Gradients(self._of_factors, None, None)
        return Gradients(self._of_factors, self.of_items.weight, self.of_items.bias)
