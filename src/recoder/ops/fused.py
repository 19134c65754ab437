"""Losses of scores that are products of factors, with their gradients: no tensor of users by items is kept.

A block of items at a time: its scores by one matrix product, loss and slope (the derivative of the loss in each
score) in place, two products for the gradients. Sizes: B users, I items to score, i of them in a block, D factors,
Z stored entries of the target in a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from recoder.ops.item_blocks import Gradients, ItemGradients, ItemRows, TargetEntries, item_blocks
from recoder.ops.rows import SparseRows
from recoder.ops.workspace import Workspace

__all__ = ["Logistic", "Multinomial", "ScoreLoss", "SquaredError", "fused_loss"]

KEPT_BYTES = 32 << 20
"""Of the multinomial's probabilities; where they need more, scores are computed twice."""

_LEAST_MASS = 1e-30


class ScoreLoss(Protocol):
    """A loss that is a sum over scores, so that each block of items stands for itself."""

    def value_(self, scores_Bi: Tensor, at_Z: Tensor, target_Z: Tensor, space: Workspace, *, slope: bool) -> Tensor:
        """Returns the loss of a block, a scalar, and overwrites its scores.

        Args:
            scores_Bi: contiguous; of all users for the items of the block.
            at_Z: int64: where the flat scores meet the target's entries.
            target_Z: the target there.
            space: for what is computed on the way.
            slope: overwrite the scores by the derivative of the loss in each; else by anything.
        """
        ...


