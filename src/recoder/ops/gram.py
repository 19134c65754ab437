"""The squared error of all items without their scores: its cost does not grow with the number of users.

Let Z be the users' factors with a one appended to each, W the items' with the bias appended, so that scores are
``x = z w``. The sum of all x squared is then ``<W'W, Z'Z>``, and its gradients are ``2 W Z'Z`` and ``2 Z W'W``; each
stored entry of the target corrects the part of its own score. Sizes: B users, I items, i of them in a block, D factors,
E = D + 1 with biases and D without, Z stored entries.
"""

from __future__ import annotations

import warnings
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from recoder.ops.encode import sums_by_column
from recoder.ops.item_blocks import Gradients, ItemGradients, ItemRows
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
    """
    space = space or Workspace()
    num_factors = factors_BD.shape[1]
    blocks = _blocks(len(items), num_factors)
    with_ones_BE = factors_BD if items.bias is None else F.pad(factors_BD, (0, 1), value=1.0)
    users_EE = with_ones_BE.T @ with_ones_BE
    items_EE = torch.zeros_like(users_EE)
    for block in blocks:
        with_bias_iE = _with_biases(items, block, factors_BD.dtype, space)
        items_EE.addmm_(with_bias_iE.T, with_bias_iE)
    target_Z = target.values.to(factors_BD.dtype)
    correction, slope_Z = loss.correction(_scores_at(factors_BD, items, target), target_Z)
    value = (items_EE * users_EE).sum() + correction
    if scale is None:
        return value, None

    slope_Z = slope_Z * scale
    rows_Z = target.cols if items.ids is None else items.ids[target.cols]
    of_factors = F.embedding_bag(
        rows_Z, items.weight, target.offsets, mode="sum", per_sample_weights=slope_Z, include_last_offset=True
    )
    of_factors.addmm_(with_ones_BE, items_EE[:, :num_factors], alpha=2 * scale)
    of_items = ItemGradients(items, dense=dense, like=factors_BD, space=space)
    of_bias_I = None if items.bias is None else _sums(target, slope_Z, len(items))
    users_EE *= 2 * scale
    by_column_Z = slope_Z[target.columns.entries]
    for block in blocks:
        with_bias_iE = _with_biases(items, block, factors_BD.dtype, space)
        of_both_iE = torch.mm(with_bias_iE, users_EE, out=space.take("both", *with_bias_iE.shape, like=factors_BD))
        of_weight = of_both_iE[:, :num_factors].add_(sums_by_column(target, by_column_Z, factors_BD, block))
        of_bias = of_both_iE[:, -1] if of_bias_I is None else of_both_iE[:, num_factors] + of_bias_I[block]
        of_items.write(block, of_weight, of_bias)
    return value, Gradients(of_factors, of_items.weight, of_items.bias)


def _sums(target: SparseRows, entries_Z: Tensor, num_items: int) -> Tensor:
    """Returns the sum of the entries of each item: ``[I]``."""
    return entries_Z.new_zeros(num_items).index_add_(0, target.cols, entries_Z)


def _with_biases(items: ItemRows, block: slice, dtype: torch.dtype, space: Workspace) -> Tensor:
    """Returns the factors of a block of items with their biases appended: ``[i, E]``."""
    weight_iD, bias_i = items.weight_of(block, dtype, space), items.bias_of(block)
    if bias_i is None:
        return weight_iD
    joined = space.take("rows with biases", len(weight_iD), weight_iD.shape[1] + 1, like=weight_iD)
    joined[:, :-1] = weight_iD
    joined[:, -1] = bias_i
    return joined


def _blocks(num_items: int, num_factors: int) -> list[slice]:
    height = max(1, _BLOCK_NUMBERS // num_factors)
    return [slice(start, min(start + height, num_items)) for start in range(0, num_items, height)]


def _scores_at(factors_BD: Tensor, items: ItemRows, target: SparseRows) -> Tensor:
    """Returns the scores at the stored entries of the target: ``[Z]``."""
    ids_Z = target.cols if items.ids is None else items.ids[target.cols]
    weight_ND = items.weight
    _hear_the_beta_warning()
    pattern = torch.sparse_csr_tensor(
        target.offsets,
        ids_Z,
        torch.zeros_like(target.values, dtype=factors_BD.dtype),
        (target.num_rows, len(weight_ND)),
        check_invariants=False,
    )
    scores_Z: Tensor = torch.sparse.sampled_addmm(pattern, factors_BD, weight_ND.T, beta=0.0).values()
    return scores_Z if items.bias is None else scores_Z + items.bias[ids_Z]


@cache
def _hear_the_beta_warning() -> None:
    """Makes a CSR tensor, since torch 2.13 warns at the first one of a process that their support is in beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor([0, 0], [], torch.zeros(0), (1, 1), check_invariants=False)
