"""What a fitted model answers: its model's ranking, and what is popular to whom it knows nothing of.

Sizes: B users, R of them of whom the model says nothing, N items of the catalogue, K recommendations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recoder.data import UsersInteractions
from recoder.model import Recoder
from recoder.nn import Popularity
from recoder.recommender.scoring import ModelScorer

__all__ = ["Answering", "all_are_zero"]

IntArray = npt.NDArray[np.int64]


class Answering:
    """Ranks items as ``FittedModel.recommend`` does; a ``Scorer``.

    Args:
        recoder: what was trained.
        item_counts: int64 ``[N]``: users of each item in training, all 0 where they are not known.
        num_users: users in training.
        rows: int64: for a model that looks users up, the row in training of each user of what is ranked; None: they
            are numbered by these rows.
    """

    def __init__(
        self, recoder: Recoder, item_counts: IntArray, num_users: int, *, rows: IntArray | None = None
    ) -> None:
        self._recoder = recoder
        self._item_counts = item_counts
        self._num_users = num_users
        self._rows = rows

    @property
    def knows_popularity(self) -> bool:
        """Whether users without a history are answered by what is popular; a file of a ``Recoder`` holds no counts."""
        model = self._recoder.model
        return model.folds_in_users and not isinstance(model, Popularity) and bool(self._item_counts.any())

    def popularity(self, cols: IntArray) -> npt.NDArray[np.float64]:
        """Returns the share of training users who have these items: as many."""
        shares: npt.NDArray[np.float64] = self._item_counts[cols] / max(1, self._num_users)
        return shares

    def _popular(self) -> ModelScorer:
        """Returns what ranks by popularity."""
        device, model = self._recoder.device, Popularity()
        model.counts = torch.from_numpy(self._item_counts).to(device, torch.float32)
        return ModelScorer(model, num_items=len(self._item_counts), num_users=None, device=device)

    def ranked(self, users_interactions: UsersInteractions, num_recommendations: int) -> IntArray:
        """Returns the best unseen items of each user, best first: int64 ``[B, K]``, shorter lists end in -1."""
        return self.best(users_interactions, num_recommendations)[0]

    def best(
        self, users: UsersInteractions, k: int, *, exclude_seen: bool = True, items: IntArray | None = None
    ) -> tuple[IntArray, npt.NDArray[np.floating[Any]]]:
        """Returns the best items of each user and their scores: int64 and floating point ``[B, K]``.

        Users of whom the model says nothing, with no history or no score but 0, get what is popular.

        Args:
            users: with their interactions.
            k: K.
            exclude_seen: leave out the items of a user's interactions.
            items: ascending: the only items to choose from; None: all.
        """
        if self._rows is not None:
            users = UsersInteractions(self._rows[users.users], users.interactions_matrix)
        ids_BK, scores_BK = self._recoder.scorer().best(users, k, exclude_seen=exclude_seen, items=items)
        histories = users.interactions_matrix
        says_nothing_B = (np.diff(histories.indptr) == 0) | all_are_zero(ids_BK, scores_BK)
        if self.knows_popularity and says_nothing_B.any():
            rows = np.flatnonzero(says_nothing_B)
            whom = UsersInteractions(users.users[rows], histories[rows])
            ids_RK, _ = self._popular().best(whom, k, exclude_seen=exclude_seen, items=items)
            ids_BK[rows] = ids_RK
            scores_BK[rows] = np.where(ids_RK >= 0, self.popularity(ids_RK), -np.inf)
        return ids_BK, scores_BK


def all_are_zero(ids_BK: IntArray, scores_BK: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.bool_]:
    """Returns for which rows all scores are 0, as where a model has seen none of a user's items beside another."""
    is_other_B: npt.NDArray[np.bool_] = ((ids_BK >= 0) & (scores_BK != 0)).any(axis=1)
    return ~is_other_B
