"""EASE: each item is predicted from the user's other items, with weights in closed form.

Sizes: B users, C columns of the input, N items, U users of the training data, V of them with two interactions or more,
Z interactions of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from recoder._checks import non_negative
from recoder._memory import check_memory
from recoder.data.mapped import item_sums
from recoder.errors import ConfigError, FileFormatError, UnknownIdError
from recoder.nn.base import FactorizationModel, not_initialized
from recoder.ops.closed_form import item_weights, user_gram_inverse
from recoder.ops.encode import weighted_row_sums
from recoder.ops.row_lookup import RowLookup
from recoder.ops.rows import SparseRows

__all__ = ["EASE"]

_WEIGHTS_AT_ONCE = 1 << 26
"""Weights of users of the training data that are held at once: 256 MiB."""

_PRODUCTS_FOR_A_SUM = 10
"""Multiplications of a product of matrices that take as long as one with a number that is looked up."""

_COLUMNS_AT_ONCE = 256
"""Of M: few enough that the rows of so many lie in a cache of the processor, which they are read from in any order."""


class EASE(FactorizationModel):
    """A linear autoencoder of full rank in which no item predicts itself, in closed form.

    Steck 2019 ("Embarrassingly shallow autoencoders for sparse data", arXiv:1905.03375); with ``dropout_prob`` the
    denoising autoencoder of Steck 2020 ("Autoencoders that don't overfit towards the identity", NeurIPS).

    Training is one exact computation, over the items or over the users, whichever are fewer: ``min(U, N)^3``
    multiplications and ``4 min(U, N)^2`` bytes, which the model keeps. Where users are fewer it also keeps their
    interactions, in its file too: think of privacy before you pass that on.

    Args:
        l2: penalty of the squared weights, above 0.
        dropout_prob: the weights are those that predict best from an input of which this part is dropped at random,
            on average over all that may be dropped; in [0, 1).
        popularity_discount: scores are divided by the item's number of users to this power: above 0, recommendations
            move from popular items towards others.

    Raises:
        ConfigError: if an argument is out of range.
    """

    def __init__(self, l2: float = 100.0, dropout_prob: float = 0.0, popularity_discount: float = 0.0) -> None:
        super().__init__()
        self.popularity: Tensor | None
        self.register_buffer("popularity", None)
        self.solution: _ItemWeights | _UserWeights | None = None
        self._sizes_to_load: dict[str, Any] | None = None
        self._set_params(l2, dropout_prob, popularity_discount)

    def _set_params(self, l2: float, dropout_prob: float, popularity_discount: float) -> None:
        self.l2 = non_negative("l2", l2)
        if self.l2 == 0:
            raise ConfigError("l2 is 0; without a penalty the solution is not unique: pass for example l2=100")
        self.dropout_prob = non_negative("dropout_prob", dropout_prob)
        if self.dropout_prob >= 1:
            raise ConfigError(f"dropout_prob is {dropout_prob}; it must lie in [0, 1)")
        self.popularity_discount = non_negative("popularity_discount", popularity_discount)

    @staticmethod
    def bytes_needed(num_users: int, num_items: int) -> int:
        """Returns about how much memory training takes, beside the data."""
        size = min(num_users, num_items)
        return 4 * size**2 + (1 << 28)  # and what products are made in

    @property
    def keeps_interactions(self) -> bool:
        """Whether the solution, and so the model's file, holds the interactions that it was computed from."""
        return isinstance(self.solution, _UserWeights)

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        """Sets all scores of ``num_items`` items to zero; ``num_users`` is not used."""
        if num_items is None or num_items < 1:
            raise ConfigError(f"num_items is {num_items}; EASE needs at least 1 item")
        self.popularity = torch.zeros(num_items)
        sizes, self._sizes_to_load, self.solution = self._sizes_to_load, None, None
        if sizes is not None:  # the numbers themselves follow from a file
            self.solution = (
                _UserWeights.empty(sizes["users"], num_items, sizes["interactions"])
                if sizes["users"] is not None
                else _ItemWeights.empty(num_items)
            )

    def model_params(self) -> dict[str, Any]:
        """Returns the hyper-parameters, and the sizes of the solution once there is one."""
        return {
            "l2": self.l2,
            "dropout_prob": self.dropout_prob,
            "popularity_discount": self.popularity_discount,
            "solved": None if self.solution is None else self.solution.sizes(),
        }

    def load_model_params(self, model_params: dict[str, Any]) -> None:
        """Takes over hyper-parameters, and sizes for the ``init_model`` that follows."""
        params = dict(model_params)
        sizes = params.pop("solved", None)
        self._set_params(**params)
        self._sizes_to_load = sizes

    def solve(self, interactions: sparse.csr_matrix) -> None:
        """Computes the weights.

        Raises:
            UnknownIdError: if there are more items than ``init_model`` was told.
            NotEnoughMemoryError: if they would not fit into memory; nothing was changed.
            DivergedError: if ``l2`` is too small for these interactions.
        """
        if self.popularity is None:
            raise not_initialized(self)
        if interactions.shape[1] > len(self.popularity):
            raise UnknownIdError(
                f"the data has {interactions.shape[1]} items, the model {len(self.popularity)}; "
                f"make it with num_items={interactions.shape[1]}"
            )
        has_pairs = np.diff(interactions.indptr) > 1
        num_users, num_items = int(has_pairs.sum()), len(self.popularity)
        check_memory(
            self.bytes_needed(num_users, num_items),
            f"EASE for {num_items} items and {num_users} users with two interactions or more",
            "leave out rare items, or train a DynamicAutoencoder or a MatrixFactorization",
        )
        parts = interactions.data, interactions.indices, interactions.indptr
        matrix = sparse.csr_matrix(parts, shape=(len(has_pairs), num_items))
        squares_N = item_sums(matrix, power=2)
        pairs = matrix[has_pairs]
        # the interaction of a user who has no other enters the penalty alone
        lonely_N = item_sums(matrix[~has_pairs], power=2)
        penalties_N = self.l2 + lonely_N + self.dropout_prob / (1 - self.dropout_prob) * squares_N
        popularity = torch.from_numpy(matrix.getnnz(axis=0))
        discounts_N = popularity.clamp_min(1).float() ** -self.popularity_discount
        over_users = num_users < num_items
        solution = (
            _UserWeights.of(pairs, penalties_N, discounts_N)
            if over_users
            else _ItemWeights(item_weights(pairs, penalties_N).mul_(discounts_N))
        )
        self.popularity.copy_(popularity)
        self.solution = solution.to(self.popularity.device)

    def forward(
        self,
        input: Tensor | None,
        input_users: Tensor | None = None,
        input_items: Tensor | None = None,
        target_users: Tensor | None = None,
        target_items: Tensor | None = None,
    ) -> Tensor:
        """Returns the scores ``[B, I]``; see ``FactorizationModel.forward``. The users' ids are not used."""
        if self.popularity is None:
            raise not_initialized(self)
        if input is None:
            raise ConfigError("EASE scores users by their interactions; pass them (input)")
        rows = SparseRows.from_dense(input)
        cols = rows.cols if input_items is None else input_items[rows.cols]
        rows = SparseRows(rows.offsets, cols, rows.values, len(self.popularity))
        (scores_BN,) = self.score_blocks(rows, input_users, max(1, len(input)))
        return scores_BN if target_items is None else scores_BN[:, target_items]

    def score_blocks(self, input: SparseRows, users: Tensor | None, users_per_block: int) -> Iterator[Tensor]:
        """Yields the scores of blocks of users; see ``FactorizationModel.score_blocks``."""
        if self.popularity is None:
            raise not_initialized(self)
        if self.solution is None:
            return (self.popularity.new_zeros(rows.num_rows, rows.num_cols) for rows in input.split(users_per_block))
        return self.solution.score_blocks(input, users_per_block)


