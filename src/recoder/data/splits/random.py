"""Holding out a random part of each user's interactions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recoder._checks import whole_number
from recoder._random import derive_seed
from recoder.data.datasets import RecommendationDataset
from recoder.data.interactions import Interactions
from recoder.data.mapped import item_counts, marks
from recoder.data.matrices import keep_entries
from recoder.data.splits.arguments import checked_fraction, checked_interactions
from recoder.data.splits.results import HeldOut, HoldoutSplit, Protocol, sizes
from recoder.errors import EmptyDataError

__all__ = ["first_of_rows", "kept_at_random", "random_holdout"]


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
    target, _ = keep_entries(matrix, marks(matrix, lambda _, place: ~is_train_Z[place]))
    if not target.nnz:
        raise EmptyDataError(
            f"none of the {interactions.num_users} users has two interactions or more, so nothing could be taken out; "
            "filter for more active users"
        )
    is_untrained = item_counts(train.matrix) == 0
    protocol: dict[str, str | int | float | None] = {
        "name": "random_holdout",
        "seed": seed,
        "fraction": fraction,
        "target_interactions": int(target.nnz),
        "untrained_targets": int(item_counts(target)[is_untrained].sum()),
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
    generator = np.random.Generator(np.random.Philox(seed))

    def kept_of(part: sparse.csr_matrix, _: slice) -> npt.NDArray[np.bool_]:
        counts_U = np.diff(part.indptr)
        num_kept_U = np.clip(np.floor(keep * counts_U + 0.5), np.minimum(counts_U, 1), np.maximum(counts_U - 1, 1))
        return first_of_rows(part, generator.random(part.nnz), num_kept_U)

    return marks(matrix, kept_of)


def first_of_rows(
    matrix: sparse.csr_matrix, keys_Z: npt.NDArray[Any], num_U: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    """Returns marks on the entries of each row with the smallest keys, so many of them: bool ``[Z]``."""
    row_Z = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    # a stable sort: rows stay together, and of equal keys those in earlier columns come first
    order_Z = np.lexsort((keys_Z, row_Z))
    is_first_Z = np.empty(matrix.nnz, dtype=bool)
    is_first_Z[order_Z] = np.arange(matrix.nnz) - matrix.indptr[row_Z] < num_U[row_Z]
    return is_first_Z
