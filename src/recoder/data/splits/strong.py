"""Holding out users, who are judged by how well a part of their interactions predicts the rest."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from recoder._checks import whole_number
from recoder._random import derive_seed
from recoder.data.datasets import RecommendationDataset
from recoder.data.id_map import IdMap
from recoder.data.interactions import Interactions
from recoder.data.mapped import item_counts, marks, row_blocks, row_groups
from recoder.data.matrices import keep_entries, rows_and_columns
from recoder.data.splits.arguments import checked_fraction, checked_interactions, number_of_users
from recoder.data.splits.random import kept_at_random
from recoder.data.splits.results import HeldOut, Protocol, StrongSplit, sizes
from recoder.errors import ConfigError

__all__ = ["held_out_groups", "strong_generalization"]

Rows = npt.NDArray[np.int64]


def strong_generalization(
    interactions: Interactions,
    *,
    num_valid_users: float,
    num_test_users: float,
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
        num_valid_users: how many users to hold out for validation: a number of at least 1, or a fraction of all
            users between 0 and 1.
        num_test_users: how many users to hold out for the test, likewise.
        fold_in: the part of a held-out user's interactions that is history, between 0 and 1; rounded to the
            nearest number of interactions, at least one and not all. The rest is the target.
        seed: the same seed gives the same split.
        min_interactions: only users with as many, at least 2, can be held out.

    Raises:
        ConfigError: if an argument is out of range or there are not enough users who can be held out.
        DataTypeError: if ``interactions`` are no ``Interactions``.
    """
    wanted = {"valid": num_valid_users, "test": num_test_users}
    train, parts, protocol = held_out_groups(
        interactions, wanted, fold_in=fold_in, seed=seed, min_interactions=min_interactions
    )
    return StrongSplit(train=train, **parts, protocol=protocol)


def held_out_groups(
    interactions: Interactions,
    num_users: Mapping[str, float],
    *,
    fold_in: float = 0.8,
    seed: int,
    min_interactions: int = 2,
) -> tuple[Interactions, dict[str, HeldOut], Protocol]:
    """Returns training interactions, groups of users to judge by, and how they were made.

    Args:
        interactions: as in ``strong_generalization``, like the others.
        num_users: of each group, by its name.
        fold_in: the part of a held-out user's interactions that is history.
        seed: of the draw.
        min_interactions: of a user who can be held out.

    Raises:
        ConfigError, DataTypeError: as ``strong_generalization``.
    """
    checked_interactions(interactions)
    fold_in = checked_fraction("fold_in", fold_in)
    sizes_of = {
        name: number_of_users(f"num_{name}_users", number, interactions.num_users) for name, number in num_users.items()
    }
    min_interactions = whole_number("min_interactions", min_interactions, 2)
    seed = whole_number("seed", seed, 0)

    held, seen_items = _choose_users(
        interactions.matrix, sum(sizes_of.values()), min_interactions, derive_seed(seed, "split/users")
    )
    train_rows = np.setdiff1d(np.arange(interactions.num_users), held)
    train = interactions.select_users(train_rows).select_items(seen_items)
    ends = list(accumulate(sizes_of.values()))
    groups = {
        name: _hold_out(
            interactions,
            np.sort(held[end - sizes_of[name] : end]),
            train.item_ids,
            seen_items,
            fold_in,
            derive_seed(seed, f"split/{name}"),
        )
        for name, end in zip(sizes_of, ends, strict=True)
    }
    protocol: dict[str, str | int | float | None] = {
        "name": "strong_generalization",
        "seed": seed,
        **{f"num_{name}_users": number for name, number in sizes_of.items()},
        "fold_in": fold_in,
        "min_interactions": min_interactions,
    }
    kept = int(item_counts(interactions.matrix)[seen_items].sum())
    counts = sizes(train, interactions, num_users=interactions.num_users, num_interactions=kept)
    return train, groups, Protocol(protocol | counts)


def _choose_users(matrix: sparse.csr_matrix, wanted: int, least: int, seed: int) -> tuple[Rows, Rows]:
    """Returns the rows to hold out, in random order, and the columns that the other rows hold."""
    num_users = matrix.shape[0]
    counts_N = item_counts(matrix)
    eligible = np.flatnonzero(_count(matrix, counts_N > 1) >= least)
    drawn = np.random.Generator(np.random.Philox(seed)).permutation(eligible)
    while wanted <= len(drawn) and wanted < num_users:
        held = drawn[:wanted]
        is_seen = counts_N > item_counts(matrix, np.sort(held))
        counts = np.concatenate([_count(matrix[group], is_seen) for group in row_groups(matrix, held)])
        short = np.flatnonzero(counts < least)
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
    counts = []
    for _, part in row_blocks(matrix):
        marks_Z = np.concatenate([[0], np.cumsum(is_counted_N[part.indices])])
        counts.append(np.diff(marks_Z[part.indptr]))
    return np.concatenate(counts)


def _hold_out(
    interactions: Interactions, rows: Rows, item_ids: IdMap, items: Rows, fold_in: float, seed: int
) -> HeldOut:
    matrix, _ = rows_and_columns(interactions.matrix, rows, items)
    is_history_Z = kept_at_random(matrix, fold_in, seed)
    history, _ = keep_entries(matrix, is_history_Z)
    target, _ = keep_entries(matrix, marks(matrix, lambda _, place: ~is_history_Z[place]))
    user_ids = IdMap(interactions.user_ids.ids.take(pa.array(rows)))
    dataset = RecommendationDataset(history, target)
    dataset.are_training_users = False
    return HeldOut(dataset, user_ids, item_ids)
