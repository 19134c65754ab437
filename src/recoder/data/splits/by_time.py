"""Splits that judge a model by what happened later."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recoder._checks import whole_number
from recoder.data.datasets import RecommendationDataset
from recoder.data.interactions import Interactions
from recoder.data.mapped import item_counts, marks, room
from recoder.data.splits.arguments import checked_fraction, checked_times_of
from recoder.data.splits.random import first_of_rows
from recoder.data.splits.results import HeldOut, HoldoutSplit, JsonValue, Protocol, sizes
from recoder.errors import ConfigError, EmptyDataError

__all__ = ["global_time", "holdout", "leave_last_out"]


def leave_last_out(interactions: Interactions, *, k: int = 1) -> HoldoutSplit:
    """Returns a split that judges by the k latest interactions of each user; training has all the others.

    Of a user's interactions at the same time, those in later columns of the matrix count as later. A user with k
    interactions or fewer keeps them all and has no target. Items that nobody has in training are left out, of the
    target too. To validate as well, split ``split.train`` once more.

    Args:
        interactions: all of them, with times.
        k: how many to take out of each user's.

    Raises:
        ConfigError: if ``k`` is no whole number of at least 1.
        DataError: if the interactions have no times.
        DataTypeError: if ``interactions`` are no ``Interactions``.
        EmptyDataError: if no user has more than ``k``, or none of what was taken out is in the training catalogue.
    """
    times_Z = checked_times_of(interactions)
    k = whole_number("k", k, 1)
    matrix = interactions.matrix
    counts_U = np.diff(matrix.indptr)
    if counts_U.max() <= k:
        raise EmptyDataError(
            f"no user has more than {k} interactions, so nothing could be taken out; the most is {counts_U.max()}: "
            "pass a smaller k"
        )

    def earlier_of(part: sparse.csr_matrix, place: slice) -> npt.NDArray[np.bool_]:
        lengths = np.diff(part.indptr)
        return first_of_rows(part, times_Z[place], np.where(lengths > k, lengths - k, lengths))

    is_train_Z = marks(matrix, earlier_of)
    return holdout(interactions, is_train_Z, {"name": "leave_last_out", "k": k})


def global_time(
    interactions: Interactions, *, time: float | datetime | None = None, fraction: float | None = None
) -> HoldoutSplit:
    """Returns a split at one moment: training has what happened before it, the target what happened from it on.

    Nothing in training is later than what a model is asked for, as in use. Users and items that are seen only from
    the moment on are left out: nothing could be known of them. A user who has nothing from the moment on is trained
    on, and has no target.

    An interaction is a user and an item, at the latest time of the two: what was done before the moment and once more
    later is a target. Where a log holds such repeats and they are to be history, cut it before it is read.

    Args:
        interactions: all of them, with times.
        time: the moment: Unix seconds, or a date-time (UTC where it has no time zone).
        fraction: instead of it, the part of the interactions that is to happen from the moment on, between 0 and 1.
            The moment is that of an interaction; others of the same second go the same way.

    Raises:
        ConfigError: if not just one of ``time`` and ``fraction`` is given, or it is out of range.
        DataError: if the interactions have no times.
        DataTypeError: if ``interactions`` are no ``Interactions``.
        EmptyDataError: if there is nothing before the moment, or nothing to be judged by from it on.
    """
    times_Z = checked_times_of(interactions)
    if (time is None) == (fraction is None):
        raise ConfigError(f"pass either time or fraction, not both or neither: time is {time!r}, fraction {fraction!r}")
    if time is None:
        fraction = checked_fraction("fraction", fraction)  # type: ignore[arg-type]  # one of them is given
        place = min(math.floor((1 - fraction) * len(times_Z) + 0.5), len(times_Z) - 1)
        ordered_Z = room(times_Z, len(times_Z), np.int64)
        ordered_Z[:] = times_Z
        ordered_Z.partition(place)
        moment = int(ordered_Z[place])
    else:
        moment = _whole_second(time)
    is_train_Z = marks(interactions.matrix, lambda _, place: times_Z[place] < moment)
    if not is_train_Z.any():
        raise EmptyDataError(
            f"nothing happened before {moment}; the first interaction is at {times_Z.min()}: split later"
        )
    if is_train_Z.all():
        raise EmptyDataError(
            f"nothing happened from {moment} on; the last interaction is at {times_Z.max()}: split earlier"
        )
    return holdout(interactions, is_train_Z, {"name": "global_time", "time": moment, "fraction": fraction})


def holdout(
    interactions: Interactions, is_train_Z: npt.NDArray[np.bool_], made_by: Mapping[str, JsonValue]
) -> HoldoutSplit:
    """Returns the split that trains on the marked interactions, over the users and items that these have.

    Raises:
        EmptyDataError: if nothing else is left to be judged by.
    """
    marked = interactions.select_interactions(is_train_Z)
    users = np.flatnonzero(np.diff(marked.matrix.indptr))
    items = np.flatnonzero(item_counts(marked.matrix))
    train = marked.select_users(users).select_items(items)
    others = interactions.select_interactions(marks(interactions.matrix, lambda _, place: ~is_train_Z[place]))
    target = others.select_users(users).select_items(items).matrix
    if not target.nnz:
        raise EmptyDataError(
            f"none of the {others.matrix.nnz} interactions to be judged by is of a user and an item that are in "
            "training; split elsewhere, or filter for more active users and items"
        )
    counts = {"target_interactions": int(target.nnz), "target_users": int((np.diff(target.indptr) > 0).sum())}
    counts |= sizes(train, interactions, num_users=len(users), num_interactions=train.matrix.nnz + target.nnz)
    return HoldoutSplit(
        train=train,
        test=HeldOut(RecommendationDataset(train.matrix, target), train.user_ids, train.item_ids),
        protocol=Protocol(dict(made_by) | counts),
    )


def _whole_second(time: float | datetime) -> int:
    if isinstance(time, datetime):  # in UTC where it has no time zone, as in a column
        time = (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()
    try:
        seconds = math.nan if isinstance(time, bool | str | bytes | np.datetime64) else float(time)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ConfigError(f"time is {time!r}; pass Unix seconds, or a datetime(2015, 1, 1)")
    return math.ceil(seconds)  # times are whole seconds: those before 3.5 are those before 4
