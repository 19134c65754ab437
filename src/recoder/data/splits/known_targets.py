"""Targets that a user's history holds already: what a user has is not recommended, so it cannot be found."""

from __future__ import annotations

import logging
from copy import copy

import numpy as np
from scipy import sparse

from recoder.data.splits.results import HeldOut
from recoder.errors import DataTypeError

__all__ = ["not_stored_in", "tell_of_known", "without_known_targets"]

_log = logging.getLogger("recoder.data")


def without_known_targets(held_out: HeldOut) -> HeldOut:
    """Returns the users without targets that are in their histories, and logs how many those were.

    Raises:
        DataTypeError: if they are no held-out users.
    """
    if not isinstance(held_out, HeldOut):
        raise DataTypeError(
            f"valid is a {type(held_out).__name__}; pass held-out users, as in "
            'train, valid, test = interactions.split("strong", seed=7)'
        )
    history, target = held_out.dataset.interactions_matrix, held_out.dataset.target_interactions_matrix
    if target is None:
        return held_out
    left = not_stored_in(history, target)
    if left.nnz == target.nnz:
        return held_out
    tell_of_known(target.nnz - left.nnz, target.nnz)
    dataset = copy(held_out.dataset)
    dataset.target_interactions_matrix = left
    return HeldOut(dataset, held_out.user_ids, held_out.item_ids)


def tell_of_known(number: int, of: int) -> None:
    """Logs how many targets were left out, if any were."""
    if number:
        _log.info("%d of %d interactions to judge by are in the users' histories: left out", number, of)


def not_stored_in(history: sparse.csr_matrix, matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Returns the entries of a matrix that another, the first, does not store."""
    stored = sparse.csr_matrix((np.ones(history.nnz, np.float32), history.indices, history.indptr), history.shape)
    left = sparse.csr_matrix(matrix - matrix.multiply(stored))
    left.eliminate_zeros()
    return left
