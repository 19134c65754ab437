"""Scores and rankings of all items for users, a block of users at a time.

Sizes: B users, N items, I of them to choose from, K recommendations, P pairs, D factors, Z interactions.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from recoder.data.batches import Batch, full_batch
from recoder.data.datasets import UsersInteractions
from recoder.data.matrices import columns_of
from recoder.errors import UnknownIdError
from recoder.nn.base import FactorizationModel, checked_scores, dot_scores
from recoder.ops.products_at import products_at
from recoder.ops.rows import SparseRows
from recoder.ops.search import FactorSearch, Precision
from recoder.ops.topk import check_k, top_k

__all__ = ["ModelScorer", "evaluation_mode", "strangers"]

BLOCK_SCORES = 1 << 24
"""Scores that are held at once: 64 MiB in float32."""

_USERS_AT_ONCE = 4096
"""Whose interactions a model is shown at once, though items are scored for fewer of them at a time."""

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
        self._parts = model.parts

    def scores(self, users_interactions: UsersInteractions) -> Tensor:
        """Returns the score of every item for every user: ``[B, N]``, on the device, in float32 products.

        Raises:
            UnknownIdError: if there is an item, or for a model that looks users up a user, that the model lacks.
        """
        with evaluation_mode(self._model):
            blocks = [self._of_all_items(scores_Bn) for _, scores_Bn in self._scored(users_interactions)]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)

    def ranked(self, users_interactions: UsersInteractions, num_recommendations: int) -> npt.NDArray[np.int64]:
        """Returns the best items of each user, those in the user's interactions left out: int64 ``[B, K]``.

        Best first; ties go to the lower item id; where fewer than K items are left the row ends in -1.

        Raises:
            ConfigError: if ``num_recommendations`` is below 1.
            DivergedError: if a score is NaN.
            UnknownIdError: as ``scores``.
        """
        return self.best(users_interactions, num_recommendations)[0]

    def best(
        self,
        users_interactions: UsersInteractions,
        num_recommendations: int,
        *,
        exclude_seen: bool = True,
        items: npt.NDArray[np.int64] | None = None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating[Any]]]:
        """Returns the best items of each user and their scores: int64 and floating point ``[B, K]``.

        Best first; ties go to the lower item id; where fewer than K items are left the row ends in -1, with score -inf.

        Args:
            users_interactions: the users.
            num_recommendations: K.
            exclude_seen: leave out the items of a user's interactions.
            items: ascending: the only items to choose from; None: all.

        Raises:
            ConfigError, DivergedError, UnknownIdError: as ``ranked``.
        """
        check_k(num_recommendations)
        choice = _Choice(exclude_seen, None if items is None else torch.from_numpy(items).to(self._device))
        if self._parts.items is not None:
            choice = choice.among(self._parts.items)
        with evaluation_mode(self._model):
            rank = self._by_factors if self._model.is_factorized else self._by_scores
            blocks = list(rank(users_interactions, num_recommendations, choice))
        ids_BK, scores_BK = (
            np.concatenate([part.cpu().numpy() for part in parts]) for parts in zip(*blocks, strict=True)
        )
        return ids_BK, scores_BK

    def at(
        self, users_interactions: UsersInteractions, rows: npt.NDArray[np.int64], items: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.floating[Any]]:
        """Returns the scores of pairs, each a row of the interactions and an item: floating point ``[P]``.

        Args:
            users_interactions: the users ``[B]``.
            rows: int64 ``[P]``, ascending, each from 0 to B - 1.
            items: int64 ``[P]``.

        Raises:
            UnknownIdError: as ``scores``.
        """
        parts: list[npt.NDArray[np.floating[Any]]] = [np.empty(0, np.float32)]
        done = 0
        is_factorized = self._model.is_factorized
        with evaluation_mode(self._model):
            scores = (scores_BN for _, scores_BN in self._scored(users_interactions))
            for block in self.user_factors(users_interactions) if is_factorized else scores:
                pairs = slice(*np.searchsorted(rows, [done, done + len(block)]))
                local_P = torch.from_numpy(rows[pairs] - done).to(self._device)
                items_P = torch.from_numpy(items[pairs]).to(self._device)
                scores_P = self._products(block, local_P, items_P) if is_factorized else block[local_P, items_P]
                parts.append(scores_P.cpu().numpy())
                done += len(block)
        return np.concatenate(parts)

    def user_factors(self, users_interactions: UsersInteractions) -> Iterator[Tensor]:
        """Yields the factors of the users of a factorized model, block by block: ``[b, D]``."""
        with evaluation_mode(self._model):
            for batch, rows in self._blocks(users_interactions, _USERS_AT_ONCE):
                yield self._model.user_factors(rows, batch.users)

    def _by_factors(
        self, users_interactions: UsersInteractions, k: int, choice: _Choice
    ) -> Iterator[tuple[Tensor, Tensor]]:
        model = self._model
        precision = self._precision if len(users_interactions) >= _FEWEST_ROUNDED_USERS else "fp32"
        search = FactorSearch(*model.item_factors(choice.items), k, precision=precision)
        users_per_block = self._agreed(search.users_per_block)
        for batch, rows in self._blocks(users_interactions, _USERS_AT_ONCE):
            factors_BD, start = model.user_factors(rows, batch.users), 0
            for block in rows.split(users_per_block):
                factors_bD = factors_BD[start : start + block.num_rows]
                ids_bK, scores_bK = choice.as_catalogue_ids(*search.top_k(factors_bD, choice.to_leave_out(block)))
                yield self._best_of_all(ids_bK, scores_bK, k)
                start += block.num_rows

    def _by_scores(
        self, users_interactions: UsersInteractions, k: int, choice: _Choice
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for rows, scores_BN in self._scored(users_interactions):
            scores_BI = scores_BN if choice.items is None else scores_BN[:, choice.items]
            yield choice.as_catalogue_ids(*top_k(scores_BI, k, choice.to_leave_out(rows)))

    def _products(self, factors_BD: Tensor, rows_P: Tensor, items_P: Tensor) -> Tensor:
        """Returns the scores of pairs, each a row of the factors and an item: ``[P]``."""
        here, is_here_P = self._parts.items, None
        if here is not None:
            places_P = torch.searchsorted(here, items_P).clamp_max(len(here) - 1)
            items_P, is_here_P = places_P, here[places_P] == items_P
        items_I, places_P = torch.unique(items_P, return_inverse=True)
        weight_ID, bias_I = self._model.item_factors(items_I)
        offsets = torch.searchsorted(rows_P, torch.arange(len(factors_BD) + 1, device=rows_P.device))
        scores_P = products_at(factors_BD, weight_ID.contiguous(), offsets, places_P)
        if bias_I is not None:
            scores_P = scores_P + bias_I[places_P]
        return scores_P if is_here_P is None else self._parts.ranks.sum_(scores_P * is_here_P)

    def _agreed(self, users_per_block: int) -> int:
        """Returns the least of what the processes would take."""
        return -self._parts.ranks.largest(-users_per_block)

    def _of_all_items(self, scores_Bn: Tensor) -> Tensor:
        """Returns the scores ``[B, N]`` of which the processes have some columns each."""
        here, ranks = self._parts.items, self._parts.ranks
        if here is None:
            return scores_Bn
        scores_BN = scores_Bn.new_empty(len(scores_Bn), self._num_items)
        for ids, columns in zip(ranks.gathered_rows(here), ranks.gathered_rows(scores_Bn.T.contiguous()), strict=True):
            scores_BN[:, ids] = columns.T
        return scores_BN

    def _best_of_all(self, ids_BK: Tensor, scores_BK: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Returns the best of the best items of all processes, which are theirs alone."""
        ranks = self._parts.ranks
        if ranks.size == 1:
            return ids_BK, scores_BK
        ids_BC = torch.cat(ranks.gathered_rows(ids_BK.T.contiguous())).T
        scores_BC = torch.cat(ranks.gathered_rows(scores_BK.T.contiguous())).T
        # by id, so that of equal scores the lowest comes first; those that are none last
        ids_BC, order_BC = torch.where(ids_BC < 0, self._num_items, ids_BC).sort(dim=1)
        places_BK, scores_BK = top_k(scores_BC.gather(1, order_BC).contiguous(), k)
        return ids_BC.gather(1, places_BK.clamp_min(0)).masked_fill_(places_BK < 0, -1), scores_BK

    def _users_per_dense_block(self) -> int:
        return max(1, BLOCK_SCORES // self._num_items)

    def _blocks(
        self, users_interactions: UsersInteractions, users_per_block: int
    ) -> Iterator[tuple[Batch, SparseRows]]:
        self._check_ids(users_interactions)
        matrix = users_interactions.interactions_matrix
        if self._parts.items is not None:
            matrix = columns_of(matrix, self._parts.items.cpu().numpy())
        num_items = matrix.shape[1] if self._parts.items is not None else self._num_items
        users = users_interactions.users
        for start in range(0, max(1, len(users)), users_per_block):
            stop = min(start + users_per_block, len(users))
            part = matrix if stop - start == len(users) else matrix[start:stop]
            batch = full_batch(UsersInteractions._of_checked(users[start:stop], part)).to(self._device)
            # a matrix may be narrower than the catalogue: items that came later are items nobody has seen
            yield batch, SparseRows(batch.rows.offsets, batch.rows.cols, batch.rows.values, num_items)

    def _scored(self, users_interactions: UsersInteractions) -> Iterator[tuple[SparseRows, Tensor]]:
        """Yields the users' interactions and the scores of the items that are here, block by block: ``[b, N]``."""
        model, users_per_block = self._model, self._users_per_dense_block()
        if model.is_factorized:
            for batch, rows in self._blocks(users_interactions, users_per_block):
                yield rows, dot_scores(model.user_factors(rows, batch.users), *model.item_factors())
            return
        many = users_per_block * max(1, _USERS_AT_ONCE // users_per_block)
        for batch, rows in self._blocks(users_interactions, many):
            scores_of_blocks = model.score_blocks(rows, batch.users, users_per_block)
            method = "score_blocks" if model._overrides("score_blocks") else "forward"
            for block in rows.split(users_per_block):
                scores = next(scores_of_blocks, None)
                # a copy: what a user's own forward returns may be a view of its parameters, and ranking overwrites them
                yield block, checked_scores(model, scores, block.num_rows, self._num_items, method=method).clone()

    def _check_ids(self, users_interactions: UsersInteractions) -> None:
        indices = users_interactions.interactions_matrix.indices
        if indices.size and indices.max() >= self._num_items:
            raise UnknownIdError(
                f"item id {indices.max()} is outside this model's {self._num_items} items; "
                "build the matrix with the item_id_map of the training data"
            )
        users = users_interactions.users
        if self._num_users is not None and not users_interactions.are_training_users:
            raise UnknownIdError(strangers("these users", self._model))
        if self._num_users is not None and users.size and users.max() >= self._num_users:
            raise UnknownIdError(
                f"user id {users.max()} is outside this model's {self._num_users} users, which it looks up by row; "
                "use an autoencoder for users that were not in the training data"
            )


def strangers(who: str, model: FactorizationModel) -> str:
    """Returns what to say of users who were held out of the training of a model that looks users up."""
    return (
        f"{who} were held out of the training, and {type(model).__name__} has factors for the users of the training "
        "alone: fold others in, MatrixFactorization(fold_in=True), or hold out interactions instead of users, "
        "recoder.data.random_holdout"
    )


@dataclass(frozen=True, eq=False)
class _Choice:
    """Which items a user can get.

    Attributes:
        exclude_seen: leave out those of the user's interactions.
        items: int64 ``[I]``, ascending: the only ones, by the row of their factors; None: all.
        catalogue_ids: int64 ``[I]``: which items these are; None: those of these ids.
    """

    exclude_seen: bool
    items: Tensor | None
    catalogue_ids: Tensor | None = None

    def among(self, here: Tensor) -> _Choice:
        """Returns the choice of those items that are here, in the catalogue ``here`` (int64, ascending)."""
        chosen = here if self.items is None else here[torch.isin(here, self.items)]
        return _Choice(self.exclude_seen, torch.searchsorted(here, chosen), chosen)

    def to_leave_out(self, rows: SparseRows) -> SparseRows | None:
        """Returns the interactions to leave out, by their place among the items; None: there are none."""
        if not self.exclude_seen or self.items is None:
            return rows if self.exclude_seen else None
        places_N = torch.full((rows.num_cols,), -1, device=self.items.device)
        places_N[self.items] = torch.arange(len(self.items), device=self.items.device)
        places_Z = places_N[rows.cols]
        is_there_Z = places_Z >= 0
        counts = F.pad(is_there_Z.cumsum(0), (1, 0))
        return SparseRows(counts[rows.offsets], places_Z[is_there_Z], rows.values[is_there_Z], len(self.items))

    def as_catalogue_ids(self, places_BK: Tensor, scores_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the items at these places, -1 where the place is."""
        if self.items is None:
            return places_BK, scores_BK
        ids = self.items if self.catalogue_ids is None else self.catalogue_ids
        ids_BK = ids[places_BK.clamp_min(0)].masked_fill_(places_BK < 0, -1)
        return ids_BK, scores_BK


@contextlib.contextmanager
def evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    """Runs a block in evaluation mode, without gradients and autocast, then restores the modules' own modes."""
    held = next(itertools.chain(model.parameters(), model.buffers()), None)
    device_type = "cpu" if held is None else held.device.type
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        # not inference_mode: whoever is handed the scores may write to them
        with torch.no_grad(), torch.autocast(device_type, enabled=False):  # a caller may have turned it on
            yield
    finally:
        for module in training:
            module.training = True
