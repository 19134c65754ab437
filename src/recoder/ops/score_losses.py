"""What losses make of a block of scores: their value, and their slopes (derivatives in each score) in its place.

Where the compiled kernels serve they do it in one pass; the operations of PyTorch below them say what is computed.
Sizes: B users, i items of a block, Z stored entries of the target there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from recoder.ops.collectives import Ranks
from recoder.ops.item_blocks import TargetBlock
from recoder.ops.kernels import losses as kernels
from recoder.ops.kernels import serve
from recoder.ops.workspace import Workspace

__all__ = ["Logistic", "Multinomial", "ScoreBlock", "ScoreLoss", "Slopes", "SquaredError", "over_all_items"]


@dataclass(frozen=True, eq=False)
class ScoreBlock:
    """Scores of all users for some items.

    Attributes:
        products_Bi: contiguous: the scores without biases, as a matrix product gave them.
        bias_i: the biases, or None.
        target: what the target holds there; its values have the dtype that losses are computed in.
        space: for what is computed on the way.
    """

    products_Bi: Tensor
    bias_i: Tensor | None
    target: TargetBlock
    space: Workspace

    def scores(self) -> Tensor:
        """Returns the scores, which may be overwritten, in the dtype of the target; the products may stay or not."""
        values_Z = self.target.values
        if self.bias_i is None and self.products_Bi.dtype == values_Z.dtype:
            return self.products_Bi
        scores_Bi = self.space.take("scores", *self.products_Bi.shape, like=values_Z)
        if self.bias_i is None:
            return scores_Bi.copy_(self.products_Bi)
        return torch.add(self.products_Bi, self.bias_i, out=scores_Bi)

    def is_served(self) -> bool:
        """Returns whether the compiled kernels take it."""
        return serve(self.products_Bi, dtypes=kernels.DTYPES) and serve(self.target.values, self.bias())

    def bias(self) -> Tensor:
        """Returns the biases, zero where there are none."""
        return self.target.values.new_zeros(self.products_Bi.shape[1]) if self.bias_i is None else self.bias_i


@dataclass(frozen=True, eq=False)
class Slopes:
    """Derivatives of a loss in the scores of a block, times a scale: ``[B, i]``; and their sums over users: ``[i]``."""

    slopes_Bi: Tensor
    sums_i: Tensor

    @staticmethod
    def summed(slopes_Bi: Tensor) -> Slopes:
        """Returns them with their sums."""
        return Slopes(slopes_Bi, slopes_Bi.sum(dim=0))


class ScoreLoss(Protocol):
    """A loss that is a sum over scores, so that each block of items stands for itself."""

    def of_block(self, block: ScoreBlock, scale: float) -> tuple[Tensor | float, Slopes]:
        """Returns the loss of a block, a scalar, and its slopes times ``scale``; the scores are overwritten."""
        ...


@dataclass(frozen=True)
class SquaredError:
    """The sum of ``(1 + confidence * y) * (y - x)**2``: all x squared, corrected at the stored entries.

    Hu, Koren & Volinsky 2008 (ICDM), equation 3, with ``confidence`` as their alpha.
    """

    confidence: float = 0.0

    def of_block(self, block: ScoreBlock, scale: float) -> tuple[Tensor | float, Slopes]:
        """See ``ScoreLoss``."""
        scores_Bi, target = block.scores(), block.target
        squares: Tensor = torch.linalg.vector_norm(scores_Bi).square()
        correction, slopes_Z = self.correction(scores_Bi.view(-1)[target.at], target.values)
        scores_Bi.mul_(2 * scale).view(-1).index_add_(0, target.at, slopes_Z, alpha=scale)
        return squares + correction, Slopes.summed(scores_Bi)

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

    def of_block(self, block: ScoreBlock, scale: float) -> tuple[Tensor | float, Slopes]:
        """See ``ScoreLoss``."""
        target = block.target
        if block.is_served():
            value, sums_i = kernels.logistic_(block.products_Bi, block.bias(), target.entries, scale)
            return value, Slopes(block.products_Bi, sums_i)
        scores_Bi = block.scores()
        other_Bi = block.space.take("losses", *scores_Bi.shape, like=scores_Bi)
        loss = torch.clamp(scores_Bi, min=0, out=other_Bi).sum() - torch.dot(
            scores_Bi.view(-1)[target.at], target.values
        )
        shares_Bi = scores_Bi.sigmoid_()
        torch.maximum(torch.neg(shares_Bi, out=other_Bi).add_(1), shares_Bi, out=other_Bi)
        loss -= _sum_of_logs(other_Bi.view(-1))
        shares_Bi.mul_(scale).view(-1).index_add_(0, target.at, target.values, alpha=-scale)
        return loss, Slopes.summed(shares_Bi)


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

    Liang et al. 2018 (arXiv:1802.05814), equation 2. No block stands for itself: each user's sum of exponentials runs
    over all of them.
    """

    def log_sums(self, block: ScoreBlock) -> tuple[Tensor | float, Tensor]:
        """Returns the sum of target times score, and the logarithm of each user's sum of exponentials, ``[B]``.

        The products stay as they are.
        """
        target = block.target
        if block.is_served():
            return kernels.log_sums(block.products_Bi, block.bias(), target.entries)
        scores_Bi = block.scores()
        return torch.dot(scores_Bi.view(-1)[target.at], target.values), torch.logsumexp(scores_Bi, dim=1)

    def slopes(self, block: ScoreBlock, log_sums_B: Tensor, weights_B: Tensor, scale: float) -> Slopes:
        """Returns ``weights * softmax - scale * target``; the scores are overwritten.

        Args:
            block: the scores.
            log_sums_B: logarithm of each user's sum of exponentials over all blocks.
            weights_B: ``scale`` times the sum of each user's target.
            scale: what to multiply by.
        """
        target = block.target
        if block.is_served():
            sums_i = kernels.softmax_slopes_(
                block.products_Bi, block.bias(), target.entries, log_sums_B, weights_B, scale
            )
            return Slopes(block.products_Bi, sums_i)
        slopes_Bi = block.scores().sub_(log_sums_B.unsqueeze(1)).exp_().mul_(weights_B.unsqueeze(1))
        slopes_Bi.view(-1).index_add_(0, target.at, target.values, alpha=-scale)
        return Slopes.summed(slopes_Bi)


def over_all_items(of_blocks: list[Tensor], counts_B: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor]:
    """Returns the logarithms of the users' sums of exponentials, and of their targets, over the items of all processes.

    The logarithm is 0 where no process has an item.

    Args:
        of_blocks: those logarithms by block, ``[B]`` each.
        counts_B: sums of the users' targets here.
        ranks: the processes.
    """
    here_B = torch.logsumexp(torch.stack(of_blocks), dim=0) if of_blocks else torch.full_like(counts_B, -torch.inf)
    if ranks.size == 1:
        return here_B, counts_B
    logs_PB, counts_PB = torch.stack(ranks.gathered(torch.stack([here_B, counts_B]))).unbind(dim=1)
    logs_B = torch.logsumexp(logs_PB, dim=0)
    return logs_B.masked_fill(logs_B == -torch.inf, 0.0), counts_PB.sum(dim=0)
