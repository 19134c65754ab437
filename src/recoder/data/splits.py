"""Splitting interactions into what a model learns from and what it is judged by.

Every draw is a pure function of the seed, the interactions and the arguments. Sizes: U users, Z interactions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recoder._checks import whole_number
from recoder._random import derive_seed
from recoder.data.datasets import RecommendationDataset
from recoder.data.id_map import IdMap
from recoder.data.interactions import Interactions
from recoder.errors import ConfigError, DataTypeError

__all__ = ["HeldOut", "StrongSplit", "random_holdout", "strong_generalization"]

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HeldOut:
    """Users that the model never saw in training.

    Attributes:
        dataset: their history as input and the rest of their interactions as target, over the training
            catalogue.
        user_ids: the raw ids of its rows.
    """

    dataset: RecommendationDataset
    user_ids: IdMap


@dataclass(frozen=True)
class StrongSplit:
    """Training users, and users to validate and to test with; no user is in two of them.

    Attributes:
        train: all the interactions of the training users; its items are the catalogue of the other two.
        valid: users to choose settings by.
        test: users to report results on.
    """

    train: Interactions
    valid: HeldOut
    test: HeldOut


def strong_generalization(
    interactions: Interactions,
    *,
    num_valid_users: int,
    num_test_users: int,
    fold_in: float = 0.8,
    seed: int,
    min_interactions: int = 2,
) -> StrongSplit:
    """Returns a split by users, who are judged by how well a part of their interactions predicts the rest.

    The protocol of Liang et al. 2018 (arXiv:1802.05814). Items that no training user interacted with are left
    out everywhere, so nothing is known of them in training and nothing is asked about them later. Users who
    would be left with fewer than ``min_interactions`` by this are trained on instead, and others drawn in
    their place.

    Args:
        interactions: all of them.
        num_valid_users: how many users to hold out for validation, at least 1.
        num_test_users: how many users to hold out for the test, at least 1.
        fold_in: the part of a held-out user's interactions that is history, between 0 and 1; rounded to the
            nearest number of interactions, at least one and not all. The rest is the target.
        seed: the same seed gives the same split.
        min_interactions: only users with as many, at least 2, can be held out.

    Raises:
        ConfigError: if an argument is out of range or there are not enough users who can be held out.
        DataTypeError: if ``interactions`` are no ``Interactions``.
    """
    _check_interactions(interactions)
    _check_fraction("fold_in", fold_in)
    num_valid_users = whole_number("num_valid_users", num_valid_users, 1)
    num_test_users = whole_number("num_test_users", num_test_users, 1)
    min_interactions = whole_number("min_interactions", min_interactions, 2)
    seed = whole_number("seed", seed, 0)

    held, seen_items = _choose_users(
        interactions.matrix,
        num_valid_users + num_test_users,
        min_interactions,
        derive_seed(seed, "split/users"),
    )
    train_rows = np.setdiff1d(np.arange(interactions.num_users), held)
    train = interactions.select_users(train_rows).select_items(seen_items)
    valid, test = np.sort(held[:num_valid_users]), np.sort(held[num_valid_users:])
    return StrongSplit(
        train=train,
        valid=_hold_out(interactions, valid, seen_items, fold_in, derive_seed(seed, "split/valid")),
        test=_hold_out(interactions, test, seen_items, fold_in, derive_seed(seed, "split/test")),
    )


def random_holdout(
    interactions: Interactions, *, fraction: float = 0.2, seed: int
) -> tuple[sparse.csr_matrix, RecommendationDataset]:
    """Returns a training matrix, and a data set whose target is what was taken out of it.

    For models that cannot recommend to users they never saw. Users and items stay as they are; the data set's
    input is the training matrix.

    Args:
        interactions: all of them.
        fraction: the part of each user's interactions to take out, between 0 and 1; rounded to the nearest
            number of interactions, at least one and not all. A user with a single interaction keeps it.
        seed: the same seed gives the same split.

    Raises:
        ConfigError: if ``fraction`` is not between 0 and 1, or ``seed`` no whole number of at least 0.
        DataTypeError: if ``interactions`` are no ``Interactions``.
    """
    _check_interactions(interactions)
    _check_fraction("fraction", fraction)
    seed = whole_number("seed", seed, 0)
    train, target = _split_rows(interactions.matrix, 1 - fraction, derive_seed(seed, "split/holdout"))
    return train, RecommendationDataset(train, target)


def _check_interactions(interactions: Interactions) -> None:
    if not isinstance(interactions, Interactions):
        raise DataTypeError(
            f"interactions must be recoder.data.Interactions, not {type(interactions).__name__}; "
            "wrap a matrix in Interactions.from_matrix(matrix)"
        )


def _check_fraction(name: str, value: float) -> None:
    try:
        fits = 0 < value < 1
    except TypeError:
        fits = False
    if not fits:
        raise ConfigError(f"{name} is {value!r}; it must be between 0 and 1, and neither")


def _choose_users(matrix: sparse.csr_matrix, wanted: int, least: int, seed: int) -> tuple[Rows, Rows]:
    """Returns the rows to hold out, in random order, and the columns that the other rows hold."""
    num_users, num_items = matrix.shape
    is_shared = np.bincount(matrix.indices, minlength=num_items) > 1
    eligible = np.flatnonzero(_count(matrix, is_shared) >= least)
    drawn = np.random.Generator(np.random.Philox(seed)).permutation(eligible)
    while wanted <= len(drawn) and wanted < num_users:
        held = drawn[:wanted]
        is_train = np.ones(num_users, dtype=bool)
        is_train[held] = False
        is_seen = np.zeros(num_items, dtype=bool)
        is_seen[matrix[is_train].indices] = True
        short = np.flatnonzero(_count(matrix[held], is_seen) < least)
        if not len(short):
            return held, np.flatnonzero(is_seen)
        # a few of these, the last drawn, stay in training for good: that can be all that the others lack
        drawn = np.delete(drawn, short[-max(1, len(short) // 4) :])
    most = min(len(drawn), num_users - 1)
    raise ConfigError(
        f"{wanted} users are to be held out, but only {most} of {num_users} were found that can be: with at "
        f"least {least} interactions with items that training users have too, and not all users; hold out fewer"
    )


def _count(matrix: sparse.csr_matrix, is_counted_N: npt.NDArray[np.bool_]) -> Rows:
    """Returns how many of the marked items each user has: int64 ``[U]``."""
    marks_Z = np.concatenate([[0], np.cumsum(is_counted_N[matrix.indices])])
    return np.diff(marks_Z[matrix.indptr])


def _hold_out(interactions: Interactions, rows: Rows, items: Rows, fold_in: float, seed: int) -> HeldOut:
    history, target = _split_rows(interactions.matrix[rows][:, items], fold_in, seed)
    user_ids = interactions.select_users(rows).user_ids
    return HeldOut(RecommendationDataset(history, target), user_ids)


def _split_rows(matrix: sparse.csr_matrix, keep: float, seed: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Returns a random part ``keep`` of each row's entries, and the rest; both get some of two or more."""
    counts_U = np.diff(matrix.indptr)
    num_kept_U = np.clip(np.floor(keep * counts_U + 0.5), np.minimum(counts_U, 1), np.maximum(counts_U - 1, 1))
    row_Z = np.repeat(np.arange(matrix.shape[0]), counts_U)
    key_Z = np.random.Generator(np.random.Philox(seed)).random(matrix.nnz)
    order_Z = np.lexsort((key_Z, row_Z))  # rows stay together, each in random order
    is_kept_Z = np.empty(matrix.nnz, dtype=bool)
    is_kept_Z[order_Z] = np.arange(matrix.nnz) - matrix.indptr[row_Z] < num_kept_U[row_Z]
    return _only(matrix, is_kept_Z), _only(matrix, ~is_kept_Z)


def _only(matrix: sparse.csr_matrix, is_kept_Z: npt.NDArray[np.bool_]) -> sparse.csr_matrix:
    part: sparse.csr_matrix = matrix.copy()
    part.data[~is_kept_Z] = 0
    part.eliminate_zeros()
    return part
