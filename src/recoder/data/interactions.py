"""Interactions in the user's own ids, with the items' titles."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from narwhals.typing import IntoFrame
from scipy import sparse

from recoder.data.frames import csr_from_pairs, number_columns, read_columns, read_weights, sum_pairs
from recoder.data.id_map import IdMap
from recoder.data.matrices import canonical_csr
from recoder.data.raw_ids import Codes, plain_ids
from recoder.errors import DataTypeError, EmptyDataError, ShapeError, UnknownIdError

__all__ = ["Interactions"]

_log = logging.getLogger("recoder.data")


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """Who interacted with what, and how much. It never changes: every method returns new interactions.

    Attributes:
        matrix: float32 CSR ``[U, N]``; any scipy sparse matrix may be passed and is converted.
        user_ids: the raw ids of the U rows.
        item_ids: the raw ids of the N columns.
        titles: what to call each of the N items, or None.

    Raises:
        ShapeError: if ids or titles are not as many as rows or columns.
        DataError, DataTypeError: if the matrix cannot be used; see ``UsersInteractions``.
    """

    matrix: sparse.csr_matrix
    user_ids: IdMap
    item_ids: IdMap
    titles: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        matrix = canonical_csr(self.matrix, "matrix")
        object.__setattr__(self, "matrix", matrix)
        sizes = [("user_ids", len(self.user_ids), 0), ("item_ids", len(self.item_ids), 1)]
        if self.titles is not None:
            object.__setattr__(self, "titles", _titles(self.titles))
            sizes.append(("titles", len(self.titles), 1))
        for name, size, axis in sizes:
            if size != matrix.shape[axis]:
                raise ShapeError(
                    f"there are {size} {name} but the matrix has {matrix.shape[axis]} "
                    f"{('rows', 'columns')[axis]}; pass one for each"
                )

    @classmethod
    def from_frame(
        cls, frame: IntoFrame, *, user: str, item: str, weight: str | None = None, title: str | None = None
    ) -> Interactions:
        """Returns the interactions in a data frame; users and items in order of first appearance.

        Args:
            frame: one row per interaction; any data frame that narwhals reads (pandas, polars, pyarrow, ...).
                A lazy one is collected.
            user: the column of user ids: whole numbers or strings.
            item: the column of item ids, likewise.
            weight: the column of weights, finite and not negative; those of a repeated pair are added up, and
                a warning counts them. None: what is in the frame counts 1, however often it stands there.
            title: the column of item titles; an item has that of its first row, or where that is missing its id.

        Raises:
            ConfigError: if a column does not exist.
            EmptyDataError: if there are no rows.
            DataError: if a value is missing, or a weight infinite or negative.
            DataTypeError: if it is no data frame, or a column has the wrong type.
        """
        names = [name for name in (user, item, weight, title) if name is not None]
        columns = read_columns(frame, names, may_miss=title)
        (users, user_ids), (items, item_ids) = number_columns(columns, [user, item])
        shape = (len(user_ids), len(item_ids))
        if weight is None:
            matrix = _presence(users, items, shape)
        else:
            matrix = sum_pairs(users, items, read_weights(columns[weight], weight), shape)
        titles = None if title is None else _first_titles(columns[title], title, items, item_ids)
        return cls(matrix, IdMap(user_ids), IdMap(item_ids), titles)

    @classmethod
    def from_matrix(cls, matrix: Any, titles: Iterable[str] | None = None) -> Interactions:
        """Returns the interactions in a scipy sparse matrix; its row and column numbers are the ids."""
        csr = canonical_csr(matrix, "matrix")
        ids = [IdMap(np.arange(size)) for size in csr.shape]
        return cls(csr, ids[0], ids[1], None if titles is None else _titles(titles))

    @property
    def num_users(self) -> int:
        """U."""
        return int(self.matrix.shape[0])

    @property
    def num_items(self) -> int:
        """N."""
        return int(self.matrix.shape[1])

    def filter(self, *, min_weight: float) -> Interactions:
        """Returns the interactions of at least this weight.

        Users and items that are left without any stay; ``drop_empty`` drops them.

        Raises:
            EmptyDataError: if none is left.
        """
        kept = self.matrix.copy()
        kept.data[kept.data < min_weight] = 0
        kept.eliminate_zeros()
        if not kept.nnz:
            largest = self.matrix.data.max(initial=0)
            raise EmptyDataError(f"no interaction has a weight of {min_weight} or more; the largest is {largest:g}")
        return replace(self, matrix=kept)

    def binarize(self) -> Interactions:
        """Returns the same interactions, each of weight 1."""
        ones = self.matrix.copy()
        ones.data[:] = 1
        return replace(self, matrix=ones)

    def drop_empty(self) -> Interactions:
        """Returns the interactions without the users and the items that have none.

        Raises:
            EmptyDataError: if there are no interactions.
        """
        if not self.matrix.nnz:
            raise EmptyDataError(f"none of the {self.num_users} users has an interaction: nothing would be left")
        has_users = np.flatnonzero(np.diff(self.matrix.indptr))
        return self.select_users(has_users).select_items(np.unique(self.matrix.indices))

    def select_users(self, rows: npt.NDArray[np.int64]) -> Interactions:
        """Returns the users at these rows, in this order, over the same items.

        Raises:
            DataTypeError: if the rows are not whole numbers.
            UnknownIdError: if there is no such row.
        """
        rows = _positions("row", rows, self.num_users, "users")
        return replace(
            self, matrix=self.matrix[rows], user_ids=IdMap(self.user_ids.ids.take(pa.array(rows, pa.int64())))
        )

    def select_items(self, cols: npt.NDArray[np.int64]) -> Interactions:
        """Returns the items at these columns, in this order, with the same users.

        Raises:
            DataTypeError: if the columns are not whole numbers.
            UnknownIdError: if there is no such column.
        """
        cols = _positions("column", cols, self.num_items, "items")
        titles = None if self.titles is None else tuple(self.titles[col] for col in cols)
        item_ids = IdMap(self.item_ids.ids.take(pa.array(cols, pa.int64())))
        return replace(self, matrix=self.matrix[:, cols], item_ids=item_ids, titles=titles)

    def title_of(self, item_id: int) -> str:
        """Returns the title of the item in this column; its raw id where there are no titles.

        Raises:
            UnknownIdError: if there is no such column.
        """
        if not 0 <= item_id < self.num_items:
            raise UnknownIdError(f"item id {item_id} is outside the {self.num_items} items (0 to {self.num_items - 1})")
        return str(self.item_ids.ids[item_id]) if self.titles is None else self.titles[item_id]

    def __repr__(self) -> str:
        density = self.matrix.nnz / (self.num_users * self.num_items)
        return (
            f"Interactions({self.num_users} users, {self.num_items} items, {self.matrix.nnz} interactions, "
            f"density {density:.2%})"
        )


def _positions(name: str, positions: npt.ArrayLike, size: int, of: str) -> npt.NDArray[np.int64]:
    array = np.asarray(positions)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise DataTypeError(
            f"{name}s must be a list of {name} numbers, not an array of {array.dtype} and shape {array.shape}; "
            "turn a mask into numbers with np.flatnonzero(mask)"
        )
    outside = array[(array < 0) | (array >= size)]
    if outside.size:
        raise UnknownIdError(f"{name} {outside[0]} is outside the {size} {of} (0 to {size - 1}); leave it out")
    return array.astype(np.int64)


def _titles(titles: Iterable[str]) -> tuple[str, ...]:
    if not isinstance(titles, Iterable):
        raise DataTypeError(f"titles are a list of strings; {titles!r} is not")
    listed = tuple(titles)
    wrong = next((title for title in listed if not isinstance(title, str)), None)
    if wrong is not None or isinstance(titles, str):
        raise DataTypeError(f"titles are a list of strings; {wrong if wrong is not None else titles!r} is not")
    return listed


def _presence(users: Codes, items: Codes, shape: tuple[int, int]) -> sparse.csr_matrix:
    ones = np.ones(len(users), np.float32)
    matrix = csr_from_pairs(users, items, ones, shape)
    if matrix.nnz < len(users):
        _log.info("%d of %d rows repeat a user and item; each pair counts once", len(users) - matrix.nnz, len(users))
    matrix.data[:] = 1
    return canonical_csr(matrix)


def _first_titles(column: pa.ChunkedArray, name: str, items: Codes, item_ids: pa.Array) -> tuple[str, ...]:
    first = np.empty(len(item_ids), np.int64)
    backwards = np.arange(len(items))[::-1]
    first[items[backwards]] = backwards  # the last one written is an item's first row
    if pa.types.is_string_view(column.type):  # Arrow cannot take from one
        column = column.cast(pa.large_string())
    titles = column.take(pa.array(first))
    if pa.types.is_dictionary(titles.type):
        titles = titles.cast(titles.type.value_type)  # its own null_count leaves out rows whose category is null
    if titles.null_count:
        _log.info(
            "%d of %d items have no title in column %r; they go by their id", titles.null_count, len(titles), name
        )
        titles = pc.coalesce(titles.cast(pa.large_string()), item_ids.cast(pa.large_string()))
    return _titles(plain_ids(titles, f"column {name!r}").to_pylist())
