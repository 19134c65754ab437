"""Test users, over the items that a model knows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from recoder.api.asking import from_histories, places_of
from recoder.data import HeldOut, IdMap, Interactions, RecommendationDataset
from recoder.data.mapped import item_counts
from recoder.errors import DataTypeError, EmptyDataError, NotInitializedError
from recoder.metrics import NDCG, Metric, Recall

__all__ = ["DEFAULT_METRICS", "aligned"]

DEFAULT_METRICS: tuple[Metric, ...] = (Recall(20), Recall(50), NDCG(100))


def aligned(test: HeldOut | Interactions, known: Interactions, *, has_histories: bool, unknown: str | None) -> HeldOut:
    """Returns test users whose columns are those of the model.

    Args:
        test: as in ``FittedModel.evaluate``.
        known: the model's ids, and histories if there are any.
        has_histories: whether there are.
        unknown: as in ``FittedModel.evaluate``; None: an error, where there is no such argument.

    Raises:
        DataTypeError: if ``test`` is something else.
        NotInitializedError: if histories are needed and not there.
        UnknownIdError: if users or items are not known and ``unknown`` is not ``"drop"``.
        EmptyDataError: if no user, or no target's item, is known.
    """
    if isinstance(test, HeldOut):
        if test.item_ids == known.item_ids:
            return test
        matrices = test.dataset.interactions_matrix, test.dataset.target_interactions_matrix
        used = np.flatnonzero(sum(item_counts(matrix) for matrix in matrices if matrix is not None))
        cols = np.full(len(test.item_ids), -1)
        cols[used] = places_of(known.item_ids, test.item_ids.ids.take(pa.array(used)), "items of test users", unknown)
        history, target = (None if matrix is None else _moved(matrix, cols, known.num_items) for matrix in matrices)
        return HeldOut(RecommendationDataset(history, target), test.user_ids, known.item_ids)
    if not isinstance(test, Interactions):
        raise DataTypeError(
            f"test is a {type(test).__name__}; pass held-out users, as from interactions.split, or Interactions"
        )
    if not has_histories:
        raise NotInitializedError(
            "this model's file holds no histories to recommend from; pass held-out users with a history of their own, "
            "or save it with interactions=True"
        )
    return _of_known_users(test, known, unknown)


def _of_known_users(test: Interactions, known: Interactions, unknown: str | None) -> HeldOut:
    rows_U = places_of(known.user_ids, test.user_ids.ids, "test users", unknown)
    rows = rows_U[rows_U >= 0]
    if not len(rows):
        raise EmptyDataError("no user of test is known to the model; pass held-out users with histories of their own")
    target = from_histories(test, known.item_ids, unknown="drop").users.interactions_matrix[rows_U >= 0]
    if not target.nnz:
        raise EmptyDataError("no item of test is known to the model, so nothing could be found")
    history = known.matrix[rows]
    return HeldOut(RecommendationDataset(history, target), IdMap(known.user_ids.ids.take(rows)), known.item_ids)


def _moved(matrix: sparse.csr_matrix, cols: npt.NDArray[np.int64], num_items: int) -> sparse.csr_matrix:
    """Returns the matrix with its columns at other places; what would be at -1 is left out."""
    coo = matrix.tocoo()
    cols_Z = cols[coo.col]
    is_known_Z = cols_Z >= 0
    entries = (coo.data[is_known_Z], (coo.row[is_known_Z], cols_Z[is_known_Z]))
    return sparse.csr_matrix(entries, shape=(matrix.shape[0], num_items))
