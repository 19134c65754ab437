"""The weights of EASE, in either of the two forms in which they are computed, and the scores that they give.

Sizes: B users to score, b of a block, N items, V users of the training data with two interactions or more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor, nn

from recoder.errors import FileFormatError
from recoder.ops.closed_form import item_weights, user_gram_inverse
from recoder.ops.encode import weighted_row_sums
from recoder.ops.row_lookup import RowLookup
from recoder.ops.rows import SparseRows

__all__ = ["ItemWeights", "UserWeights"]

_WEIGHTS_AT_ONCE = 1 << 26
"""Weights of users of the training data that are held at once: 256 MiB, or a quarter of what M takes."""

_AT_ONCE = 64
"""Columns of a matrix of users, whose rows are read in any order: so few of them lie in a cache of the processor."""

_PRODUCTS_FOR_A_SUM = 5
"""Multiplications of a product of matrices that take as long as one with a number that is looked up."""


class ItemWeights(nn.Module):
    """The weights, by item of the input and item of the output: ``[N, N]``."""

    weights: Tensor

    def __init__(self, weights_NN: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights_NN)

    @staticmethod
    def of(pairs: sparse.csr_matrix, penalties_N: npt.NDArray[np.float64], discounts_N: Tensor) -> ItemWeights:
        """Returns the solution for these interactions ``[V, N]``."""
        return ItemWeights(item_weights(pairs, penalties_N).mul_(discounts_N))

    @staticmethod
    def empty(num_items: int) -> ItemWeights:
        """Returns one of this size."""
        return ItemWeights(torch.zeros(num_items, num_items))

    def sizes(self) -> dict[str, int | None]:
        """Returns that it holds no users."""
        return {"users": None}

    def score_blocks(self, input: SparseRows, users_per_block: int) -> Iterator[Tensor]:
        """Yields the scores of all items for each block of users: ``[b, N]``."""
        for rows in input.split(users_per_block):
            yield weighted_row_sums(self.weights, rows, None, sparse=False)


class UserWeights(nn.Module):
    """The same weights as a product: ``inputs X' M X outputs``, and for each item what it would add to its own score.

    Args:
        interactions: X, ``[V, N]``.
        inverse_VV: M, the inverse of ``I + X inputs X'``; see ``recoder.ops.closed_form``.
        inputs_N: factor of each item of the input.
        outputs_N: factor of each item of the output.
        own_N: weight of each item for its own score, beside that of the product.
    """

    inverse: Tensor
    inputs: Tensor
    outputs: Tensor
    own: Tensor
    offsets: Tensor
    items: Tensor
    values: Tensor

    def __init__(
        self, interactions: SparseRows, inverse_VV: Tensor, inputs_N: Tensor, outputs_N: Tensor, own_N: Tensor
    ) -> None:
        super().__init__()
        for name, tensor in (
            ("inverse", inverse_VV),
            ("inputs", inputs_N),
            ("outputs", outputs_N),
            ("own", own_N),
            ("offsets", interactions.offsets),
            ("items", interactions.cols),
            ("values", interactions.values),
        ):
            self.register_buffer(name, tensor)
        self._derived: tuple[SparseRows, SparseRows, RowLookup] | None = None

    @staticmethod
    def of(pairs: sparse.csr_matrix, penalties_N: npt.NDArray[np.float64], discounts_N: Tensor) -> UserWeights:
        """Returns the solution for these interactions ``[V, N]``."""
        inverse_VV, diagonal_N = user_gram_inverse(pairs, penalties_N)
        shares_N = 1 / (penalties_N * diagonal_N)
        return UserWeights(
            SparseRows.from_scipy(pairs),
            inverse_VV,
            torch.from_numpy(1 / penalties_N).float(),
            torch.from_numpy(shares_N).float() * discounts_N,
            torch.from_numpy(1 - shares_N).float() * discounts_N,
        )

    @staticmethod
    def empty(num_users: int, num_items: int, num_interactions: int) -> UserWeights:
        """Returns one of this size."""
        rows = SparseRows(
            torch.zeros(num_users + 1, dtype=torch.int64),
            torch.zeros(num_interactions, dtype=torch.int64),
            torch.zeros(num_interactions),
            num_items,
        )
        of_items = [torch.zeros(num_items) for _ in range(3)]
        return UserWeights(rows, torch.zeros(num_users, num_users), *of_items)

    def sizes(self) -> dict[str, int | None]:
        """Returns what ``empty`` needs to know, but for the number of items."""
        return {"users": len(self.inverse), "interactions": len(self.items)}

    def score_blocks(self, input: SparseRows, users_per_block: int) -> Iterator[Tensor]:
        """Yields the scores of all items for each block of users: ``[b, N]``."""
        input = input.with_values(input.values.to(self.inverse.dtype))
        for several in input.split(_users_at_once(input.num_rows, users_per_block, len(self.inverse))):
            weights_BV = self._weights_of_users(several, users_per_block)
            start = 0
            for rows in several.split(users_per_block):
                scores_bN = self._products(weights_BV[start : start + rows.num_rows]) * self.outputs
                own_z = rows.values * self.own[rows.cols]
                yield scores_bN.index_put((rows.row_ids, rows.cols), own_z, accumulate=True)
                start += rows.num_rows

    def _products(self, weights_bV: Tensor) -> Tensor:
        """Returns ``weights X``: ``[b, N]``."""
        _, by_item, _ = self._from_interactions()
        products_bN = weights_bV.new_empty(len(weights_bV), len(self.inputs))
        for some in _in_parts(len(weights_bV)):
            products_bN[some] = weighted_row_sums(weights_bV[some].T.contiguous(), by_item, None, sparse=False).T
        return products_bN

    def _weights_of_users(self, input: SparseRows, users_per_block: int) -> Tensor:
        """Returns ``input inputs X' M``, the weight of each user in X for each of the input: ``[B, V]``.

        A history that X holds needs no products: ``X inputs X' M`` is ``I - M``.
        """
        if not len(self.inverse):
            return self.inverse.new_zeros(input.num_rows, 0)
        *_, lookup = self._from_interactions()
        # what is looked up has no gradient
        places_B = torch.full_like(input.offsets[1:], -1) if input.values.requires_grad else lookup.places(input)
        if not (places_B >= 0).any():
            return self._weights_of_new(input, users_per_block)
        weights_BV = self.inverse[places_B.clamp_min(0)].neg_()
        known = (places_B >= 0).nonzero()[:, 0]
        weights_BV[known, places_B[known]] += 1
        weights_BV[places_B < 0] = 0
        new = ((places_B < 0) & (input.offsets.diff() > 0)).nonzero()[:, 0]
        if len(new):
            weights_BV[new] = self._weights_of_new(input.take(new), users_per_block)
        return weights_BV

    def _weights_of_new(self, input: SparseRows, users_per_block: int) -> Tensor:
        """Returns the weights for histories of others.

        The product of M with what each history has in common with those in X takes ``V^2`` multiplications for each.
        The sums of M's rows over each item's users, and of these sums over each history, take V for each interaction in
        X and in the histories: that is less where the histories are many.
        """
        by_user, by_item, _ = self._from_interactions()
        num_users, known, asked = len(self.inverse), len(self.items), len(input.cols)
        if not asked:
            return self.inverse.new_zeros(input.num_rows, num_users)
        of_product = input.num_rows * (num_users**2 + _PRODUCTS_FOR_A_SUM * known)
        input = input.with_values(input.values * self.inputs[input.cols])
        if of_product < _PRODUCTS_FOR_A_SUM * num_users * (known + asked):
            overlaps_Vb = [
                weighted_row_sums(rows.to_dense().T.contiguous(), by_user, None, sparse=False)
                for rows in input.split(users_per_block)
            ]
            return (self.inverse @ torch.cat(overlaps_Vb, dim=1)).T
        weights_bV = self.inverse.new_empty(input.num_rows, num_users)
        for some in _in_parts(num_users):
            sums_Nc = weighted_row_sums(self.inverse[:, some].contiguous(), by_item, None, sparse=False)
            weights_bV[:, some] = weighted_row_sums(sums_Nc, input, None, sparse=False)
        return weights_bV

    def _from_interactions(self) -> tuple[SparseRows, SparseRows, RowLookup]:
        """Returns the interactions by user and by item, and what finds users' histories; anew where they are moved."""
        if self._derived is None or self._derived[0].cols is not self.items:
            # what is kept serves callers who want gradients too
            with torch.inference_mode(False), torch.no_grad():
                by_user = SparseRows(self.offsets, self.items, self.values, len(self.inputs))
                order = by_user.columns
                by_item = SparseRows(order.offsets, order.rows, self.values[order.entries], by_user.num_rows)
                self._derived = by_user, by_item, RowLookup(by_user)
        return self._derived

    def _load_from_state_dict(self, *arguments: Any) -> None:
        """Checks the interactions that a file brings: what sums over them trusts them."""
        super()._load_from_state_dict(*arguments)
        self._derived = None
        is_whole = int(self.offsets[0]) == 0 and int(self.offsets[-1]) == len(self.items)
        is_ascending = bool((self.offsets.diff() >= 0).all())
        is_outside = (self.items < 0) | (self.items >= len(self.inputs))
        if not (is_whole and is_ascending) or bool(is_outside.any()):
            raise FileFormatError("the interactions that EASE was solved from are no rows of items: damaged")


def _in_parts(size: int) -> Iterator[slice]:
    """Yields the parts of so many rows or columns, few of them each."""
    for start in range(0, size, _AT_ONCE):
        yield slice(start, start + _AT_ONCE)


def _users_at_once(num_users: int, users_per_block: int, num_weights: int) -> int:
    """Returns how many users' weights, so many each, are to be held at once: a whole number of blocks, about equal."""
    most = max(1, max(_WEIGHTS_AT_ONCE, num_weights**2 // 4) // max(1, num_weights * users_per_block))
    blocks = max(1, -(-num_users // users_per_block))
    parts = -(-blocks // most)
    return -(-blocks // parts) * users_per_block
