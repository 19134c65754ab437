"""Which interactions speak for an item: its score without each of them. Sizes: H items of a history, N items."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recoder.data import UsersInteractions
from recoder.errors import EmptyDataError
from recoder.model import Recoder

__all__ = ["score_drops"]

_MOST_ENTRIES = 1 << 22
"""Of all histories that are scored at once."""


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
        raise EmptyDataError("the user has no history that could speak for the item; pass one of at least an item")
    scorer = recoder.scorer()
    whole = scorer.at(user, np.zeros(1, np.int64), np.array([col])).astype(np.float64)
    at_once = max(1, _MOST_ENTRIES // length)
    scores_H = np.empty(length)
    for start in range(0, length, at_once):
        users = _without_each(user, np.arange(start, min(start + at_once, length)))
        number = len(users.users)
        scores_H[start : start + number] = scorer.at(users, np.arange(number), np.full(number, col))
    drops_H = whole[0] - scores_H
    order = np.argsort(-drops_H, kind="stable")
    return cols_H[order], drops_H[order]


def _without_each(user: UsersInteractions, places: npt.NDArray[np.int64]) -> UsersInteractions:
    """Returns the user once for each of these places of the history, without the interaction there."""
    history = user.interactions_matrix
    length = history.nnz
    kept = np.arange(length) != places[:, None]
    entries = np.nonzero(kept)[1]
    indptr = np.arange(len(places) + 1) * (length - 1)
    variants = (history.data[entries], history.indices[entries], indptr)
    matrix = sparse.csr_matrix(variants, shape=(len(places), history.shape[1]))
    return UsersInteractions(np.repeat(user.users, len(places)), matrix)