class _ItemWeights(nn.Module):
    """The weights, by item of the input and item of the output: ``[N, N]``."""

    weights: Tensor

    def __init__(self, weights_NN: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights_NN)

    @staticmethod
    def empty(num_items: int) -> _ItemWeights:
        """Returns one of this size."""
        return _ItemWeights(torch.zeros(num_items, num_items))

    def sizes(self) -> dict[str, int | None]:
        """Returns that it holds no users."""
        return {"users": None}

    def score_blocks(self, input: SparseRows, users_per_block: int) -> Iterator[Tensor]:
        """Yields the scores of all items for each block of users: ``[b, N]``."""
        for rows in input.split(users_per_block):
            yield weighted_row_sums(self.weights, rows, None, sparse=False)


class _UserWeights(nn.Module):
    """The same weights as a product: ``inputs X' M X outputs``, and for each item what it would add to its own score.

    Args:
        interactions: X, ``[V, N]``.
        inverse_VV: M; see ``recoder.ops.closed_form``.
        inputs_N: factor of each item of the input.
        outputs_N: factor of each item of the output.
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
    def of(pairs: sparse.csr_matrix, penalties_N: np.ndarray[Any, Any], discounts_N: Tensor) -> _UserWeights:
        """Returns the solution for these interactions."""
        inverse_VV, diagonal_N = user_gram_inverse(pairs, penalties_N)
        shares_N = 1 / (penalties_N * diagonal_N)
        return _UserWeights(
            SparseRows.from_scipy(pairs),
            inverse_VV,
            torch.from_numpy(1 / penalties_N).float(),
            torch.from_numpy(shares_N).float() * discounts_N,
            torch.from_numpy(1 - shares_N).float() * discounts_N,
        )

    @staticmethod
    def empty(num_users: int, num_items: int, num_interactions: int) -> _UserWeights:
        """Returns one of this size."""
        rows = SparseRows(
            torch.zeros(num_users + 1, dtype=torch.int64),
            torch.zeros(num_interactions, dtype=torch.int64),
            torch.zeros(num_interactions),
            num_items,
        )
        of_items = [torch.zeros(num_items) for _ in range(3)]
        return _UserWeights(rows, torch.zeros(num_users, num_users), *of_items)

    def sizes(self) -> dict[str, int | None]:
        """Returns what ``empty`` needs to know, but for the number of items."""
        return {"users": len(self.inverse), "interactions": len(self.items)}

    def score_blocks(self, input: SparseRows, users_per_block: int) -> Iterator[Tensor]:
        """Yields the scores of all items for each block of users: ``[b, N]``."""
        _, items, _ = self._from_interactions()
        blocks_at_once = max(1, _WEIGHTS_AT_ONCE // (len(self.inverse) * users_per_block + 1))
        for several in input.split(blocks_at_once * users_per_block):
            weights_BV = self._weights_of_users(several)
            for rows, weights_bV in zip(several.split(users_per_block), weights_BV.split(users_per_block), strict=True):
                scores_Nb = weighted_row_sums(weights_bV.T.contiguous(), items, None, sparse=False)
                yield scores_Nb.T * self.outputs + rows.to_dense() * self.own

    def _weights_of_users(self, input: SparseRows) -> Tensor:
        """Returns ``input inputs X' M``, the weight of each user in X for each of the input: ``[B, V]``.

        A history that X holds needs no products: as M is the inverse of ``I + X inputs X'``, these weights are a row of
        ``I - M``.
        """
        if not len(self.inverse):
            return self.inverse.new_zeros(input.num_rows, 0)
        *_, lookup = self._from_interactions()
        places_B = lookup.places(input)
        known, new = (places_B >= 0).nonzero()[:, 0], (places_B < 0).nonzero()[:, 0]
        weights_BV = self.inverse[places_B.clamp_min(0)].neg_()
        weights_BV[known, places_B[known]] += 1
        if len(new):
            self._weigh_new(weights_BV, new, input.take(new) if len(known) else input)
        return weights_BV

    def _weigh_new(self, weights_BV: Tensor, new_b: Tensor, input: SparseRows) -> None:
        """Sets the weights of rows of other histories.

        M times what each history has in common with those of X takes ``V^2`` multiplications for each. The sums of the
        rows of M over each item's users, and of these over each history, take V for each interaction in X and in the
        histories: that is less where the histories are many.
        """
        users, items, _ = self._from_interactions()
        num_users, entries = len(self.inverse), len(self.items) + len(input.cols)
        if num_users * input.num_rows < _PRODUCTS_FOR_A_SUM * entries:
            input_bN = input.to_dense()
            overlaps_Vb = weighted_row_sums((input_bN * self.inputs).T.contiguous(), users, None, sparse=False)
            weights_BV[new_b] = (self.inverse @ overlaps_Vb).T
            return
        for start in range(0, num_users, _COLUMNS_AT_ONCE):
            columns = slice(start, start + _COLUMNS_AT_ONCE)
            sums_NC = weighted_row_sums(self.inverse[:, columns].contiguous(), items, None, sparse=False)
            sums_NC.mul_(self.inputs[:, None])
            weights_BV[new_b, columns] = weighted_row_sums(sums_NC, input, None, sparse=False)

    def _from_interactions(self) -> tuple[SparseRows, SparseRows, RowLookup]:
        """Returns the interactions by user and by item, and what finds users' histories; anew where they are moved."""
        if self._derived is None or self._derived[0].cols is not self.items:
            users = SparseRows(self.offsets, self.items, self.values, len(self.inputs))
            by_item = users.columns
            items = SparseRows(by_item.offsets, by_item.rows, self.values[by_item.entries], users.num_rows)
            self._derived = users, items, RowLookup(users)
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
