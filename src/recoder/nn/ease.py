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
from torch import Tensor

from recoder._checks import non_negative
from recoder._memory import check_memory
from recoder.data.mapped import item_sums
from recoder.errors import ConfigError, UnknownIdError
from recoder.nn.base import FactorizationModel, not_initialized
from recoder.nn.ease_weights import ItemWeights, UserWeights
from recoder.ops.rows import SparseRows

__all__ = ["EASE"]


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
        self.solution: ItemWeights | UserWeights | None = None
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
        return isinstance(self.solution, UserWeights)

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        """Sets all scores of ``num_items`` items to zero; ``num_users`` is not used."""
        if num_items is None or num_items < 1:
            raise ConfigError(f"num_items is {num_items}; EASE needs at least 1 item")
        self.popularity = torch.zeros(num_items)
        sizes, self._sizes_to_load, self.solution = self._sizes_to_load, None, None
        if sizes is not None:  # the numbers themselves follow from a file
            self.solution = (
                UserWeights.empty(sizes["users"], num_items, sizes["interactions"])
                if sizes["users"] is not None
                else ItemWeights.empty(num_items)
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
        solution = (UserWeights if num_users < num_items else ItemWeights).of(pairs, penalties_N, discounts_N)
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
        (scores_BN,) = self._score_blocks(rows, max(1, len(input)))
        return scores_BN if target_items is None else scores_BN[:, target_items]

    def score_blocks(self, input: SparseRows, users: Tensor | None, users_per_block: int) -> Iterator[Tensor]:
        """Yields the scores of blocks of users; see ``FactorizationModel.score_blocks``."""
        if type(self).forward is not EASE.forward:
            return super().score_blocks(input, users, users_per_block)
        return self._score_blocks(input, users_per_block)

    def _score_blocks(self, input: SparseRows, users_per_block: int) -> Iterator[Tensor]:
        if self.popularity is None:
            raise not_initialized(self)
        if self.solution is None:
            return (self.popularity.new_zeros(rows.num_rows, rows.num_cols) for rows in input.split(users_per_block))
        return self.solution.score_blocks(input, users_per_block)
