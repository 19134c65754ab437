"""Masked top-k: the best columns of each row, exactly, with a rule for ties.

Sizes: B rows (users), N columns (items), K = min(k, N), M columns to select, R rows with ties, G groups of columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recoder.errors import ConfigError, DivergedError, ShapeError
from recoder.ops.kernels import serve
from recoder.ops.kernels.top_k import DTYPES, best_columns
from recoder.ops.rows import SparseRows

__all__ = ["EXCLUDED", "candidates", "check_k", "largest", "top_k"]

EXCLUDED = float("-inf")
"""The score of an item that must not be recommended."""

_GROUP = 4
_FEWEST_GROUPS = 3  # times as many as columns are selected: with fewer, the groups rule out too little
_FEWEST_SCORES = 1 << 18  # below, one pass costs less than the calls that would save it
_THRESHOLD_SCORES = 1 << 20


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
    check_k(k)
    num_items = scores_BN.shape[1]
    width = min(k, num_items)
    if seen is not None:
        check_seen(scores_BN, seen)
    if width > 0 and _are_served(scores_BN, seen):
        ids_BK, values_BK, has_nan = best_columns(scores_BN, width, seen, in_order=True)
        if has_nan:
            raise _diverged()
        return ids_BK, values_BK
    if seen is not None:
        exclude(scores_BN, seen)
    # one more than asked for shows whether the cut falls inside a tie
    values_BM, ids_BM = largest(scores_BN, min(width + 1, num_items))
    tied_B = ((values_BM[:, 1:] == values_BM[:, :-1]) & (values_BM[:, 1:] > EXCLUDED)).any(dim=1)
    # NaN ranks above every number; both questions in one transfer, since each makes the host wait for the device
    has_nan, has_ties = torch.stack([values_BM[:, :1].isnan().any(), tied_B.any()]).tolist()
    if has_nan:
        raise _diverged()
    ids_BK, values_BK = ids_BM[:, :width], values_BM[:, :width]
    if has_ties:
        tied_R = tied_B.nonzero().squeeze(1)
        ids_RK = _with_ties_in_order(scores_BN, tied_R, ids_BM[tied_R], values_BM[tied_R], width)
        ids_BK = ids_BK.index_copy(0, tied_R, ids_RK)
    return ids_BK.masked_fill(values_BK == EXCLUDED, -1), values_BK


def _are_served(scores_BN: Tensor, seen: SparseRows | None) -> bool:
    are_rows = seen is None or serve(seen.offsets, seen.cols, dtypes=(torch.int64,))
    return are_rows and serve(scores_BN, dtypes=DTYPES)


def candidates(scores_BN: Tensor, num_cols: int, seen: SparseRows | None = None) -> tuple[Tensor, Tensor]:
    """Returns ``num_cols`` of the best items of each row in any order, and their scores: ``[B, M]``.

    As ``top_k``, but which of equal ones are there is left open, NaN counts as larger than every number, and items that
    are excluded may stand in for those that are missing.
    """
    if seen is not None:
        check_seen(scores_BN, seen)
    if _are_served(scores_BN, seen):
        ids_BM, values_BM, has_nan = best_columns(scores_BN, num_cols, seen, in_order=False)
        if not has_nan:
            return ids_BM.clamp_min_(0), values_BM
    if seen is not None:
        exclude(scores_BN, seen)
    values_BM, ids_BM = largest(scores_BN, num_cols, in_order=False)
    return ids_BM, values_BM


def check_k(k: int) -> None:
    """Checks the length of a list.

    Raises:
        ConfigError: if it is below 1.
    """
    if k < 1:
        raise ConfigError(f"k is {k}; ask for at least 1 item")


def check_seen(scores_BN: Tensor, seen: SparseRows) -> None:
    """Checks the shape of what has been seen.

    Raises:
        ShapeError: if ``seen`` has other rows or columns than the scores.
    """
    expected = (seen.num_rows, seen.num_cols)
    if tuple(scores_BN.shape) != expected:
        raise ShapeError(
            f"the scores have shape {tuple(scores_BN.shape)} but the seen items have {expected}; "
            "both describe the same users and items"
        )


def exclude(scores_BN: Tensor, seen: SparseRows) -> None:
    """Overwrites the scores of the items that each row has seen by -inf."""
    scores_BN[seen.row_ids, seen.cols] = EXCLUDED


def _diverged() -> DivergedError:
    return DivergedError(
        "a score is NaN, so its row has no order; the model has diverged: train it again with a lower "
        "learning rate, or load an earlier checkpoint"
    )


def largest(scores_BN: Tensor, num_cols: int, *, in_order: bool = True) -> tuple[Tensor, Tensor]:
    """Returns ``num_cols`` of the largest scores of each row and their columns; which of equal ones is left open.

    A selection of M columns costs several times what it costs to read them. So the columns are dealt to groups
    of a few, and only the M groups of the largest maxima are looked into: no column of another group exceeds any
    of these M maxima. These groups in turn are selected in the same way.

    Args:
        scores_BN: floating point ``[B, N]``. NaN counts as larger than every number.
        num_cols: M, at most N.
        in_order: largest first; False: in any order, which costs less.

    Returns:
        ``(values_BM, cols_BM)``: the dtype of the scores and int64, ``[B, M]``.
    """
    num_groups = scores_BN.shape[1] // _GROUP
    if num_groups < _FEWEST_GROUPS * num_cols or scores_BN.numel() < _FEWEST_SCORES:
        return torch.topk(scores_BN, num_cols, dim=1, sorted=in_order)
    # column c belongs to group c % G: the maxima of neighbours are then taken side by side
    grouped = num_groups * _GROUP
    maxima_BG = torch.unflatten(scores_BN[:, :grouped], 1, (_GROUP, num_groups)).amax(dim=1)
    _, groups_BM = largest(maxima_BG, num_cols, in_order=False)
    cols = torch.arange(scores_BN.shape[1], device=scores_BN.device)
    candidates = (groups_BM.unsqueeze(1) + cols[:grouped:num_groups].unsqueeze(1)).flatten(1)
    ungrouped = cols[grouped:].expand(scores_BN.shape[0], -1)
    candidates = torch.cat([candidates, ungrouped], dim=1)
    values_BM, places_BM = torch.topk(scores_BN.gather(1, candidates), num_cols, dim=1, sorted=in_order)
    return values_BM, candidates.gather(1, places_BM)


def _with_ties_in_order(scores_BN: Tensor, rows_R: Tensor, ids_RM: Tensor, values_RM: Tensor, width: int) -> Tensor:
    """Returns the ids of rows with ties by score, equal ones by id: ``[R, K]``."""
    ids_RK, last_R = ids_RM[:, :width], values_RM[:, width - 1]
    if ids_RM.shape[1] > width:
        cut = ((last_R == values_RM[:, width]) & (last_R > EXCLUDED)).nonzero().squeeze(1)
        for part in torch.split(cut, max(1, _THRESHOLD_SCORES // scores_BN.shape[1])):
            best = _best_by_threshold(scores_BN[rows_R[part]], last_R[part], width)
            ids_RK = ids_RK.index_copy(0, part, best)
    # ascending ids, then a stable sort by score: equal scores stay in the order of their ids
    ids_RK, _ = torch.sort(ids_RK, dim=1)
    _, order = torch.sort(scores_BN[rows_R.unsqueeze(1), ids_RK], dim=1, descending=True, stable=True)
    return ids_RK.gather(1, order)


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
