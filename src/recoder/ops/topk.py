"""Masked top-k: the best columns of each row, exactly, with a rule for ties.

Sizes: B rows (users), N columns (items), K = min(k, N), R rows whose cut-off falls inside a tie.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recoder.errors import ConfigError, DivergedError, ShapeError
from recoder.ops.rows import SparseRows

__all__ = ["top_k"]

_EXCLUDED = float("-inf")


def top_k(scores_BN: Tensor, k: int, seen: SparseRows | None = None) -> tuple[Tensor, Tensor]:
    """Returns the ids and the scores of the best items of each row, best first.

    Ties go to the lower item id, inside the list and at its end alike, so the result is a function of the
    scores alone, whatever the device or the batch.

    Args:
        scores_BN: floating point ``[B, N]``. **Overwritten** at the seen items if ``seen`` is given. A score
            of -inf excludes its item.
        k: the length of the lists, at least 1.
        seen: items to leave out of each row: column ``c`` is item ``c``; the values are not looked at.

    Returns:
        ``(ids_BK, scores_BK)``: int64 and the dtype of the scores, ``[B, K]``. A row with fewer than K items
        left ends in id -1 with score -inf.

    Raises:
        ConfigError: if ``k`` is below 1.
        ShapeError: if ``seen`` has other rows or columns than the scores.
        DivergedError: if a score that is not excluded is NaN.
    """
    if k < 1:
        raise ConfigError(f"k is {k}; ask for at least 1 item")
    if seen is not None:
        _exclude(scores_BN, seen)
    num_items = scores_BN.shape[1]
    width = min(k, num_items)

    # one more than asked for shows whether the cut falls inside a tie
    values, ids = torch.topk(scores_BN, min(width + 1, num_items), dim=1)
    if bool(values[:, :1].isnan().any()):  # NaN ranks above every number
        raise DivergedError(
            "a score is NaN, so its row has no order; the model has diverged: train it again with a lower "
            "learning rate, or load an earlier checkpoint"
        )
    ids_BK = ids[:, :width]
    if width < num_items:
        last_B, next_B = values[:, width - 1], values[:, width]
        tied_R = torch.nonzero((last_B == next_B) & (last_B > _EXCLUDED)).squeeze(1)
        if tied_R.shape[0] > 0:
            ids_BK = ids_BK.index_copy(0, tied_R, _best_by_threshold(scores_BN[tied_R], last_B[tied_R], width))

    # ascending ids, then a stable sort by score: equal scores stay in the order of their ids
    ids_BK, _ = torch.sort(ids_BK, dim=1)
    scores_BK, order = torch.sort(scores_BN.gather(1, ids_BK), dim=1, descending=True, stable=True)
    ids_BK = ids_BK.gather(1, order).masked_fill_(scores_BK == _EXCLUDED, -1)
    return ids_BK, scores_BK


def _exclude(scores_BN: Tensor, seen: SparseRows) -> None:
    expected = (seen.num_rows, seen.num_cols)
    if tuple(scores_BN.shape) != expected:
        raise ShapeError(
            f"the scores have shape {tuple(scores_BN.shape)} but the seen items have {expected}; "
            "both describe the same users and items"
        )
    scores_BN[seen.row_ids, seen.cols] = _EXCLUDED


def _best_by_threshold(scores_RN: Tensor, last_R: Tensor, width: int) -> Tensor:
    """Returns the ids of the best ``width`` items, in ascending order, given the score of the last of them.

    All that score above it, then as many as fit of those that equal it, lowest ids first: linear in N, no
    sort.
    """
    above_RN = scores_RN > last_R[:, None]
    equal_RN = scores_RN == last_R[:, None]
    room_R = width - above_RN.sum(dim=1, dtype=torch.int32)
    fits_RN = equal_RN & (equal_RN.cumsum(dim=1, dtype=torch.int32) <= room_R[:, None])
    return torch.nonzero(above_RN | fits_RN)[:, 1].view(-1, width)
