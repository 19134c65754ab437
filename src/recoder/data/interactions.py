"""Interactions in the user's own ids, with the items' titles."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from narwhals.typing import IntoFrame
from scipy import sparse

from recoder._checks import non_negative, path_text, whole_number
from recoder.data.frames import (
    check_names,
    count_once,
    number_columns,
    read_columns,
    read_weights,
    sum_pairs,
    tell_of_zeros,
)
from recoder.data.id_map import IdMap
from recoder.data.mapped import csr_of, entry_blocks, item_counts, marks, room
from recoder.data.mapped_folder import read_folder
from recoder.data.matrices import canonical_csr, keep_entries, rows_and_columns
from recoder.data.merging import merged
from recoder.data.native_frames import DEFAULT_LIBRARY, checked_library, library_of, make_frame
from recoder.data.parquet_files import ParquetPath, read_parquet_files
from recoder.data.quotes import check_quotes
from recoder.data.raw_ids import RawId
from recoder.data.sorting import LEAST_MEMORY_MIB, sort_parquet
from recoder.data.summaries import interactions_html
from recoder.data.text_files import read_csv_file
from recoder.data.times import Times, checked_times, latest_times, read_times
from recoder.data.titles import checked_titles, first_titles, titles_by_id
from recoder.errors import (
    ConfigError,
    DataError,
    DataTypeError,
    EmptyDataError,
    FileFormatError,
    ShapeError,
    UnknownIdError,
)

__all__ = ["Interactions", "of_nobody"]


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """Who interacted with what, and how much. It never changes: every method returns new interactions.

    Attributes:
        matrix: float32 CSR ``[U, N]``; any scipy sparse matrix may be passed and is converted.
        user_ids: the raw ids of the U rows.
        item_ids: the raw ids of the N columns.
        titles: what to call each of the N items, or None.
        times: when, in Unix seconds: int64 ``[Z]``, one for each stored entry of the matrix in the order of
            ``matrix.data``; or None. A model file does not keep them.
        library: of data frames: the one that the interactions came in, in which answers are given; ``"pyarrow"``
            where they came from a file or a matrix.

    Raises:
        ConfigError: if there is no such library.
        ShapeError: if ids or titles are not as many as rows or columns, or times as stored entries.
        DataError, DataTypeError: if the matrix cannot be used; see ``UsersInteractions``.
    """

    matrix: sparse.csr_matrix
    user_ids: IdMap
    item_ids: IdMap
    titles: tuple[str, ...] | None = None
    times: Times | None = None
    library: str = DEFAULT_LIBRARY

    def __post_init__(self) -> None:
        checked_library(self.library)
        # a model's file may hold the items' ids alone
        matrix = canonical_csr(self.matrix, "matrix", may_lack_users=True)
        if self.times is not None:
            object.__setattr__(self, "times", checked_times(self.times, self.matrix, matrix))
        object.__setattr__(self, "matrix", matrix)
        for name in ("user_ids", "item_ids"):
            object.__setattr__(self, name, _id_map(getattr(self, name)))
        sizes = [("user_ids", len(self.user_ids), 0), ("item_ids", len(self.item_ids), 1)]
        if self.titles is not None:
            object.__setattr__(self, "titles", checked_titles(self.titles))
            sizes.append(("titles", len(self.titles), 1))
        for name, size, axis in sizes:
            if size != matrix.shape[axis]:
                raise ShapeError(
                    f"there are {size} {name} but the matrix has {matrix.shape[axis]} "
                    f"{('rows', 'columns')[axis]}; pass one for each"
                )

    @classmethod
    def from_frame(
        cls,
        frame: IntoFrame,
        *,
        user: str = "user_id",
        item: str = "item_id",
        weight: str | None = None,
        time: str | None = None,
        title: str | None = None,
    ) -> Interactions:
        """Returns the interactions in a data frame; users and items in order of first appearance.

        Args:
            frame: one row per interaction; any data frame that narwhals reads (pandas, polars, pyarrow, ...).
                A lazy one is collected.
            user: the column of user ids: whole numbers or strings.
            item: the column of item ids, likewise.
            weight: the column of weights, finite and not negative; those of a repeated pair are added up. A pair of
                weight 0 is no interaction. Warnings count both. None: what is in the frame counts 1, however often it
                stands there.
            time: the column of times: Unix seconds, dates or date-times (UTC where they have no time zone). Of a
                repeated pair the latest counts.
            title: the column of item titles; an item has that of its first row, or where that is missing its id.

        Raises:
            ConfigError: if a column does not exist.
            EmptyDataError: if there are no rows.
            DataError: if a value is missing, or a weight infinite or negative.
            DataTypeError: if it is no data frame, or a column has the wrong type.
        """
        columns = read_columns(
            frame,
            _named(user, item, weight, time, title),
            may_miss=None if title in (user, item, weight, time) else title,
        )
        (users, user_ids), (items, item_ids) = number_columns(columns, [user, item])
        shape = (len(user_ids), len(item_ids))
        if weight is None:
            summed = count_once(users, items, shape)
        else:
            summed = sum_pairs(users, items, read_weights(columns[weight], weight), shape)
            tell_of_zeros(int(summed.nnz - np.count_nonzero(summed.data)), summed.nnz)
        times = None
        if time is not None:  # a pair whose weights are all 0 has a time, but is no interaction
            times = latest_times(users, items, read_times(columns[time], time), shape)[summed.data != 0]
        titles = None if title is None else first_titles(columns[title], title, items, item_ids)
        return cls(canonical_csr(summed), IdMap(user_ids), IdMap(item_ids), titles, times, library_of(frame))

    @classmethod
    def from_parquet(
        cls,
        path: ParquetPath,
        *,
        user: str = "user_id",
        item: str = "item_id",
        weight: str | None = None,
        time: str | None = None,
        title: str | None = None,
        mapped_to: str | os.PathLike[str] | None = None,
        memory_limit_mib: int = 1024,
    ) -> Interactions:
        """Returns the interactions in parquet files; only the columns that are named are read.

        Args:
            path: a file with one row per interaction; a folder of such, a pattern such as ``"plays/2024-*.parquet"``,
                both in the order of their names; or a list of these.
            user: as in ``from_frame``, like the following.
            item: the column of item ids.
            weight: the column of weights.
            time: the column of times.
            title: the column of item titles.
            mapped_to: a folder to write them to, for more interactions than memory holds (extra ``large``): the matrix
                and times then stay in its files and are mapped, and ``open_mapped`` opens it again. A folder that was
                written so before is replaced when the new one is whole.
            memory_limit_mib: with ``mapped_to``, of DuckDB, which numbers and sorts with files beside the folder.

        Raises:
            FileNotFoundError: if there is no such file.
            FileFormatError: if it is no parquet file, or a damaged one.
            ConfigError, EmptyDataError, DataError, DataTypeError: as ``from_frame``.
            FileWriteError, NotEnoughMemoryError, MissingDependencyError: with ``mapped_to``, if the folder cannot be
                written, the limit is too small, or DuckDB is not installed.
        """
        names = _named(user, item, weight, time, title)
        if mapped_to is not None:
            limit = whole_number("memory_limit_mib", memory_limit_mib, LEAST_MEMORY_MIB)
            roles = {"user": user, "item": item, "weight": weight, "time": time, "title": title}
            columns = {role: name for role, name in roles.items() if name is not None}
            sort_parquet(path, columns, Path(path_text("mapped_to", mapped_to)), memory_limit_mib=limit)
            return cls.open_mapped(mapped_to)
        frame = read_parquet_files(path, names)
        return cls.from_frame(frame, user=user, item=item, weight=weight, time=time, title=title)

    @classmethod
    def open_mapped(cls, folder: str | os.PathLike[str]) -> Interactions:
        """Returns the interactions in a folder that ``from_parquet`` wrote with ``mapped_to``.

        The matrix and times stay in its files. Every method but ``to_frame`` and ``merge`` works through them in parts,
        and puts what comes out into files without a name in the same folder, which vanish with the process. Ids and
        titles are in memory. Do not change the files while they are in use.

        Args:
            folder: which.

        Raises:
            FileNotFoundError: if there is none.
            FileFormatError: if it is another, of a newer format, or damaged.
        """
        found = read_folder(Path(path_text("folder", folder)))
        try:
            return cls(found.matrix, found.user_ids, found.item_ids, found.titles, found.times)
        except DataError as error:
            raise FileFormatError(f"{folder} was damaged ({error}); write it again") from error

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        *,
        user: str = "user_id",
        item: str = "item_id",
        weight: str | None = None,
        time: str | None = None,
        title: str | None = None,
        separator: str = ",",
        names: Sequence[str] | None = None,
        encoding: str = "utf8",
        quote: str | None = '"',
        types: Mapping[str, pa.DataType] | None = None,
    ) -> Interactions:
        """Returns the interactions in a text file with one row per line; only the columns that are named are read.

        Args:
            path: the file; one whose name ends in .gz, .bz2, .zst or .lz4 is decompressed.
            user: as in ``from_frame``, like the following. An empty field is a missing value.
            item: the column of item ids.
            weight: the column of weights.
            time: the column of times.
            title: the column of item titles.
            separator: what stands between two fields: one character or several, as in ``"::"``.
            names: what to call the columns, where the first line does not say so.
            encoding: of the file: one that Python knows and that writes ASCII in single bytes.
            quote: the character around fields that hold separators; None: there is none.
            types: Arrow types of columns for which the inferred ones are not right: ``{"item": pyarrow.string()}``
                for item ids with leading zeros, such as 0x1f, or beyond int64.

        Raises:
            FileNotFoundError: if there is no such file.
            FileFormatError: if a line has too few or too many fields, which it names, an id goes over several lines, as
                where a quote is never closed, or the file is cut off.
            ConfigError, EmptyDataError, DataError, DataTypeError: as ``from_frame``.
        """
        frame = read_csv_file(
            path,
            _named(user, item, weight, time, title),
            separator=separator,
            names=names,
            encoding=encoding,
            quote=quote,
            types=({} if title in (None, user, item, weight, time) else {title: pa.string()}) | dict(types or {}),
        )
        check_quotes(frame, [user, item], str(path))
        return cls.from_frame(frame, user=user, item=item, weight=weight, time=time, title=title)

    @classmethod
    def from_matrix(
        cls, matrix: Any, titles: Iterable[str] | None = None, *, user_ids: Any = None, item_ids: Any = None
    ) -> Interactions:
        """Returns the interactions in a scipy sparse matrix.

        Args:
            matrix: ``[U, N]``: the weight of each interaction of a user, in rows, with an item.
            titles: of the items, ``[N]``.
            user_ids: ids of the users, ``[U]``: whole numbers or strings, or their ``IdMap``. None: the numbers of the
                rows.
            item_ids: ids of the items, ``[N]``, likewise of the columns.

        Raises:
            DataTypeError, DataError, ShapeError: if the matrix or the ids are something else, or not as many.
        """
        csr = canonical_csr(matrix, "matrix")
        users, items = (
            _id_map(np.arange(size) if ids is None else ids)
            for size, ids in zip(csr.shape, (user_ids, item_ids), strict=True)
        )
        return cls(csr, users, items, None if titles is None else checked_titles(titles))

    def to_frame(self, library: str | None = None) -> Any:
        """Returns a data frame with a row for each interaction, in the columns ``user_id``, ``item_id``, ``weight``.

        Args:
            library: whose data frames; None: ``self.library``. Where there are times, ``time`` holds them.

        Raises:
            ConfigError: if there is no such library.
        """
        rows_Z = np.repeat(np.arange(self.num_users), np.diff(self.matrix.indptr))
        columns = {
            "user_id": self.user_ids.ids.take(pa.array(rows_Z)),
            "item_id": self.item_ids.ids.take(pa.array(self.matrix.indices)),
            "weight": self.matrix.data,
        }
        if self.times is not None:
            columns["time"] = self.times
        return make_frame(columns, self.library if library is None else checked_library(library))

    def split(self, kind: str, **arguments: Any) -> Any:
        """Returns the parts of a split, which unpack into training interactions and users to judge by.

        Args:
            kind: ``"strong"`` (users held out: ``train, valid, test``), or ``"random"``, ``"last"`` or ``"time"``
                (a part of each user's interactions, the last ones, or what came later: ``train, test``).
            arguments: of ``strong_generalization``, where a tenth of the users are to validate and a tenth to test
                with unless ``num_valid_users`` and ``num_test_users`` say otherwise; ``random_holdout``;
                ``leave_last_out``; or ``global_time``. All but the last two need a ``seed``.

        Raises:
            ConfigError: if there is no such kind, or an argument is missing, unknown or out of range.
            DataError, EmptyDataError: as the split says.
        """
        from recoder.data.splits import split_by_name  # which is made of interactions

        return split_by_name(self, kind, arguments)

    def merge(self, other: Interactions) -> Interactions:
        """Returns these interactions and others; new users and items come after those that are there.

        Where all weights are 1 on both sides a repeated pair counts once, otherwise its weights are added up. Of
        its times the latest counts; they are kept where both have them. Titles that are there stay; an item
        without one, which goes by its id, has that of the others.

        Raises:
            DataTypeError: if ``other`` are no interactions, or ids are numbers here and strings there.
        """
        if not isinstance(other, Interactions):
            raise DataTypeError(
                f"merge takes Interactions, not {type(other).__name__}; make them with Interactions.from_frame"
            )
        matrix, times, user_ids, item_ids = merged(self, other)
        titles = None
        if self.titles is not None or other.titles is not None:
            places = other.item_ids.places(item_ids.ids, "drop").tolist()
            names = list(map(str, item_ids.ids.to_pylist()))
            own = names if self.titles is None else [*self.titles, *names[self.num_items :]]
            titles = tuple(
                other.titles[place] if other.titles is not None and place >= 0 and title == name else title
                for title, name, place in zip(own, names, places, strict=True)
            )
        return Interactions(matrix, user_ids, item_ids, titles, times, self.library)

    @property
    def num_users(self) -> int:
        """U."""
        return int(self.matrix.shape[0])

    @property
    def num_items(self) -> int:
        """N."""
        return int(self.matrix.shape[1])

    def filter(
        self,
        *,
        min_weight: float | None = None,
        min_user_interactions: int | None = None,
        min_item_interactions: int | None = None,
    ) -> Interactions:
        """Returns the interactions that pass each of these, one after the other and each once, in this order.

        Users and items that are left without any stay; ``drop_empty`` drops them. An item that goes may leave a
        user with fewer interactions than was asked for: ``k_core`` repeats until nobody has.

        Args:
            min_weight: least weight of an interaction.
            min_user_interactions: least number of interactions of a user, of those that weigh enough.
            min_item_interactions: least number of interactions of an item, with the users who are left.

        Raises:
            ConfigError: if none of them is given, or a number of interactions is no whole number of at least 1.
            EmptyDataError: if none is left.
        """
        if min_weight is None and min_user_interactions is None and min_item_interactions is None:
            raise ConfigError(
                "filter was asked for nothing; pass min_weight, min_user_interactions or min_item_interactions"
            )
        left = self if min_weight is None else self._heavier(min_weight)
        if min_user_interactions is not None:
            left = left._with_active("user", whole_number("min_user_interactions", min_user_interactions, 1))
        if min_item_interactions is not None:
            left = left._with_active("item", whole_number("min_item_interactions", min_item_interactions, 1))
        return left

    def k_core(self, *, users: int, items: int) -> Interactions:
        """Returns the largest part in which every user and every item has enough interactions; the others are dropped.

        Args:
            users: least number of interactions of each user.
            items: least number of interactions of each item.

        Raises:
            ConfigError: if one is no whole number of at least 1.
            EmptyDataError: if nothing is left.
        """
        users, items = whole_number("users", users, 1), whole_number("items", items, 1)
        left, num_before = self, -1
        while left.matrix.nnz != num_before:
            num_before = left.matrix.nnz
            left = left._with_active("user", users)._with_active("item", items)
        return left.drop_empty()

    def _heavier(self, min_weight: float) -> Interactions:
        min_weight = non_negative("min_weight", min_weight)  # numpy would compare its own float64 with float32 exactly
        is_kept_Z = marks(self.matrix, lambda part, _: part.data >= min_weight)
        if not is_kept_Z.any():
            largest = self.matrix.data.max(initial=0)
            raise EmptyDataError(f"no interaction has a weight of {min_weight} or more; the largest is {largest:g}")
        return self.select_interactions(is_kept_Z)

    def _with_active(self, kind: str, least: int) -> Interactions:
        """Returns the interactions of users, or with items, that have at least so many."""
        matrix = self.matrix
        counts = np.diff(matrix.indptr) if kind == "user" else item_counts(matrix)
        is_active = counts >= least
        if not is_active.any():
            raise EmptyDataError(
                f"no {kind} of those left has {least} or more interactions; the most is {counts.max(initial=0)}"
            )
        if is_active[counts > 0].all():
            return self
        if kind == "user":
            return self.select_interactions(marks(matrix, lambda part, _: _of_long_rows(part, least)))
        return self.select_interactions(marks(matrix, lambda part, _: is_active[part.indices]))

    def binarize(self) -> Interactions:
        """Returns the same interactions, each of weight 1."""
        weights = self.matrix.data
        if all((weights[block] == 1).all() for block in entry_blocks(len(weights))):
            return self
        ones = room(weights, len(weights), np.float32)
        ones[:] = 1
        return replace(self, matrix=csr_of(ones, self.matrix.indices, self.matrix.indptr, self.matrix.shape))

    def with_titles(
        self, titles: Mapping[RawId, str] | IntoFrame, *, item: str = "item_id", title: str = "title"
    ) -> Interactions:
        """Returns the interactions with titles from elsewhere; an item without one goes by its id.

        Args:
            titles: a dict from item id to title, or a data frame with a row for each item, as of a file of films. Items
                without interactions are left out; of an item that stands there twice the first row counts.
            item: the frame's column of item ids.
            title: its column of titles.

        Raises:
            ConfigError: if the frame has no such column.
            DataTypeError: if ids are text here and whole numbers there, or titles are no text.
            EmptyDataError: if the frame has no rows.
        """
        return replace(self, titles=titles_by_id(titles, item, title, self.item_ids))

    def drop_empty(self) -> Interactions:
        """Returns the interactions without the users and the items that have none.

        Raises:
            EmptyDataError: if there are no interactions.
        """
        if not self.matrix.nnz:
            raise EmptyDataError(f"none of the {self.num_users} users has an interaction: nothing would be left")
        has_users = np.flatnonzero(np.diff(self.matrix.indptr))
        return self.select_users(has_users).select_items(np.flatnonzero(item_counts(self.matrix)))

    def select_users(self, rows: npt.NDArray[np.int64]) -> Interactions:
        """Returns the users at these rows, in this order, over the same items.

        Raises:
            DataTypeError: if the rows are not whole numbers.
            ShapeError: if there are none.
            UnknownIdError: if there is no such row.
        """
        rows = _positions("row", rows, self.num_users, "users")
        if not len(rows):
            raise ShapeError(f"0 users of {self.num_users} were selected; select at least one")
        user_ids = IdMap(self.user_ids.ids.take(pa.array(rows, pa.int64())))
        return self._taken(rows, None, user_ids=user_ids)

    def select_items(self, cols: npt.NDArray[np.int64]) -> Interactions:
        """Returns the items at these columns, in this order, with the same users.

        Raises:
            DataTypeError: if the columns are not whole numbers.
            UnknownIdError: if there is no such column.
        """
        cols = _positions("column", cols, self.num_items, "items")
        titles = None if self.titles is None else tuple(self.titles[col] for col in cols)
        item_ids = IdMap(self.item_ids.ids.take(pa.array(cols, pa.int64())))
        return self._taken(None, cols, item_ids=item_ids, titles=titles)

    def select_interactions(self, is_kept_Z: npt.NDArray[np.bool_]) -> Interactions:
        """Returns the marked interactions only; users and items that are left without any stay.

        Args:
            is_kept_Z: bool ``[Z]``, one for each stored entry, in the order of ``matrix.data``.

        Raises:
            ShapeError: if it is no such array.
        """
        mask = np.asarray(is_kept_Z)
        if mask.shape != self.matrix.data.shape or mask.dtype != np.bool_:
            raise ShapeError(
                f"is_kept_Z must be {self.matrix.nnz} bools, one for each interaction, "
                f"not an array of {mask.dtype} and shape {mask.shape}"
            )
        matrix, times = keep_entries(self.matrix, mask, self.times)
        return replace(self, matrix=matrix, times=times)

    def _taken(
        self, rows: npt.NDArray[np.int64] | None, cols: npt.NDArray[np.int64] | None, **changes: Any
    ) -> Interactions:
        rows, cols = _if_not_all(rows, self.num_users), _if_not_all(cols, self.num_items)
        matrix, times = rows_and_columns(self.matrix, rows, cols, self.times)
        return replace(self, matrix=matrix, times=times, **changes)

    def title_of(self, col: int) -> str:
        """Returns the title of the item in this column; its raw id where there are no titles.

        Raises:
            UnknownIdError: if there is no such column.
        """
        if not 0 <= col < self.num_items:
            raise UnknownIdError(
                f"column {col} is outside the {self.num_items} items (0 to {self.num_items - 1}); "
                "item_ids.indices([...]) returns the columns of ids"
            )
        return str(self.item_ids.ids[col]) if self.titles is None else self.titles[col]

    def __repr__(self) -> str:
        density = self.matrix.nnz / max(1, self.num_users * self.num_items)
        return (
            f"Interactions({self.num_users} users, {self.num_items} items, {self.matrix.nnz} interactions, "
            f"density {density:.2%})"
        )

    def _repr_html_(self) -> str:
        return interactions_html(self)


def of_nobody(interactions: Interactions) -> Interactions:
    """Returns the items alone, with their ids and titles."""
    nobody = sparse.csr_matrix(np.zeros((0, interactions.num_items), np.float32))
    return replace(interactions, matrix=nobody, user_ids=IdMap([]), times=None)


def _named(user: str, item: str, *others: str | None) -> list[str]:
    names = [user, item, *(name for name in others if name is not None)]
    check_names(names)
    return names


def _of_long_rows(part: sparse.csr_matrix, least: int) -> npt.NDArray[np.bool_]:
    lengths = np.diff(part.indptr)
    return np.repeat(lengths >= least, lengths)


def _if_not_all(places: npt.NDArray[np.int64] | None, size: int) -> npt.NDArray[np.int64] | None:
    is_all = places is not None and len(places) == size and bool((places == np.arange(size)).all())
    return None if is_all else places


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


def _id_map(ids: Any) -> IdMap:
    return ids if isinstance(ids, IdMap) else IdMap(ids)
