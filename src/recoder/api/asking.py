"""Whom to recommend to: from the user's own ids and histories to what a model takes.

Sizes: B users, N items of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from recoder.data import IdMap, Interactions, UsersInteractions
from recoder.errors import ConfigError, DataTypeError, EmptyDataError, NotInitializedError

__all__ = ["Asked", "History", "chosen_items", "from_histories", "known_rows", "of_known_users", "raw_list"]

History = Iterable[Any] | Mapping[Any, float]
"""Item ids, each once; or item ids and their weights."""


@dataclass(frozen=True, eq=False)
class Asked:
    """The users of a question.

    Attributes:
        user_ids: Arrow array ``[B]``: what to call them in the answer.
        users: their rows in training, and their interactions ``[B, N]``.
    """

    user_ids: pa.Array
    users: UsersInteractions


def of_known_users(
    users: Any, known: Interactions, has_histories: bool, *, needs_histories: bool, unknown: str
) -> Asked:
    """Returns users of the training data.

    Args:
        users: their ids; None: all of them.
        known: ids, and histories if there are any.
        has_histories: whether there are.
        needs_histories: whether the question cannot be answered without.
        unknown: ``"error"`` or ``"drop"`` ids that are not known.

    Raises:
        NotInitializedError: if histories are needed and not there.
        UnknownIdError: if an id is not known and ``unknown`` is ``"error"``.
        EmptyDataError: if there is no user.
    """
    if needs_histories and not has_histories:
        raise NotInitializedError(
            "this model's file holds no histories of its users, so users= cannot be answered; pass "
            "histories=[[item, ...], ...], or save it with interactions=True"
        )
    rows = np.arange(known.num_users) if users is None else known.user_ids.indices(raw_list("users", users), unknown)
    if not len(rows):
        raise EmptyDataError("there is no known user to answer for; pass at least one")
    ids = known.user_ids.ids.take(pa.array(rows))
    return Asked(ids, UsersInteractions(rows, known.matrix[rows]))


def from_histories(histories: Any, item_ids: IdMap, *, unknown: str) -> Asked:
    """Returns users who are described by what they interacted with.

    Args:
        histories: a list of histories, whose users are called 0, 1, ...; a mapping from user id to history; or
            ``Interactions``.
        item_ids: of the catalogue.
        unknown: ``"error"`` or ``"drop"`` items that are not in it.

    Raises:
        DataTypeError: if they are something else.
        DataError: if a weight is negative or not finite.
        UnknownIdError: if an item is not known and ``unknown`` is ``"error"``.
        EmptyDataError: if there is no history.
    """
    if isinstance(histories, Interactions):
        return _from_interactions(histories, item_ids, unknown=unknown)
    if isinstance(histories, Mapping):
        user_ids, listed = IdMap(list(histories)).ids, list(histories.values())
    else:
        listed = raw_list("histories", histories)
        user_ids = pa.array(np.arange(len(listed)))
    if not listed:
        raise EmptyDataError("histories is empty; pass at least one history")
    items: list[Any] = []
    weights: list[Any] = []
    lengths = []
    for history in listed:
        if isinstance(history, str | bytes) or not isinstance(history, Iterable):
            raise DataTypeError(
                f"a history is a list of item ids, or a dict from item id to weight, not {history!r}; "
                "for one user pass histories=[[item, ...]]"
            )
        own = list(history) if isinstance(history, Mapping) else raw_list("a history", history)
        items += own
        weights += list(history.values()) if isinstance(history, Mapping) else [1.0] * len(own)
        lengths.append(len(own))
    rows_Z = np.repeat(np.arange(len(listed)), lengths)
    cols_Z = _cols(items, item_ids, unknown)
    try:
        values_Z = np.asarray(weights, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataTypeError(f"weights of a history are numbers ({error})") from error
    return Asked(user_ids, _users(rows_Z, cols_Z, values_Z, (len(listed), len(item_ids))))


def _from_interactions(histories: Interactions, item_ids: IdMap, *, unknown: str) -> Asked:
    coo = histories.matrix.tocoo()
    cols_M = _cols(histories.item_ids.ids.to_pylist(), item_ids, unknown)
    shape = (histories.num_users, len(item_ids))
    return Asked(histories.user_ids.ids, _users(coo.row, cols_M[coo.col], coo.data, shape))


def _cols(items: Sequence[Any], item_ids: IdMap, unknown: str) -> npt.NDArray[np.int64]:
    """Returns the columns of these items, -1 where one is not known and that is allowed."""
    if unknown == "error":
        return item_ids.indices(items)
    if unknown != "drop":
        raise ConfigError(f'unknown is {unknown!r}; it must be "error" or "drop"')
    is_known = np.fromiter((item in item_ids for item in items), bool, len(items))
    cols = np.full(len(items), -1, dtype=np.int64)
    cols[is_known] = item_ids.indices(items, unknown="drop")
    return cols


def _users(
    rows_Z: npt.NDArray[Any], cols_Z: npt.NDArray[np.int64], values_Z: npt.NDArray[Any], shape: tuple[int, int]
) -> UsersInteractions:
    is_known_Z = cols_Z >= 0
    entries = (values_Z[is_known_Z], (rows_Z[is_known_Z], cols_Z[is_known_Z]))
    counted = sparse.coo_matrix(entries, shape=shape).tocsr()
    is_plain = bool((values_Z == 1).all())
    if is_plain:
        counted.data[:] = 1  # an item that a history names twice
    return UsersInteractions(np.arange(shape[0]), counted)


def chosen_items(item_ids: IdMap, *, candidates: Any, exclude: Any, unknown: str) -> npt.NDArray[np.int64] | None:
    """Returns the columns that may be recommended, ascending; None: all.

    Args:
        item_ids: of the catalogue.
        candidates: ids of the only items to choose from; None: all.
        exclude: ids of items to leave out; None: none.
        unknown: ``"error"`` or ``"drop"`` ids that are not known.

    Raises:
        UnknownIdError: if an id is not known and ``unknown`` is ``"error"``.
        EmptyDataError: if no item is left.
    """
    if candidates is None and exclude is None:
        return None
    allowed = np.arange(len(item_ids))
    if candidates is not None:
        allowed = np.unique(item_ids.indices(raw_list("candidates", candidates), unknown))
    if exclude is not None:
        allowed = np.setdiff1d(allowed, item_ids.indices(raw_list("exclude", exclude), unknown))
    if not len(allowed):
        raise EmptyDataError("candidates and exclude leave no item to recommend; allow at least one")
    return allowed


def raw_list(name: str, ids: Any) -> list[Any]:
    """Returns ids, in a list, an array or a column of a data frame, as Python's own objects.

    Raises:
        DataTypeError: if it is a single id, or none of these.
    """
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise DataTypeError(f"{name} is a list, not the single {ids!r}; put it into one: [{ids!r}]")
    if isinstance(ids, pa.Array | pa.ChunkedArray):
        return list(ids.to_pylist())
    to_list = getattr(ids, "tolist", None) or getattr(ids, "to_list", None)
    return list(to_list() if to_list is not None else ids)


def known_rows(ids: IdMap, asked: Any, name: str, unknown: str) -> npt.NDArray[np.int64]:
    """Returns the places of ids.

    Raises:
        UnknownIdError: if one is not known and ``unknown`` is ``"error"``.
        EmptyDataError: if none is left.
    """
    rows = ids.indices(raw_list(name, asked), unknown)
    if not len(rows):
        raise EmptyDataError(f"{name} holds nothing that is known; pass at least one id")
    return rows
