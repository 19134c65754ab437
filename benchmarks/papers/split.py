"""The split of Liang et al. 2018 (arXiv:1802.05814), draw for draw.

Users are permuted by numpy's legacy generator with seed 98765; the last are held out for the test, those before them
for validation. Of a held-out user with at least 5 items a fifth, rounded down, is what is to be found; the same
generator, seeded anew for each of the two groups, draws it for one user after the other.

Sizes: Z interactions, in the order of the file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recoder.data import RecommendationDataset
from recoder.errors import ConfigError

__all__ = ["Pairs", "PaperSplit", "split_as_liang"]

SEED = 98765
TEST_SHARE = 0.2
LEAST_TO_SPLIT = 5

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Who interacted with what, in the order of the file.

    Attributes:
        users_Z: numbers that ascend as the users' ids do: the permutation is one of the sorted ids.
        items_Z: numbers of the items, in any order.
    """

    users_Z: Codes
    items_Z: Codes

    def where(self, is_kept_Z: npt.NDArray[np.bool_]) -> Pairs:
        """Returns some of the interactions."""
        return Pairs(self.users_Z[is_kept_Z], self.items_Z[is_kept_Z])


@dataclass(frozen=True)
class PaperSplit:
    """What a model learns from, and whom it is judged by; both groups over the items of training.

    Attributes:
        train: the training users' interactions.
        valid, test: held-out users: what is given of them, and what is to be found.
    """

    train: RecommendationDataset
    valid: RecommendationDataset
    test: RecommendationDataset


def split_as_liang(pairs: Pairs, *, num_held_out: int, min_of_user: int, min_of_item: int) -> PaperSplit:
    """Returns the split.

    Args:
        pairs: those that count, such as ratings above 3.5; no pair twice.
        num_held_out: users for validation, and as many for the test.
        min_of_user: interactions that a user must have, counted after the items were chosen.
        min_of_item: users that an item must have.

    Raises:
        ConfigError: if no user would be left to train with.
    """
    pairs = pairs.where(_count_of_own(pairs.items_Z) >= min_of_item)
    pairs = pairs.where(_count_of_own(pairs.users_Z) >= min_of_user)
    ids = np.unique(pairs.users_Z)
    num_train = len(ids) - 2 * num_held_out
    if num_train < 1:
        raise ConfigError(
            f"{num_held_out} users are to be held out twice, but there are {len(ids)} with {min_of_user} interactions; "
            "is the file complete?"
        )
    order = np.random.RandomState(SEED).permutation(len(ids))
    row_of_id = np.empty(len(ids), np.int64)
    row_of_id[order] = np.arange(len(ids))
    rows_Z = row_of_id[np.searchsorted(ids, pairs.users_Z)]
    # items are numbered as they come up in training; what training does not have is left out
    is_train_Z = rows_Z < num_train
    known, first = np.unique(pairs.items_Z[is_train_Z], return_index=True)
    col_of_known = np.empty(len(known), np.int64)
    col_of_known[np.argsort(first)] = np.arange(len(known))
    is_known_Z = np.isin(pairs.items_Z, known)
    rows_Z, users_Z = rows_Z[is_known_Z], pairs.users_Z[is_known_Z]
    cols_Z = col_of_known[np.searchsorted(known, pairs.items_Z[is_known_Z])]

    def group(first_row: int, num_rows: int) -> tuple[Codes, Codes, Codes]:
        is_in_Z = (rows_Z >= first_row) & (rows_Z < first_row + num_rows)
        return users_Z[is_in_Z], rows_Z[is_in_Z] - first_row, cols_Z[is_in_Z]

    _, train_rows, train_cols = group(0, num_train)
    shape = (num_held_out, len(known))
    return PaperSplit(
        train=RecommendationDataset(_ones(train_rows, train_cols, (num_train, len(known)))),
        valid=_held_out(*group(num_train, num_held_out), shape),
        test=_held_out(*group(num_train + num_held_out, num_held_out), shape),
    )


def _held_out(users: Codes, rows: Codes, cols: Codes, shape: tuple[int, int]) -> RecommendationDataset:
    """Returns the histories and targets of a group of users."""
    # one user after the other, in the order of their ids, and of each the interactions in the order of the file
    order = np.argsort(users, kind="stable")
    rows, cols = rows[order], cols[order]
    _, starts, counts = np.unique(users[order], return_index=True, return_counts=True)
    is_target = np.zeros(len(rows), dtype=np.bool_)
    random = np.random.RandomState(SEED)
    # a loop over users: each draw of the legacy generator depends on those before
    for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
        if count >= LEAST_TO_SPLIT:
            is_target[start + random.choice(count, size=int(TEST_SHARE * count), replace=False)] = True
    history, target = (_ones(rows[chosen], cols[chosen], shape) for chosen in (~is_target, is_target))
    return RecommendationDataset(history, target)


def _count_of_own(codes_Z: Codes) -> Codes:
    """Returns for each interaction how many have the same user, or the same item: ``[Z]``."""
    counts: Codes = np.bincount(codes_Z, minlength=1)[codes_Z]
    return counts


def _ones(rows: Codes, cols: Codes, shape: tuple[int, int]) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, cols)), shape=shape)
