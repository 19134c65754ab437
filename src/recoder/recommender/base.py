"""What a recommender is: users' histories in, ranked items out."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recoder.data.datasets import UsersInteractions
from recoder.errors import DataTypeError, ShapeError

__all__ = ["Histories", "Recommender", "Scorer", "as_lists", "as_table", "merge_histories", "ranked_by"]

Histories = UsersInteractions | list[UsersInteractions]


class Recommender:
    """Base class of recommenders: a subclass implements ``recommend``.

    Attributes:
        num_recommendations: the most items that a user gets; None where there is no such limit.
        preferred_batch_size: users that one call serves best; an evaluator hands over at least as many.
    """

    num_recommendations: int | None = None
    preferred_batch_size: int = 1

    def recommend(self, users_hist: Histories) -> list[list[int]]:
        """Returns the items recommended to each user, best first.

        Args:
            users_hist: the users' interactions: one ``UsersInteractions``, or a list of them, one after the other.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement recommend(users_hist)")

    def ranked(self, users_hist: UsersInteractions) -> npt.NDArray[np.int64]:
        """Returns the same lists as one int64 array ``[B, K]``, K the longest; shorter ones end in -1.

        What the evaluator calls. A recommender that has arrays to begin with overrides it.

        Raises:
            DataTypeError: if ``recommend`` returns something else than whole numbers, such as ids of one's own.
        """
        return as_table(self.recommend(users_hist), type(self).__name__)


class Scorer(Protocol):
    """A model that ranks items for users: all that ``InferenceRecommender`` needs of a ``Recoder``."""

    def ranked(self, users_interactions: UsersInteractions, num_recommendations: int) -> npt.NDArray[np.int64]:
        """Returns the best unseen items of each user, best first: int64 ``[B, K]``, shorter lists end in -1."""
        ...


def ranked_by(of: Any, *arguments: Any) -> npt.NDArray[np.int64]:
    """Returns what ``of.ranked`` does, or ``of.recommend`` where a more derived class has that.

    Who changes the lists of a class has not always thought of its arrays, which evaluators ask for.

    Args:
        of: a recommender, or a model.
        arguments: of these methods.

    Raises:
        DataTypeError: as ``as_table``.
    """
    for made_by in type(of).__mro__:
        if "ranked" in vars(made_by):
            break
        if "recommend" in vars(made_by):
            return as_table(of.recommend(*arguments), type(of).__name__)
    ranked: npt.NDArray[np.int64] = of.ranked(*arguments)
    return ranked


def as_table(lists: list[list[int]], name: str) -> npt.NDArray[np.int64]:
    """Returns lists as one array ``[B, K]``, K the longest; shorter ones end in -1.

    Args:
        lists: items.
        name: of the class whose ``recommend`` returned them.

    Raises:
        DataTypeError: if they hold something else than whole numbers.
    """
    width = max((len(items) for items in lists), default=0)
    table_BK = np.full((len(lists), width), -1, dtype=np.int64)
    for row, items in zip(table_BK, lists, strict=True):
        columns = np.asarray(items)
        if columns.size and columns.dtype.kind not in "iu":
            raise DataTypeError(
                f"{name}.recommend returned {items[0]!r}; items are columns of the matrix: pass whole numbers"
            )
        row[: len(items)] = columns
    return table_BK


def as_lists(ranked_BK: npt.NDArray[np.int64]) -> list[list[int]]:
    """Returns the rows as lists of Python integers, without what is negative."""
    lists: list[list[int]] = _with_shared_integers(ranked_BK).tolist()
    # one by one only where it must be: most rows are full
    for row in np.flatnonzero((ranked_BK < 0).any(axis=1)):
        lists[row] = ranked_BK[row][ranked_BK[row] >= 0].tolist()
    return lists


def _with_shared_integers(ids: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Returns the ids as Python integers, one object for each id: half the time and a third of the memory."""
    highest = int(ids.max(initial=-1))
    if ids.size <= highest:
        return ids
    # the last one stands for -1
    integers = np.append(np.arange(highest + 1), -1).astype(object)
    shared: npt.NDArray[Any] = integers[np.maximum(ids, -1)]
    return shared


def merge_histories(users_hist: Histories) -> UsersInteractions:
    """Returns the histories as one ``UsersInteractions``, in order.

    Raises:
        DataTypeError: if they are something else.
        ShapeError: if they describe different numbers of items, or there are none.
    """
    if isinstance(users_hist, UsersInteractions):
        return users_hist
    # a tuple is what indexing a data set gives, no list of histories
    parts = users_hist if isinstance(users_hist, list) else [users_hist]
    for part in parts:
        if not isinstance(part, UsersInteractions):
            raise DataTypeError(
                f"users_hist is or holds a {type(part).__name__}; pass a recoder.data.UsersInteractions, or a list of "
                "them. (An item of a data set is a pair, (input, target): pass its first part)"
            )
    widths = {part.interactions_matrix.shape[1] for part in parts}
    if len(widths) != 1:
        raise ShapeError(
            f"users_hist describes {sorted(widths) or 'no'} items; "
            "pass at least one UsersInteractions, all over the same catalogue"
        )
    merged = UsersInteractions(
        users=np.concatenate([part.users for part in parts]),
        interactions_matrix=sparse.vstack([part.interactions_matrix for part in parts], format="csr"),
    )
    merged.are_training_users = all(part.are_training_users for part in parts)
    return merged
