"""Scores and rankings of all items for users, a block of users at a time.

Sizes: B users, N items, K recommendations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recoder.data.batches import Batch, full_batch
from recoder.data.datasets import UsersInteractions
from recoder.errors import UnknownIdError
from recoder.nn.base import FactorizationModel, checked_scores, dot_scores
from recoder.ops.rows import SparseRows
from recoder.ops.search import FactorSearch, Precision
from recoder.ops.topk import check_k, top_k

__all__ = ["ModelScorer", "evaluation_mode"]

BLOCK_SCORES = 1 << 24
"""Scores that are held at once: 64 MiB in float32."""

_FEWEST_ROUNDED_USERS = 256  # to round a table takes as long as rounding saves over about 140 users


class ModelScorer:
    """Scores items with a model in evaluation mode, without a graph.

    Args:
        model: the model, its parameters on ``device``.
        num_items: N, the size of its catalogue.
        num_users: users that it has rows for; None where it looks no user up.
        device: where to compute.
        precision: ``"fp32"``, or ``"bf16"`` for products of factors that are only used to pick candidates; see
            ``FactorSearch``.
    """

    def __init__(
        self,
        model: FactorizationModel,
        *,
        num_items: int,
        num_users: int | None,
        device: torch.device,
        precision: Precision = "fp32",
    ) -> None:
        self._model = model
        self._num_items = num_items
        self._num_users = num_users
        self._device = device
        self._precision = precision

    def scores(self, users_interactions: UsersInteractions) -> Tensor:
        """Returns the score of every item for every user: ``[B, N]``, on the device, in float32 products.

        Raises:
            UnknownIdError: if there is an item, or for a model that looks users up a user, that the model lacks.
        """
        with evaluation_mode(self._model):
            blocks = [
                self._block_scores(batch, rows)
                for batch, rows in self._blocks(users_interactions, self._users_per_dense_block())
            ]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)

    def ranked(self, users_interactions: UsersInteractions, num_recommendations: int) -> npt.NDArray[np.int64]:
        """Returns the best items of each user, those in the user's interactions left out: int64 ``[B, K]``.

        Best first; ties go to the lower item id; where fewer than K items are left the row ends in -1.

        Raises:
            ConfigError: if ``num_recommendations`` is below 1.
            DivergedError: if a score is NaN.
            UnknownIdError: as ``scores``.
        """
        check_k(num_recommendations)
        with evaluation_mode(self._model):
            rank = self._by_factors if self._model.is_factorized else self._by_scores
            return np.concatenate([ids.cpu().numpy() for ids in rank(users_interactions, num_recommendations)])

    def _by_factors(self, users_interactions: UsersInteractions, k: int) -> Iterator[Tensor]:
        model = self._model
        precision = self._precision if len(users_interactions) >= _FEWEST_ROUNDED_USERS else "fp32"
        search = FactorSearch(*model.item_factors(), k, precision=precision)
        for batch, rows in self._blocks(users_interactions, search.users_per_block):
            yield search.top_k(model.user_factors(rows, batch.users), rows)[0]

    def _by_scores(self, users_interactions: UsersInteractions, k: int) -> Iterator[Tensor]:
        for batch, rows in self._blocks(users_interactions, self._users_per_dense_block()):
            yield top_k(self._block_scores(batch, rows), k, rows)[0]

    def _users_per_dense_block(self) -> int:
        return max(1, BLOCK_SCORES // self._num_items)

    def _blocks(
        self, users_interactions: UsersInteractions, users_per_block: int
    ) -> Iterator[tuple[Batch, SparseRows]]:
        self._check_ids(users_interactions)
        matrix = users_interactions.interactions_matrix
        users = users_interactions.users
        for start in range(0, max(1, len(users)), users_per_block):
            stop = min(start + users_per_block, len(users))
            part = matrix if stop - start == len(users) else matrix[start:stop]
            batch = full_batch(UsersInteractions._of_checked(users[start:stop], part)).to(self._device)
            # a matrix may be narrower than the catalogue: items that came later are items nobody has seen
            yield batch, SparseRows(batch.rows.offsets, batch.rows.cols, batch.rows.values, self._num_items)

    def _block_scores(self, batch: Batch, rows: SparseRows) -> Tensor:
        model = self._model
        if model.is_factorized:
            return dot_scores(model.user_factors(rows, batch.users), *model.item_factors())
        scores = model(rows.to_dense(), input_users=batch.users)
        # a copy: what a user's own forward returns may be a view of its parameters, and ranking overwrites scores
        return checked_scores(model, scores, rows.num_rows, self._num_items).clone()

    def _check_ids(self, users_interactions: UsersInteractions) -> None:
        indices = users_interactions.interactions_matrix.indices
        if indices.size and indices.max() >= self._num_items:
            raise UnknownIdError(
                f"item id {indices.max()} is outside this model's {self._num_items} items; "
                "build the matrix with the item_id_map of the training data"
            )
        users = users_interactions.users
        if self._num_users is not None and users.size and users.max() >= self._num_users:
            raise UnknownIdError(
                f"user id {users.max()} is outside this model's {self._num_users} users, which it looks up by row; "
                "use an autoencoder for users that were not in the training data"
            )


@contextlib.contextmanager
def evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    """Runs a block in evaluation mode and without gradients, then restores the modules' own modes."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        # not inference_mode: whoever is handed the scores may write to them
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True
