"""Test users, over the items that a model knows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from recoder.api.asking import from_histories, places_of
from recoder.data import HeldOut, IdMap, Interactions, RecommendationDataset
from recoder.data.mapped import item_counts
from recoder.data.splits.known_targets import not_stored_in, tell_of_known, without_known_targets
from recoder.errors import DataTypeError, EmptyDataError, NotInitializedError
from recoder.metrics import NDCG, Metric, Recall

__all__ = ["DEFAULT_METRICS", "aligned"]

IntArray = npt.NDArray[np.int64]

DEFAULT_METRICS: tuple[Metric, ...] = (Recall(20), Recall(50), NDCG(100))


def aligned(
    test: HeldOut | Interactions,
    known: Interactions,
    *,
    has_histories: bool,
    looks_users_up: bool,
    unknown: str | None,
) -> tuple[HeldOut, IntArray | None]:
    """Returns test users whose columns are those of the model, and their rows in training if it looks users up.

    Args:
        test: as in ``FittedModel.evaluate``.
        known: the model's ids, and histories if there are any.
        has_histories: whether there are.
        looks_users_up: whether the model knows no users but those in training.
        unknown: as in ``FittedModel.evaluate``; None: an error, where there is no such argument.

    Raises:
        DataTypeError: if ``test`` is something else.
        NotInitializedError: if histories are needed and not there.
        UnknownIdError: if users or items are not known and ``unknown`` is not ``"drop"``.
        EmptyDataError: if no user, or no target's item, is known.
    """
    if isinstance(test, HeldOut):
        judged = without_known_targets(_over_items_of(known, test, unknown))
    elif not isinstance(test, Interactions):
        raise DataTypeError(
            f"test is a {type(test).__name__}; pass held-out users, as from interactions.split, or Interactions"
        )
    elif not has_histories:
        raise NotInitializedError(
            "this model's file holds no histories to recommend from; pass held-out users with a history of their own, "
            "or save it with interactions=True"
        )
    else:
        judged = _of_known_users(test, known, unknown)
    return _looked_up(judged, known, unknown) if looks_users_up else (judged, None)


def _over_items_of(known: Interactions, test: HeldOut, unknown: str | None) -> HeldOut:
    if test.item_ids == known.item_ids:
        return test
    matrices = test.dataset.interactions_matrix, test.dataset.target_interactions_matrix
    used = np.flatnonzero(sum(item_counts(matrix) for matrix in matrices if matrix is not None))
    cols = np.full(len(test.item_ids), -1)
    cols[used] = places_of(known.item_ids, test.item_ids.ids.take(pa.array(used)), "items of test users", unknown)
    history, target = (None if matrix is None else _moved(matrix, cols, known.num_items) for matrix in matrices)
    return HeldOut(RecommendationDataset(history, target), test.user_ids, known.item_ids)


def _looked_up(test: HeldOut, known: Interactions, unknown: str | None) -> tuple[HeldOut, IntArray]:
    """Returns the users who were in training, and their rows there."""
    rows_U = places_of(known.user_ids, test.user_ids.ids, "test users", unknown)
    kept = np.flatnonzero(rows_U >= 0)
    if not len(kept):
        raise EmptyDataError("the model looks users up, and none of test was in training; judge it by users who were")
    if len(kept) == len(rows_U):
        return test, rows_U
    matrices = test.dataset.interactions_matrix, test.dataset.target_interactions_matrix
    dataset = RecommendationDataset(*(None if matrix is None else matrix[kept] for matrix in matrices))
    return HeldOut(dataset, IdMap(test.user_ids.ids.take(pa.array(kept))), test.item_ids), rows_U[kept]


def _of_known_users(test: Interactions, known: Interactions, unknown: str | None) -> HeldOut:
    rows_U = places_of(known.user_ids, test.user_ids.ids, "test users", unknown)
    rows = rows_U[rows_U >= 0]
    if not len(rows):
        raise EmptyDataError("no user of test is known to the model; pass held-out users with histories of their own")
    asked = from_histories(test, known.item_ids, unknown="drop").users.interactions_matrix[rows_U >= 0]
    if not asked.nnz:
        raise EmptyDataError("no item of test is known to the model, so nothing could be found")
    history = known.matrix[rows]
    target = not_stored_in(history, asked)
    if not target.nnz:
        raise EmptyDataError(
            "the users of test have all of its items in their histories, and what they have is not recommended; pass "
            "interactions that the model was not trained on"
        )
    tell_of_known(asked.nnz - target.nnz, asked.nnz)
    return HeldOut(RecommendationDataset(history, target), IdMap(known.user_ids.ids.take(rows)), known.item_ids)


def _moved(matrix: sparse.csr_matrix, cols: npt.NDArray[np.int64], num_items: int) -> sparse.csr_matrix:
    """Returns the matrix with its columns at other places; what would be at -1 is left out."""
    coo = matrix.tocoo()
    cols_Z = cols[coo.col]
    is_known_Z = cols_Z >= 0
    entries = (coo.data[is_known_Z], (coo.row[is_known_Z], cols_Z[is_known_Z]))
    return sparse.csr_matrix(entries, shape=(matrix.shape[0], num_items))
