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
from recoder.recommender.scoring import BLOCK_SCORES, ModelScorer

__all__ = ["Answering", "have_no_score", "kept_first", "no_lists"]

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

        Users of whom the model says nothing, with no history or no score but 0 for any item, get what is popular.

        Args:
            users: with their interactions; there may be none.
            k: K.
            exclude_seen: leave out the items of a user's interactions.
            items: ascending: the only items to choose from; None: all.
        """
        if not len(users):
            return no_lists(k)
        if self._rows is not None:
            users = UsersInteractions(self._rows[users.users], users.interactions_matrix)
        scorer = self._recoder.scorer()
        ids_BK, scores_BK = self._best(scorer, users, k, exclude_seen=exclude_seen, items=items)
        if not self.knows_popularity:
            return ids_BK, scores_BK
        histories = users.interactions_matrix
        says_nothing_B = (np.diff(histories.indptr) == 0) | have_no_score(scorer, users, ids_BK, scores_BK)
        if says_nothing_B.any():
            rows = np.flatnonzero(says_nothing_B)
            whom = UsersInteractions(users.users[rows], histories[rows])
            ids_RK, _ = self._best(self._popular(), whom, k, exclude_seen=exclude_seen, items=items)
            ids_BK[rows] = ids_RK
            scores_BK[rows] = np.where(ids_RK >= 0, self.popularity(ids_RK), -np.inf)
        return ids_BK, scores_BK

    def _best(
        self, scorer: ModelScorer, users: UsersInteractions, k: int, *, exclude_seen: bool, items: IntArray | None
    ) -> tuple[IntArray, npt.NDArray[np.floating[Any]]]:
        """Returns what the scorer's ``best`` does.

        Where few items are left out of the lists of few users, these are longer by as many, and what is in them is
        dropped: the table of the other items would be copied each time.
        """
        num_items = len(self._item_counts)
        num_left_out = 0 if items is None else num_items - len(items)
        if items is None or len(users) * num_left_out > num_items:
            return scorer.best(users, k, exclude_seen=exclude_seen, items=items)
        is_chosen_N = np.zeros(num_items + 1, bool)  # its last place is that of -1
        is_chosen_N[items] = True
        ids_BM, scores_BM = scorer.best(users, k + num_left_out, exclude_seen=exclude_seen)
        return kept_first(ids_BM, scores_BM, is_chosen_N[ids_BM], k)


def no_lists(k: int) -> tuple[IntArray, npt.NDArray[np.floating[Any]]]:
    """Returns what nobody gets: ids and scores ``[0, K]``."""
    return np.empty((0, k), np.int64), np.empty((0, k), np.float32)


def kept_first(
    ids_BM: IntArray, scores_BM: npt.NDArray[np.floating[Any]], is_kept_BM: npt.NDArray[np.bool_], k: int
) -> tuple[IntArray, npt.NDArray[np.floating[Any]]]:
    """Returns the first k of each list that are kept, and their scores; -1 and -inf where there are fewer."""
    # stable: those that are kept stay in order
    order_BK = np.argsort(~is_kept_BM, axis=1, kind="stable")[:, :k]
    is_kept_BK = np.take_along_axis(is_kept_BM, order_BK, axis=1)
    scores_BK = np.take_along_axis(scores_BM, order_BK, axis=1)
    scores_BK[~is_kept_BK] = -np.inf
    return np.where(is_kept_BK, np.take_along_axis(ids_BM, order_BK, axis=1), -1), scores_BK


def have_no_score(
    scorer: ModelScorer, users: UsersInteractions, ids_BK: IntArray, scores_BK: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.bool_]:
    """Returns for which users every item has score 0, as where a model has seen none of their items beside another.

    Of those without any interaction the best items alone tell.

    Args:
        scorer: of the model.
        users: the users ``[B]``.
        ids_BK: the best items of each: where one has a score, no more is to be looked at.
        scores_BK: their scores.
    """
    has_none_B: npt.NDArray[np.bool_] = ~((ids_BK >= 0) & (scores_BK != 0)).any(axis=1)
    matrix = users.interactions_matrix
    in_doubt = np.flatnonzero(has_none_B & (np.diff(matrix.indptr) > 0))
    if not len(in_doubt):
        return has_none_B
    for rows in np.array_split(in_doubt, 1 + len(in_doubt) * matrix.shape[1] // BLOCK_SCORES):
        some = UsersInteractions(users.users[rows], matrix[rows])
        has_none_B[rows] = (scorer.scores(some) == 0).all(dim=1).cpu().numpy()
    return has_none_B