@dataclass(frozen=True)
class SquaredError:
    """The sum of ``(1 + confidence * y) * (y - x)**2``: all x squared, corrected at the stored entries.

    Hu, Koren & Volinsky 2008 (ICDM), equation 3, with ``confidence`` as their alpha.
    """

    confidence: float = 0.0

    def value_(self, scores_Bi: Tensor, at_Z: Tensor, target_Z: Tensor, space: Workspace, *, slope: bool) -> Tensor:
        """See ``ScoreLoss``."""
        squares: Tensor = torch.linalg.vector_norm(scores_Bi).square()
        correction, slope_Z = self.correction(scores_Bi.view(-1)[at_Z], target_Z)
        if slope:
            scores_Bi.mul_(2).view(-1).index_add_(0, at_Z, slope_Z)
        return squares + correction

    def correction(self, scores_Z: Tensor, target_Z: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what the stored entries add to the loss of a target of zeros, and to its slope at each: ``[Z]``."""
        weight_Z = 1 + self.confidence * target_Z
        missed_Z = target_Z - scores_Z
        value = (weight_Z * missed_Z.square() - scores_Z.square()).sum()
        return value, -2 * (weight_Z * missed_Z + scores_Z)


@dataclass(frozen=True)
class Logistic:
    """The sum of ``-y log s(x) - (1 - y) log(1 - s(x))``, s the logistic function.

    The part of a target of zeros is ``log(1 + exp(x)) = max(x, 0) - log(max(s(x), 1 - s(x)))``: s is the slope, which
    is needed anyway, and numbers between a half and 1 can be multiplied before their logarithm is taken.
    """

    def value_(self, scores_Bi: Tensor, at_Z: Tensor, target_Z: Tensor, space: Workspace, *, slope: bool) -> Tensor:
        """See ``ScoreLoss``."""
        other_Bi = space.take("losses", *scores_Bi.shape, like=scores_Bi)
        value = torch.clamp(scores_Bi, min=0, out=other_Bi).sum() - torch.dot(scores_Bi.view(-1)[at_Z], target_Z)
        shares_Bi = scores_Bi.sigmoid_()
        torch.maximum(torch.neg(shares_Bi, out=other_Bi).add_(1), shares_Bi, out=other_Bi)
        value -= _sum_of_logs(other_Bi.view(-1))
        if slope:
            shares_Bi.view(-1).index_add_(0, at_Z, target_Z, alpha=-1)
        return value


def _sum_of_logs(numbers: Tensor) -> Tensor:
    """Returns the sum of the logarithms of numbers in [1/2, 1], which are overwritten."""
    size = len(numbers)
    for _ in range(5):  # products of 32: at least 2e-10
        half = (size + 1) // 2
        numbers[: size - half] *= numbers[half:size]
        size = half
    return numbers[:size].log().sum()


@dataclass(frozen=True)
class Multinomial:
    """The sum of ``-y log softmax(x)``, the softmax over each user's items.

    Liang et al. 2018 (arXiv:1802.05814), equation 2.
    """


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
    space: Workspace | None = None,
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
        space: where to compute. The gradients lie there too, so the next call with it overwrites them.
    """
    space = space or Workspace()
    products = _Products(factors_BD, items, dtype or factors_BD.dtype, space)
    if scale is not None:
        products.of_items = ItemGradients(items, dense=dense, like=factors_BD, space=space)
    if isinstance(loss, Multinomial):
        value = _multinomial(products, target, scale)
    else:
        value = _by_score(loss, products, target, scale)
    return value, products.gradients()


def _by_score(loss: ScoreLoss, products: _Products, target: SparseRows, scale: float | None) -> Tensor:
    entries = TargetEntries.of(target, products.factors_BD.dtype)
    value = products.factors_BD.new_zeros(())
    scale_B1 = None if scale is None else products.factors_BD.new_full((target.num_rows, 1), scale)
    for block in products.blocks:
        scores_Bi = products.scores(block)
        _, at_Z, target_Z = entries.cut(block)
        value += loss.value_(scores_Bi, at_Z, target_Z, products.space, slope=scale is not None)
        if scale_B1 is not None:
            products.add_gradients(block, scores_Bi, scale_B1)
    return value


def _multinomial(products: _Products, target: SparseRows, scale: float | None) -> Tensor:
    """Takes a softmax over each block; its share in the whole, known at the end, then weighs the block's gradients."""
    entries = TargetEntries.of(target, products.factors_BD.dtype)
    counts_B = target.sum_rows(target.values.to(products.factors_BD.dtype))
    value = torch.zeros_like(counts_B.sum())
    keeps = scale is not None and products.num_scores * products.dtype.itemsize <= KEPT_BYTES
    log_masses = []
    for block in products.blocks:
        scores_Bi = products.scores(block)
        _, at_Z, target_Z = entries.cut(block)
        value -= torch.dot(scores_Bi.view(-1)[at_Z], target_Z)
        largest_B = scores_Bi.amax(dim=1)
        shares_Bi = products.shares(block, scores_Bi, keep=keeps)
        # the largest share is 1 / sum(exp(x - largest))
        log_masses.append(largest_B - shares_Bi.amax(dim=1).log())
    if not log_masses:
        return value
    total_B = torch.logsumexp(torch.stack(log_masses), dim=0)
    value += torch.dot(counts_B, total_B)
    if scale is None:
        return value
    for block, log_mass_B in zip(products.blocks, log_masses, strict=True):
        shares_Bi = products.kept(block) if keeps else products.shares(block, products.scores(block), keep=False)
        # above 0, so that the target can be divided by it
        mass_B = (counts_B * (log_mass_B - total_B).exp()).clamp_min(_LEAST_MASS)
        rows_Z, at_Z, target_Z = entries.cut(block)
        shares_Bi.view(-1).index_add_(0, at_Z, (target_Z / mass_B[rows_Z]).to(shares_Bi.dtype), alpha=-1)
        products.add_gradients(block, shares_Bi, (mass_B * scale).unsqueeze(1))
    return value


class _Products:
    """The matrix products of a loss, and its gradients.

    Args:
        factors_BD: the users' factors.
        items: what to score.
        dtype: of the products' inputs.
        space: where to compute.
    """

    def __init__(self, factors_BD: Tensor, items: ItemRows, dtype: torch.dtype, space: Workspace) -> None:
        self.factors_BD = factors_BD
        self.dtype = dtype
        self.space = space
        self.blocks = item_blocks(len(factors_BD), len(items), factors_BD.device)
        self.num_scores = len(factors_BD) * len(items)
        self.of_items: ItemGradients | None = None
        self._of_factors = torch.zeros_like(factors_BD)
        self._items = items
        self._inputs_BD = factors_BD.to(dtype)
        self._scored: tuple[slice, Tensor] | None = None

    def scores(self, block: slice) -> Tensor:
        """Returns the scores of a block of items: ``[B, i]``; those of the block before are overwritten."""
        weight_iD, bias_i = self._items.cut(block, self.dtype, self.space)
        self._scored = block, weight_iD
        shape = len(self._inputs_BD), len(weight_iD)
        scores_Bi = self.space.take("products", *shape, like=self._inputs_BD)
        if bias_i is None:
            torch.mm(self._inputs_BD, weight_iD.T, out=scores_Bi)
        else:
            torch.addmm(bias_i, self._inputs_BD, weight_iD.T, out=scores_Bi)
        if self.dtype == self.factors_BD.dtype:
            return scores_Bi
        return self.space.take("scores", *shape, like=self.factors_BD).copy_(scores_Bi)

    def shares(self, block: slice, scores_Bi: Tensor, *, keep: bool) -> Tensor:
        """Returns each score's share of its row's softmax over the block, ``[B, i]``, and keeps it if told so."""
        if keep and self.dtype == scores_Bi.dtype:
            return torch.softmax(scores_Bi, dim=1, out=self.kept(block))
        shares_Bi = torch.softmax(scores_Bi, dim=1, out=self.space.take("shares", *scores_Bi.shape, like=scores_Bi))
        if keep:
            self.kept(block).copy_(shares_Bi)
        return shares_Bi

    def kept(self, block: slice) -> Tensor:
        """Returns the shares that were kept of a block, as inputs of products."""
        shape = len(self.factors_BD), block.stop - block.start
        return self.space.take(f"shares {block.start}", *shape, like=self.factors_BD, dtype=self.dtype)

    def add_gradients(self, block: slice, slope_Bi: Tensor, scale_B1: Tensor) -> None:
        """Adds the gradients of a block from its slope, each user's row of it times ``scale_B1``."""
        inputs_Bi = slope_Bi.to(self.dtype)
        if self._scored is None or self._scored[0] != block:
            self._scored = block, self._items.cut(block, self.dtype, self.space)[0]
        weight_iD = self._scored[1]
        scaled_BD = (self.factors_BD * scale_B1).to(self.dtype)
        self._of_factors.addcmul_((inputs_Bi @ weight_iD).to(self.factors_BD.dtype), scale_B1)
        of_weight = self.space.take("block gradient", *weight_iD.shape, like=inputs_Bi)
        torch.mm(inputs_Bi.T, scaled_BD, out=of_weight)
        of_bias = None
        if self._items.bias is not None:
            of_bias = torch.mv(slope_Bi.to(scale_B1.dtype).T, scale_B1.squeeze(1))
        assert self.of_items is not None  # there is a scale
        self.of_items.write(block, of_weight, of_bias)

    def gradients(self) -> Gradients | None:
        """Returns the sums of what was added; None where gradients were not wanted."""
        if self.of_items is None:
            return None
        return Gradients(self._of_factors, self.of_items.weight, self.of_items.bias)
