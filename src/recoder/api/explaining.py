"""Which interactions speak for an item: its score without each of them. Sizes: H items of a history, N items."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recoder.data import UsersInteractions
from recoder.errors import EmptyDataError
from recoder.model import Recoder

__all__ = ["score_drops"]


def score_drops(
    recoder: Recoder, user: UsersInteractions, col: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Returns the items of a user's history and how far the score of an item falls without each, largest first.

    Args:
        recoder: what scores.
        user: one user.
        col: the item.

    Raises:
        EmptyDataError: if the history is empty.
    """
    history = user.interactions_matrix
    cols_H, length = history.indices.astype(np.int64), history.nnz
    if not length:
        raise EmptyDataError("the user has no history that could speak for the item")
    # row h lacks the item h, the last row lacks none
    is_kept = ~np.eye(length + 1, length, dtype=bool)
    rows, places = np.nonzero(is_kept)
    variants = sparse.csr_matrix((history.data[places], (rows, cols_H[places])), shape=(length + 1, history.shape[1]))
    users = UsersInteractions(np.repeat(user.users, length + 1), variants)
    scores = recoder.scorer().at(users, np.arange(length + 1), np.full(length + 1, col)).astype(np.float64)
    drops_H = scores[-1] - scores[:-1]
    order = np.argsort(-drops_H, kind="stable")
    return cols_H[order], drops_H[order]
