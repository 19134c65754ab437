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
"""Weights of users of the training data that are held at once: 256 MiB."""

_SUMS_AT_ONCE = 1 << 24
"""Of rows of M over the users of an item, that are held at once: 64 MiB."""

_COLUMNS_AT_ONCE = 256
"""Of M: few enough that rows of so many lie in a cache of the processor, from which they are read in any order."""

_PRODUCTS_FOR_A_SUM = 10
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
        _, by_item, _ = self._from_interactions()
        for several in input.split(_users_at_once(input.num_rows, users_per_block, len(self.inverse))):
            weights_BV = self._weights_of_users(several, users_per_block)
            for rows, weights_bV in zip(several.split(users_per_block), weights_BV.split(users_per_block), strict=True):
                scores_Nb = weighted_row_sums(weights_bV.T.contiguous(), by_item, None, sparse=False)
                yield (rows.to_dense() * self.own).addcmul(scores_Nb.T, self.outputs)

    def _weights_of_users(self, input: SparseRows, users_per_block: int) -> Tensor:
        """Returns ``input inputs X' M``, the weight of each user in X for each of the input: ``[B, V]``.

        A history that X holds needs no products: ``X inputs X' M`` is ``I - M``.
        """
        if not len(self.inverse):
            return self.inverse.new_zeros(input.num_rows, 0)
        *_, lookup = self._from_interactions()
        places_B = lookup.places(input)
        if input.values.requires_grad:  # what is looked up has no gradient
            places_B = torch.full_like(places_B, -1)
        weights_BV = self.inverse[places_B.clamp_min(0)].neg_()
        weights_BV[places_B < 0] = 0
        known = (places_B >= 0).nonzero()[:, 0]
        weights_BV[known, places_B[known]] += 1
        new = ((places_B < 0) & (input.offsets.diff() > 0)).nonzero()[:, 0]
        if len(new):
            weights_BV[new] = self._weights_of_new(input.take(new), users_per_block).to(weights_BV.dtype)
        return weights_BV

    def _weights_of_new(self, input: SparseRows, users_per_block: int) -> Tensor:
        """Returns the weights for histories of others.

        The product of M with what each history has in common with those in X takes ``V^2`` multiplications for each.
        The sums of M's rows over each item's users, and of these sums over each history, take V for each interaction in
        X and in the histories: that is less where the histories are many.
        """
        by_user, by_item, _ = self._from_interactions()
        num_users, known, asked = len(self.inverse), len(self.items), len(input.cols)
        of_product = input.num_rows * (num_users**2 + _PRODUCTS_FOR_A_SUM * known)
        input = input.with_values(input.values * self.inputs[input.cols])
        if of_product < _PRODUCTS_FOR_A_SUM * num_users * (known + asked):
            overlaps_Vb = [
                weighted_row_sums(rows.to_dense().T.contiguous(), by_user, None, sparse=False)
                for rows in input.split(users_per_block)
            ]
            return (self.inverse @ torch.cat(overlaps_Vb, dim=1)).T
        columns_at_once = max(1, min(_COLUMNS_AT_ONCE, _SUMS_AT_ONCE // max(1, len(self.inputs))))
        weights_bV = []
        for columns_VC in self.inverse.split(columns_at_once, dim=1):
            sums_NC = weighted_row_sums(columns_VC.contiguous(), by_item, None, sparse=False)
            weights_bV.append(weighted_row_sums(sums_NC, input, None, sparse=False))
        return torch.cat(weights_bV, dim=1)

    def _from_interactions(self) -> tuple[SparseRows, SparseRows, RowLookup]:
        """Returns the interactions by user and by item, and what finds users' histories; anew where they are moved."""
        if self._derived is None or self._derived[0].cols is not self.items:
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


def _users_at_once(num_users: int, users_per_block: int, num_weights: int) -> int:
    """Returns how many users' weights, so many each, are to be held at once: a whole number of blocks, about equal."""
    most = max(1, _WEIGHTS_AT_ONCE // max(1, num_weights * users_per_block))
    blocks = max(1, -(-num_users // users_per_block))
    parts = -(-blocks // most)
    return -(-blocks // parts) * users_per_block
