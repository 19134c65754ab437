"""Test users, over the items that a model knows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recoder.api.asking import from_histories
from recoder.data import HeldOut, IdMap, Interactions, RecommendationDataset
from recoder.errors import DataTypeError, EmptyDataError, NotInitializedError
from recoder.metrics import NDCG, Metric, Recall

__all__ = ["DEFAULT_METRICS", "aligned"]

DEFAULT_METRICS: tuple[Metric, ...] = (Recall(20), Recall(50), NDCG(100))


def aligned(test: HeldOut | Interactions, known: Interactions, *, has_histories: bool) -> HeldOut:
    """Returns test users whose columns are those of the model.

    Args:
        test: as in ``FittedModel.evaluate``.
        known: the model's ids, and histories if there are any.
        has_histories: whether there are.

    Raises:
        DataTypeError: if ``test`` is something else.
        NotInitializedError: if histories are needed and not there.
        UnknownIdError: if a history holds an item that is not known, or ``test`` names users who are not.
        EmptyDataError: if no target is of an item that is known.
    """
    if isinstance(test, HeldOut):
        if test.item_ids == known.item_ids:
            return test
        dataset = test.dataset
        cols = known.item_ids.indices(test.item_ids.ids)
        history = _moved(dataset.interactions_matrix, cols, known.num_items)
        target = dataset.target_interactions_matrix
        moved = None if target is None else _moved(target, cols, known.num_items)
        return HeldOut(RecommendationDataset(history, moved), test.user_ids, known.item_ids)
    if not isinstance(test, Interactions):
        raise DataTypeError(
            f"test is a {type(test).__name__}; pass held-out users, as from interactions.split, or Interactions"
        )
    if not has_histories:
        raise NotInitializedError(
            "this model's file holds no histories to recommend from; pass held-out users with a history of their own, "
            "or save it with interactions=True"
        )
    return _of_known_users(test, known)


def _of_known_users(test: Interactions, known: Interactions) -> HeldOut:
    rows = known.user_ids.indices(test.user_ids.ids)
    target = from_histories(test, known.item_ids, unknown="drop").users.interactions_matrix
    if not target.nnz:
        raise EmptyDataError("no item of test is known to the model, so nothing could be found")
    history = known.matrix[rows]
    return HeldOut(RecommendationDataset(history, target), IdMap(known.user_ids.ids.take(rows)), known.item_ids)


def _moved(matrix: sparse.csr_matrix, cols: npt.NDArray[np.int64], num_items: int) -> sparse.csr_matrix:
    """Returns the matrix with its columns at other places."""
    coo = matrix.tocoo()
    return sparse.csr_matrix((coo.data, (coo.row, cols[coo.col])), shape=(matrix.shape[0], num_items))
