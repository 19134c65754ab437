"""The best items of users that are given by their factors: a product, block by block, and the masked top-k.

Sizes: B users of a block, N items, D factors, K recommendations, M candidates, E columns of a rounded table.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from recoder.ops.kernels import serve
from recoder.ops.kernels.factor_losses import served_dtypes
from recoder.ops.kernels.scores import write_scores
from recoder.ops.products_at import products_at
from recoder.ops.rows import SparseRows
from recoder.ops.topk import EXCLUDED, candidates, check_k, top_k
from recoder.ops.workspace import Workspace

__all__ = ["FactorSearch", "Precision"]

Precision = Literal["fp32", "bf16"]

_BLOCK_SCORES = 1 << 23
"""Scores that are held at once: 32 MiB in float32."""

_RANGE_ITEMS = 1 << 16  # more than this at once, and a block of users is too small for a quick product
_PRODUCT_ITEMS = 512  # MKL multiplies many users by a whole catalogue at two thirds of the speed of such parts
_FEWEST_USERS = 128  # for which that holds
_MOST_USERS = 1 << 12  # beyond, their factors would outgrow their scores
_FEWEST_SPARE = 64
_CANDIDATES_SHARE = 56  # where candidates are more than this part of the items, selecting them takes too long
_CAST_ITEMS = 1 << 10


class FactorSearch:
    """Finds the items with the largest ``factors @ weight.T + bias``, ties to the lower item id.

    Made for one call, over any number of blocks of users: what depends on the items alone is computed once, and
    the scores of every block are written to the same memory.

    With ``precision="bf16"`` the product takes and gives bfloat16, and only picks candidates, somewhat more than
    asked for; these are scored in float32. Rounding moves no score by more than a bound that is known for each
    user, which nearly always shows that no other item belongs in the list. Where it does not, the user is
    scored in float32 throughout. So the lists are those of ``"fp32"``, up to the rounding of float32 itself.

    Args:
        weight_ND: floating point ``[N, D]``.
        bias_N: ``[N]``, or None.
        k: the length of the lists, at least 1.
        precision: ``"fp32"`` or ``"bf16"``; the latter has no effect where it would not be quicker, because ``k``
            is more than about 750 or the items are fewer than about 3,600 (than 84 times ``k``, if that is more), or
            possible, because the weights are not float32.

    Attributes:
        users_per_block: B, how many users to hand over at a time: the scores then take at most 32 MiB, whatever
            N, and as much again where users are scored twice.

    Raises:
        ConfigError: if ``k`` is below 1.
    """

    def __init__(self, weight_ND: Tensor, bias_N: Tensor | None, k: int, *, precision: Precision = "fp32") -> None:
        check_k(k)
        num_items = weight_ND.shape[0]
        # lists that are about as long as a range would gain nothing
        num_ranges = max(1, -(-num_items // _RANGE_ITEMS)) if k <= _RANGE_ITEMS // 8 else 1
        self._k = k
        self._width = max(1, -(-num_items // num_ranges))
        self._num_items = num_items
        self._products = _Products(weight_ND, bias_N)
        self._num_candidates = k + max(k // 2, _FEWEST_SPARE)
        self._rounded: _RoundedProducts | None = None
        are_few = self._num_candidates * _CANDIDATES_SHARE < self._width
        if precision == "bf16" and weight_ND.dtype == torch.float32 and are_few:
            self._rounded = _RoundedProducts(weight_ND, bias_N)
        self.users_per_block = max(1, min(_MOST_USERS, _BLOCK_SCORES // self._width))

    def top_k(self, factors_BD: Tensor, seen: SparseRows | None = None) -> tuple[Tensor, Tensor]:
        """Returns the ids and scores of each user's best items, best first; see ``recoder.ops.topk.top_k``.

        Args:
            factors_BD: the dtype of the weights, ``[B, D]``.
            seen: ``[B, N]``: items to leave out of each row.
        """
        starts = range(0, max(1, self._num_items), self._width)
        parts = [self._of_range(factors_BD, start, seen) for start in starts]
        if len(parts) == 1:
            return parts[0]
        ids_BC, scores_BC = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
        # equal scores stand in the order of their ids, in each range and from range to range
        places_BK, scores_BK = top_k(scores_BC, self._k)
        return _taken(ids_BC, places_BK), scores_BK

    def _of_range(self, factors_BD: Tensor, start: int, seen: SparseRows | None) -> tuple[Tensor, Tensor]:
        stop = min(start + self._width, self._num_items)
        if seen is not None and (start, stop) != (0, self._num_items):
            seen = _columns_between(seen, start, stop)
        if self._rounded is None:
            ids_BK, scores_BK = top_k(self._products(factors_BD, start, stop), self._k, seen)
        else:
            ids_BK, scores_BK = self._from_candidates(self._rounded, factors_BD, start, stop, seen)
        return ids_BK if start == 0 else torch.where(ids_BK >= 0, ids_BK + start, ids_BK), scores_BK

    def _from_candidates(
        self, rounded: _RoundedProducts, factors_BD: Tensor, start: int, stop: int, seen: SparseRows | None
    ) -> tuple[Tensor, Tensor]:
        rough_BN = rounded(factors_BD, start, stop)
        candidates_BM, rough_BM = candidates(rough_BN, self._num_candidates, seen)
        # ascending, so that places among them have the order of ids
        candidates_BM, order_BM = torch.sort(candidates_BM, dim=1)
        rough_BM = rough_BM.gather(1, order_BM)
        scores_BM = self._products.at(factors_BD, candidates_BM + start)
        places_BK, scores_BK = top_k(scores_BM.masked_fill_(rough_BM == EXCLUDED, EXCLUDED), self._k)
        ids_BK = _taken(candidates_BM, places_BK)

        lowest_B = rough_BM.amin(dim=1).to(torch.float32)
        # strictly: an item that equals the last one might have a lower id. And where everything is a candidate
        # that is not excluded, there is no other
        proven_B = (scores_BK[:, -1] > lowest_B + rounded.margin(factors_BD, lowest_B)) | (lowest_B == EXCLUDED)
        unproven_R = (~proven_B).nonzero().squeeze(1)
        if unproven_R.shape[0] > proven_B.shape[0] // 8:
            self._rounded = None  # for these factors the detour does not pay
        if unproven_R.shape[0] > 0:
            scores_RN = self._products(factors_BD[unproven_R], start, stop)
            scores_RN.masked_fill_(rough_BN[unproven_R] == EXCLUDED, EXCLUDED)
            ids_RK, scores_RK = top_k(scores_RN, self._k)
            ids_BK, scores_BK = ids_BK.index_copy(0, unproven_R, ids_RK), scores_BK.index_copy(0, unproven_R, scores_RK)
        return ids_BK, scores_BK


class _Products:
    """``factors @ weight.T + bias`` for a range of items; a result overwrites the one before."""

    def __init__(self, weight_ND: Tensor, bias_N: Tensor | None) -> None:
        self._weight_ND, self._bias_N = weight_ND, bias_N
        self._workspace = Workspace()

    def __call__(self, factors_BD: Tensor, start: int, stop: int) -> Tensor:
        scores_BN = self._workspace.take("scores", factors_BD.shape[0], stop - start, like=factors_BD)
        weight_nD, bias_n = self._weight_ND[start:stop], None if self._bias_N is None else self._bias_N[start:stop]
        are_many = len(factors_BD) >= _FEWEST_USERS
        numbers = [factors_BD, weight_nD, *([] if bias_n is None else [bias_n])]
        # a model of somebody's own may give others, of which PyTorch's product tells
        fit = factors_BD.shape[1:] == weight_nD.shape[1:] and (bias_n is None or bias_n.shape == weight_nD.shape[:1])
        if are_many and fit and torch.float32 in served_dtypes() and serve(*numbers):
            write_scores(factors_BD, weight_nD, bias_n, scores_BN, self._workspace)
            return scores_BN
        in_parts = scores_BN.device.type == "cpu" and are_many
        step = _PRODUCT_ITEMS if in_parts else max(1, stop - start)
        for first in range(start, stop, step):
            items = slice(first, min(first + step, stop))
            out = scores_BN[:, items.start - start : items.stop - start]
            if self._bias_N is None:
                torch.mm(factors_BD, self._weight_ND[items].T, out=out)
            else:
                torch.addmm(self._bias_N[items], factors_BD, self._weight_ND[items].T, out=out)
        return scores_BN

    def at(self, factors_BD: Tensor, ids_BM: Tensor) -> Tensor:
        """Returns the scores of some items of each user: ``[B, M]``, memory of its own."""
        offsets = torch.arange(0, ids_BM.numel() + 1, ids_BM.shape[1], device=ids_BM.device)
        # a tenth of the time of a batched product, for which the rows of the table would have to be gathered
        scores_BM = products_at(factors_BD, self._weight_ND, offsets, ids_BM.flatten()).view_as(ids_BM)
        return scores_BM if self._bias_N is None else scores_BM.add_(self._bias_N[ids_BM])


class _RoundedProducts:
    """The same from and to bfloat16, with a bound on what the rounding does."""

    def __init__(self, weight_ND: Tensor, bias_N: Tensor | None) -> None:
        num_items, num_factors = weight_ND.shape
        # a bias takes two columns: its rounded value and, rounded, what that leaves of it
        self._ones = 0 if bias_N is None else 2
        self._zeros = -(num_factors + self._ones) % 8  # GPUs have units for widths that 8 divides
        width = num_factors + self._ones + self._zeros
        self._table_NE = weight_ND.new_zeros(num_items, width, dtype=torch.bfloat16)
        self._largest_bias = self._bias_error = weight_ND.new_zeros(())
        if bias_N is not None:
            high_N = bias_N.to(torch.bfloat16)
            low_N = (bias_N - high_N).to(torch.bfloat16)
            self._table_NE[:, num_factors : num_factors + 2] = torch.stack([high_N, low_N], dim=1)
            self._largest_bias = bias_N.abs().amax()
            self._bias_error = (bias_N - high_N - low_N).abs().amax()
        lengths, errors = [], []
        rounded_ND = self._table_NE[:, :num_factors]
        # in parts that stay in the cache
        parts = (torch.split(table, _CAST_ITEMS) for table in (weight_ND, rounded_ND))
        for weight, rounded in zip(*parts, strict=True):
            rounded.copy_(weight)
            lengths.append(_lengths(weight).amax())
            errors.append(_lengths(weight - rounded).amax())
        self._longest, self._longest_error = torch.stack(lengths).amax(), torch.stack(errors).amax()
        self._workspace = Workspace()

    def __call__(self, factors_BD: Tensor, start: int, stop: int) -> Tensor:
        factors_BE = F.pad(F.pad(factors_BD, (0, self._ones), value=1.0), (0, self._zeros)).to(torch.bfloat16)
        scores_BN = self._workspace.take("scores", factors_BD.shape[0], stop - start, like=factors_BE)
        return torch.mm(factors_BE, self._table_NE[start:stop].T, out=scores_BN)

    def margin(self, factors_BD: Tensor, rounded_B: Tensor) -> Tensor:
        """Returns how far above ``rounded_B`` the true score can be of an item that came out no higher: ``[B]``.

        The sum of what rounding adds at most: that of either factor (by Cauchy and Schwarz) and of the bias; that
        of summing in float32, here and in the float32 score, with what is too small for it; and that of the
        result, half a unit in its 8th bit.
        """
        rounded_BD = factors_BD.to(torch.bfloat16).to(torch.float32)
        error_B, length_B = _lengths(factors_BD - rounded_BD), _lengths(rounded_BD)
        of_inputs_B = error_B * self._longest + length_B * self._longest_error + self._bias_error
        largest_B = (length_B + error_B) * self._longest + self._largest_bias
        single = torch.finfo(torch.float32)
        of_sums_B = (largest_B * single.eps + single.tiny) * (2 * self._table_NE.shape[1])
        return of_inputs_B + of_sums_B + rounded_B.abs() / 255


def _lengths(rows_BD: Tensor) -> Tensor:
    """Returns the Euclidean lengths, and the length of what is too small to be squared in float32: ``[B]``."""
    lost: float = (rows_BD.shape[1] * torch.finfo(torch.float32).tiny) ** 0.5
    lengths_B: Tensor = torch.linalg.vector_norm(rows_BD, dim=1)
    return lengths_B + lost


def _columns_between(rows: SparseRows, start: int, stop: int) -> SparseRows:
    """Returns the entries of these columns, counted from ``start``."""
    inside_Z = (rows.cols >= start) & (rows.cols < stop)
    counts = F.pad(inside_Z.cumsum(0), (1, 0))
    return SparseRows(counts[rows.offsets], rows.cols[inside_Z] - start, rows.values[inside_Z], stop - start)


def _taken(ids_BM: Tensor, places_BK: Tensor) -> Tensor:
    """Returns the ids at these places, -1 where the place is -1."""
    return ids_BM.gather(1, places_BK.clamp_min(0)).masked_fill_(places_BK < 0, -1)
