"""Losses of scores that are products of factors by the compiled kernels: what ``recoder.ops.fused`` says, in one pass.

A block of a few dozen items never leaves the processor's nearer caches. Sizes: B users, I items to score, D factors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recoder.ops.collectives import Ranks
from recoder.ops.item_blocks import Gradients, ItemGradients, ItemRows, TargetEntries, item_blocks
from recoder.ops.kernels import factor_losses as kernels
from recoder.ops.kernels import serve
from recoder.ops.score_losses import Logistic, Multinomial, ScoreLoss, SquaredError, over_all_items
from recoder.ops.workspace import Workspace

__all__ = ["one_pass_loss", "one_pass_serves"]

KEPT_BYTES = 60 << 20
"""Of the multinomial's scores and what the pass needs beside; where it is more, the scores are made twice."""

_KEPT_PIECES = 2
_NARROWEST = 128
"""Items of a part."""


def one_pass_serves(
    loss: ScoreLoss | Multinomial, factors_BD: Tensor, items: ItemRows, entries: TargetEntries, dtype: torch.dtype
) -> bool:
    """Returns whether the kernels take a loss of these tensors, and are the quickest way here."""
    numbers = [factors_BD, items.weight, entries.values, *([] if items.bias is None else [items.bias])]
    whole_numbers = [entries.target.columns.rows, *([] if items.ids is None else [items.ids])]
    return (
        dtype in kernels.served_dtypes()
        and isinstance(loss, Logistic | SquaredError | Multinomial)
        and serve(*numbers)
        and serve(*whole_numbers, dtypes=(torch.int64,))
    )


def one_pass_loss(
    loss: ScoreLoss | Multinomial,
    factors_BD: Tensor,
    items: ItemRows,
    entries: TargetEntries,
    *,
    scale: float | None,
    dtype: torch.dtype,
    of_items: ItemGradients | None,
    space: Workspace,
    ranks: Ranks,
) -> tuple[Tensor, Gradients | None]:
    """Returns what ``fused_loss`` does but for its last sum over the processes, where ``one_pass_serves``.

    Args:
        loss: which.
        factors_BD: the users' factors.
        items: what to score.
        entries: of the target.
        scale: what to multiply gradients by; None: there are none to compute.
        dtype: of the products' inputs.
        of_items: where the items' gradients are written; None: they are not computed.
        space: where to compute.
        ranks: processes with the same users and other items each.
    """
    whole_pass = _Pass(factors_BD, items, entries, scale, dtype, of_items, space)
    if isinstance(loss, Multinomial):
        value = _multinomial(whole_pass, entries.sums_of_rows(), ranks)
    else:
        confidence = loss.confidence if isinstance(loss, SquaredError) else 0.0
        work = kernels.SQUARED if isinstance(loss, SquaredError) else kernels.LOGISTIC
        places = whole_pass.places(1)
        value = factors_BD.new_full(
            (), sum(whole_pass.compute(whole_pass.part(place), place, work, confidence=confidence) for place in places)
        )
    return value, whole_pass.gradients()


def _multinomial(whole_pass: _Pass, counts_B: Tensor, ranks: Ranks) -> Tensor:
    """Goes over the items twice: what a score is compared with is known when all have been seen."""
    keep = whole_pass.may_keep_scores()
    # kept in pieces: no tensor is as large as users by items
    places = whole_pass.places(_KEPT_PIECES if keep else 1)
    parts, value, of_places = [], 0.0, []
    for number, place in enumerate(places):
        part = whole_pass.part(place)
        if keep:
            part.keep_scores(f"kept scores {number}")
        log_sums_B = torch.empty_like(counts_B)
        value += part.compute(kernels.LOG_SUMS, log_sums_B=log_sums_B)
        of_places.append(log_sums_B)
        parts.append(part)
    if ranks.size == 1 and not of_places:
        return counts_B.new_zeros(())
    log_sums_B, all_counts_B = over_all_items(of_places, counts_B, ranks)
    if whole_pass.scale is not None:
        weights_B = all_counts_B * whole_pass.scale
        for part, place in zip(parts, places, strict=True):
            whole_pass.compute(part, place, kernels.SOFTMAX, log_sums_B=log_sums_B, weights_B=weights_B)
    return torch.dot(counts_B, log_sums_B) + value


class _Pass:
    """A loss in one or more parts of the items; the arguments are those of ``one_pass_loss``."""

    def __init__(
        self,
        factors_BD: Tensor,
        items: ItemRows,
        entries: TargetEntries,
        scale: float | None,
        dtype: torch.dtype,
        of_items: ItemGradients | None,
        space: Workspace,
    ) -> None:
        self.scale = scale
        self._factors_BD, self._items, self._entries = factors_BD, items, entries
        self._dtype, self._of_items, self._space = dtype, of_items, space
        self._of_factors_BD = None if scale is None else torch.zeros_like(factors_BD)

    def may_keep_scores(self) -> bool:
        """Returns whether scores can be kept until they are used for gradients."""
        num_users, num_factors, num_items = *self._factors_BD.shape, len(self._items)
        needed = kernels.kept_bytes(num_users, num_items) + kernels.scratch_bytes(num_users, num_factors, num_items)
        return self.scale is not None and needed <= KEPT_BYTES

    def places(self, at_least: int) -> list[slice]:
        """Returns parts of the items: so many, where there are enough items for it to pay."""
        num_items = len(self._items)
        if self._of_items is not None and not self._of_items.is_direct:
            # the gradients of some items go to a gradient of all: no more than a block of them is to exist twice
            return item_blocks(len(self._factors_BD), num_items, self._factors_BD.device)
        width = max(-(-num_items // at_least), _NARROWEST)
        return [slice(start, min(start + width, num_items)) for start in range(0, num_items, width)]

    def part(self, place: slice) -> kernels.FactorLosses:
        """Returns what computes the loss of some of the items."""
        table_ND, bias_N, ids_I = self._items.part(place)
        return kernels.FactorLosses(
            self._factors_BD, table_ND, bias_N, ids_I, self._entries.cut(place), dtype=self._dtype, space=self._space
        )

    def compute(self, part: kernels.FactorLosses, place: slice, work: int, **options: Any) -> float:
        """Returns the loss of a part, and writes and adds its gradients where these are wanted."""
        of_items = self._of_items
        if self.scale is None:
            return part.compute(work, **options)
        if of_items is None:
            return part.compute(work, scale=self.scale, of_factors_BD=self._of_factors_BD, **options)
        of_weight_ID = of_items.place(place, torch.float32)
        of_bias_I = of_items.bias_place(place)
        loss = part.compute(
            work,
            scale=self.scale,
            of_factors_BD=self._of_factors_BD,
            of_weight_ID=of_weight_ID,
            of_bias_I=of_bias_I,
            **options,
        )
        of_items.write(place, of_weight_ID, of_bias_I)
        return loss

    def gradients(self) -> Gradients | None:
        """Returns the sums of what was added; None if there is no scale."""
        if self._of_factors_BD is None:
            return None
        if self._of_items is None:
            return Gradients(self._of_factors_BD, None, None)
        return Gradients(self._of_factors_BD, self._of_items.weight, self._of_items.bias)
