"""Holding out a random part of each user's interactions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recoder._checks import whole_number
from recoder._random import derive_seed
from recoder.data.datasets import RecommendationDataset
from recoder.data.interactions import Interactions
from recoder.data.matrices import keep_entries
from recoder.data.splits.arguments import checked_fraction, checked_interactions
from recoder.data.splits.results import HeldOut, HoldoutSplit, Protocol, sizes
from recoder.errors import EmptyDataError

__all__ = ["kept_at_random", "random_holdout"]


def random_holdout(interactions: Interactions, *, fraction: float = 0.2, seed: int) -> HoldoutSplit:
    """Returns training interactions, and a data set whose target is what was taken out of them.

    For models that cannot recommend to users they never saw. Users and items stay as they are, so an item may be
    asked for that has no interaction left in training; the protocol counts those in ``untrained_targets``.

    Args:
        interactions: all of them.
        fraction: the part of each user's interactions to take out, between 0 and 1; rounded to the nearest
            number of interactions, at least one and not all. A user with a single interaction keeps it.
        seed: the same seed gives the same split.

    Raises:
        ConfigError: if ``fraction`` is not between 0 and 1, or ``seed`` no whole number of at least 0.
        DataTypeError: if ``interactions`` are no ``Interactions``.
        EmptyDataError: if no user has two interactions.
    """
    checked_interactions(interactions)
    fraction = checked_fraction("fraction", fraction)
    seed = whole_number("seed", seed, 0)
    matrix = interactions.matrix
    is_train_Z = kept_at_random(matrix, 1 - fraction, derive_seed(seed, "split/holdout"))
    train = interactions.select_interactions(is_train_Z)
    target = keep_entries(matrix, ~is_train_Z)
    if not target.nnz:
        raise EmptyDataError(
            f"none of the {interactions.num_users} users has two interactions or more, so nothing could be taken out; "
            "filter for more active users"
        )
    is_trained = np.bincount(train.matrix.indices, minlength=train.num_items) > 0
    protocol: dict[str, str | int | float | None] = {
        "name": "random_holdout",
        "seed": seed,
        "fraction": fraction,
        "target_interactions": int(target.nnz),
        "untrained_targets": int((~is_trained[target.indices]).sum()),
    }
    everything = sizes(train, interactions, num_users=train.num_users, num_interactions=int(matrix.nnz))
    return HoldoutSplit(
        train=train,
        test=HeldOut(RecommendationDataset(train.matrix, target), train.user_ids, train.item_ids),
        protocol=Protocol(protocol | everything),
    )


def kept_at_random(matrix: sparse.csr_matrix, keep: float, seed: int) -> npt.NDArray[np.bool_]:
    """Returns marks on a random part ``keep`` of each row's entries: bool ``[Z]``.

    Of two or more entries, some are marked and some not; a single one is.
    """
    counts_U = np.diff(matrix.indptr)
    num_kept_U = np.clip(np.floor(keep * counts_U + 0.5), np.minimum(counts_U, 1), np.maximum(counts_U - 1, 1))
    row_Z = np.repeat(np.arange(matrix.shape[0]), counts_U)
    key_Z = np.random.Generator(np.random.Philox(seed)).random(matrix.nnz)
    order_Z = np.lexsort((key_Z, row_Z))  # rows stay together, each in random order
    is_kept_Z = np.empty(matrix.nnz, dtype=bool)
    is_kept_Z[order_Z] = np.arange(matrix.nnz) - matrix.indptr[row_Z] < num_kept_U[row_Z]
    return is_kept_Z
