"""Held-out users as rows of the training data, for models that look users up by their row."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from recoder.data.datasets import RecommendationDataset
from recoder.data.id_map import IdMap
from recoder.data.interactions import Interactions
from recoder.data.splits.results import HeldOut
from recoder.errors import ShapeError

__all__ = ["validation_rows"]


def validation_rows(valid: HeldOut, train: Interactions, *, folds_in: bool) -> RecommendationDataset:
    """Returns the users that a model in training is validated by, as the rows that it knows them by.

    Args:
        valid: the users.
        train: what the model learns from.
        folds_in: whether the model reads the users' histories; if not, it looks users up by their row.

    Raises:
        ShapeError: if ``valid`` is over other items than ``train``.
        UnknownIdError: if the model looks users up, and one was not in training.
    """
    if valid.item_ids != train.item_ids:
        raise ShapeError("valid is over other items than train; take both from one split")
    return valid.dataset if folds_in else _at_training_rows(valid, train.user_ids)


def _at_training_rows(held_out: HeldOut, user_ids: IdMap) -> RecommendationDataset:
    """Returns held-out users as a data set of all users in training, the others without history and target.

    Args:
        held_out: the users.
        user_ids: of the users in training.

    Raises:
        UnknownIdError: if a user was not in training.
    """
    next_step = "the model looks users up: hold out interactions of the same users, as by split('random')"
    rows = user_ids.places(held_out.user_ids.ids, kind="held-out users", next_step=next_step)
    order = np.argsort(rows)

    def spread(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
        ordered = matrix[order]
        lengths = np.zeros(len(user_ids), np.int64)
        lengths[rows[order]] = np.diff(ordered.indptr)
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        return sparse.csr_matrix((ordered.data, ordered.indices, indptr), shape=(len(user_ids), matrix.shape[1]))

    matrices = held_out.dataset.interactions_matrix, held_out.dataset.target_interactions_matrix
    return RecommendationDataset(*(None if matrix is None else spread(matrix) for matrix in matrices))
