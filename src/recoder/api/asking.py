"""Whom to recommend to: from the user's own ids and histories to what a model takes.

Sizes: B users, N items of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from recoder.data import HeldOut, IdMap, Interactions, UsersInteractions
from recoder.errors import DataError, DataTypeError, EmptyDataError, NotInitializedError

__all__ = [
    "Asked",
    "check_histories",
    "chosen_items",
    "from_histories",
    "in_parts",
    "known_places",
    "known_rows",
    "of_known_users",
    "places_of",
    "raw_list",
]

_KINDS = {"exclude": "items of exclude"}
"""What arguments hold whose name does not say so."""


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
    users: Any,
    known: Interactions,
    has_histories: bool,
    *,
    needs_histories: bool,
    unknown: str | None,
    instead: str = "",
) -> Asked:
    """Returns users of the training data.

    Args:
        users: their ids; None: all of them.
        known: ids, and histories if there are any.
        has_histories: whether there are.
        needs_histories: whether the question cannot be answered without.
        unknown: as in ``known_places``.
        instead: what else could be asked without them, such as ``pass histories=...``.

    Raises:
        NotInitializedError: if histories are needed and not there.
        UnknownIdError, ConfigError, DataTypeError: as ``known_places``.
        EmptyDataError: if none is asked for.
    """
    check_histories(has_histories, needs_histories, instead)
    rows = np.arange(known.num_users) if users is None else known_rows(known.user_ids, users, "users", unknown)
    if users is None and not len(rows):
        raise EmptyDataError("there is no known user to answer for")
    ids = known.user_ids.ids.take(pa.array(rows))
    # which may be nobody's
    return Asked(ids, UsersInteractions._of_checked(rows, known.matrix if users is None else known.matrix[rows]))


def in_parts(
    known: Interactions,
    histories: Interactions | None,
    has_histories: bool,
    *,
    needs_histories: bool,
    unknown: str,
    users_at_once: int,
    instead: str,
) -> Iterator[Asked]:
    """Yields all users, so many at a time: those of the training data, or of ``histories``; see ``recommend_to_file``.

    Arguments are as in ``of_known_users``.

    Raises:
        NotInitializedError, UnknownIdError: as ``of_known_users`` and ``from_histories``.
        DataTypeError: if ``histories`` are no ``Interactions``.
    """
    if histories is None:
        check_histories(has_histories, needs_histories, instead)
    elif not isinstance(histories, Interactions):
        raise DataTypeError(f"histories are a {type(histories).__name__}; pass Interactions, which may be mapped")
    all_users = known if histories is None else histories
    for start in range(0, all_users.num_users, users_at_once):
        rows = np.arange(start, min(start + users_at_once, all_users.num_users))
        user_ids = all_users.user_ids.ids.slice(start, len(rows))
        matrix = all_users.matrix[start : start + users_at_once]
        if histories is not None:
            rows, matrix = np.arange(len(rows)), _over(known.item_ids, matrix, histories.item_ids, unknown)
        yield Asked(user_ids, UsersInteractions(rows, matrix))


def check_histories(has_histories: bool, needs_histories: bool, instead: str = "") -> None:
    """Checks that there are histories where a question needs them; arguments are as in ``of_known_users``.

    Raises:
        NotInitializedError: if there are none.
    """
    if needs_histories and not has_histories:
        raise NotInitializedError(
            "this model's file holds no histories of its users, which are needed to answer for them; "
            f"{instead and f'{instead}, or '}save it with interactions=True"
        )


def from_histories(histories: Any, item_ids: IdMap, *, unknown: str | None) -> Asked:
    """Returns users who are described by what they interacted with.

    Args:
        histories: a list of histories, whose users are called 0, 1, ...; a mapping from user id to history;
            ``Interactions``; or held-out users.
        item_ids: of the catalogue.
        unknown: as in ``known_places``.

    Raises:
        DataTypeError: if they are something else.
        DataError: if a weight is not above 0 or not finite, as a float32.
        UnknownIdError, ConfigError: as ``known_places``.
        EmptyDataError: if there is no history.
    """
    if isinstance(histories, HeldOut):
        histories = histories.history
    if isinstance(histories, Interactions):
        return _from_interactions(histories, item_ids, unknown=unknown)
    if isinstance(histories, Mapping):
        user_ids, listed = IdMap(list(histories)).ids, list(histories.values())
    elif nw.dependencies.is_pandas_like_series(histories):  # whose index names the users
        user_ids, listed = IdMap(histories.index.tolist()).ids, histories.tolist()
    else:
        listed = raw_list("histories", histories)
        user_ids = pa.array(np.arange(len(listed)))
    if not listed:
        raise EmptyDataError("histories is empty; pass at least one history")
    items: list[Any] = []
    weights: list[Any] = []
    lengths, counts_once = [], []
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
        counts_once.append(not isinstance(history, Mapping))
    rows_Z = np.repeat(np.arange(len(listed)), lengths)
    cols_Z = places_of(item_ids, items, "items", unknown)
    values_Z = _checked_weights(weights)
    is_wrong_Z = ~(np.isfinite(values_Z) & (values_Z > 0))
    if is_wrong_Z.any():
        first = int(is_wrong_Z.argmax())
        raise DataError(
            f"the history of {user_ids[int(rows_Z[first])].as_py()!r} gives {items[first]!r} the weight "
            f"{weights[first]!r}; a weight is a finite number above 0, as a float32: leave the item out"
        )
    matrix = _summed(rows_Z, cols_Z, values_Z, (len(listed), len(item_ids)))
    matrix.data[np.repeat(counts_once, np.diff(matrix.indptr))] = 1  # an item that a list names twice
    return Asked(user_ids, UsersInteractions(np.arange(len(listed)), matrix))


def _checked_weights(weights: list[Any]) -> npt.NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # a large float64 becomes infinite, which is refused
            values = np.asarray(weights, dtype=np.float32)
        if values.ndim != 1:
            raise ValueError("one is a list")
    except (TypeError, ValueError) as error:
        raise DataTypeError(
            f"a weight of a history is no number ({error}); pass {{item: weight}}, or a list of items"
        ) from error
    return values


def _from_interactions(histories: Interactions, item_ids: IdMap, *, unknown: str | None) -> Asked:
    matrix = _over(item_ids, histories.matrix, histories.item_ids, unknown)
    return Asked(histories.user_ids.ids, UsersInteractions(np.arange(histories.num_users), matrix))


def _over(item_ids: IdMap, matrix: sparse.csr_matrix, its_ids: IdMap, unknown: str | None) -> sparse.csr_matrix:
    """Returns a matrix over the items of the catalogue, without those that are dropped."""
    if its_ids == item_ids:
        return matrix
    coo = matrix.tocoo()
    used = np.unique(coo.col)
    cols_M = np.full(len(its_ids), -1)
    cols_M[used] = places_of(item_ids, its_ids.ids.take(pa.array(used)), "items", unknown)
    return _summed(coo.row, cols_M[coo.col], coo.data, (matrix.shape[0], len(item_ids)))


def _summed(
    rows_Z: npt.NDArray[Any], cols_Z: npt.NDArray[np.int64], values_Z: npt.NDArray[Any], shape: tuple[int, int]
) -> sparse.csr_matrix:
    """Returns the matrix of these entries, without those of column -1."""
    is_known_Z = cols_Z >= 0
    entries = (values_Z[is_known_Z], (rows_Z[is_known_Z], cols_Z[is_known_Z]))
    return sparse.coo_matrix(entries, shape=shape).tocsr()


def chosen_items(item_ids: IdMap, *, candidates: Any, exclude: Any, unknown: str) -> npt.NDArray[np.int64] | None:
    """Returns the columns that may be recommended, ascending; None: all.

    Args:
        item_ids: of the catalogue.
        candidates: ids of the only items to choose from; None: all.
        exclude: ids of items to leave out; None: none.
        unknown: as in ``known_places``.

    Raises:
        UnknownIdError, ConfigError, DataTypeError: as ``known_places``.
        EmptyDataError: if no item is left.
    """
    if candidates is None and exclude is None:
        return None
    is_allowed = np.full(len(item_ids), candidates is None)
    if candidates is not None:
        is_allowed[known_places(item_ids, candidates, "candidates", unknown)] = True
    if exclude is not None:
        is_allowed[known_places(item_ids, exclude, "exclude", unknown)] = False
    if not is_allowed.any():
        raise EmptyDataError("candidates and exclude leave no item to recommend; allow at least one")
    return None if is_allowed.all() else np.flatnonzero(is_allowed)


def raw_list(name: str, ids: Any) -> list[Any]:
    """Returns ids, in a list, an array or a column of a data frame, as Python's own objects.

    Raises:
        DataTypeError: if it is a single id, or none of these.
    """
    if nw.dependencies.is_into_dataframe(ids):
        raise DataTypeError(f"{name} is a data frame; pass one column of it, or recoder.Interactions.from_frame(...)")
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise DataTypeError(f"{name} is a list, not the single {ids!r}; put it into one: [{ids!r}]")
    if isinstance(ids, pa.Array | pa.ChunkedArray):
        return list(ids.to_pylist())
    to_list = getattr(ids, "tolist", None) or getattr(ids, "to_list", None)
    return list(to_list() if to_list is not None else ids)


def known_places(ids: IdMap, asked: Any, name: str, unknown: str | None) -> npt.NDArray[np.int64]:
    """Returns the places of the ids that are known.

    Args:
        ids: those that are.
        asked: a list of ids.
        name: of the argument that it is.
        unknown: ``"error"`` or ``"drop"`` others; None: an error, where the question has no argument ``unknown``.

    Raises:
        UnknownIdError: if one is not known and ``unknown`` is not ``"drop"``.
        ConfigError: if ``unknown`` is something else.
        DataTypeError: if ``asked`` is a single id, or holds something that cannot be one.
    """
    places = places_of(ids, raw_list(name, asked), _KINDS.get(name, name), unknown)
    return places[places >= 0]


def known_rows(ids: IdMap, asked: Any, name: str, unknown: str | None) -> npt.NDArray[np.int64]:
    """Returns what ``known_places`` does.

    Raises:
        UnknownIdError, ConfigError, DataTypeError: as ``known_places``.
        EmptyDataError: if none is asked for.
    """
    listed = raw_list(name, asked)
    if not listed:
        raise EmptyDataError(f"{name} is empty; pass at least one id")
    return known_places(ids, listed, name, unknown)


def places_of(ids: IdMap, asked: Any, kind: str, unknown: str | None) -> npt.NDArray[np.int64]:
    """Returns the place of each id, -1 where it is not known and is dropped; ``unknown`` as in ``known_places``."""
    if unknown is None:
        return ids.places(asked, kind=kind, next_step="pass only known ones")
    return ids.places(asked, unknown, kind=kind)
