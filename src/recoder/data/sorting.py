"""Parquet files of any size become a folder of mapped interactions: DuckDB numbers the ids and sorts, on the disk.

Sizes: U users, N items, Z interactions.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from recoder._files import write_errors
from recoder._optional import imported
from recoder.data.frames import read_weights, refuse_missing, refuse_weights, tell_of_repeats, tell_of_zeros
from recoder.data.id_map import IdMap
from recoder.data.mapped_folder import FolderWriter, write_folder
from recoder.data.matrices import check_values
from recoder.data.parquet_files import ParquetPath, parquet_paths, parquet_schema
from recoder.data.raw_ids import plain_ids
from recoder.data.times import read_times
from recoder.data.titles import titles_or_ids
from recoder.errors import (
    ConfigError,
    EmptyDataError,
    FileFormatError,
    NotEnoughMemoryError,
)

__all__ = ["LEAST_MEMORY_MIB", "sort_parquet"]

LEAST_MEMORY_MIB = 128
_MIB_OF_THREAD = 128  # DuckDB's own advice for sorting
_ROWS_AT_ONCE = 1 << 20
_OURS = ("file_index", "file_row_number")  # DuckDB's names for where a row stands
_PLACE = "(file_index::BIGINT << 40) + file_row_number"
_LARGEST_INT32 = 2**31 - 1


def sort_parquet(path: ParquetPath, columns: Mapping[str, str], folder: Path, *, memory_limit_mib: int) -> None:
    """Writes the interactions of parquet files to a folder that ``read_folder`` reads.

    Args:
        path: as in ``parquet_paths``.
        columns: by role: ``user``, ``item``, and any of ``weight``, ``time`` and ``title``.
        folder: what to write.
        memory_limit_mib: of DuckDB; what it lacks it puts into files beside the folder.

    Raises:
        MissingDependencyError: if DuckDB is not installed.
        ConfigError, EmptyDataError, DataError, DataTypeError, FileFormatError, FileNotFoundError: as
            ``Interactions.from_parquet``.
        NotEnoughMemoryError: if the limit is too small.
        FileWriteError: if the folder cannot be written.
    """
    duckdb = imported("duckdb", "large")
    paths = parquet_paths(path)
    schema = parquet_schema(paths, list(columns.values()))
    _check_types(schema, columns)
    with write_folder(folder) as writer:
        spill = writer.folder / "spill"
        spill.mkdir()
        with _connected(duckdb, spill, memory_limit_mib) as connection:
            source = _Source(connection, paths, schema, columns)
            num_rows = source.check()
            ids = [source.number(role) for role in ("user", "item")]
            for kind, of_kind in zip(("user_ids", "item_ids"), ids, strict=True):
                writer.add_ids(kind, of_kind)
            if "title" in columns:
                writer.add_titles(source.titles(ids[1]))
            rows = _SortedRows(writer, columns, num_items=len(ids[1]), is_wide=num_rows > _LARGEST_INT32)
            for batch in source.sorted_rows():
                rows.add(batch)
            rows.finish()
            tell_of_repeats(rows.num_repeats, num_rows, are_summed="weight" in columns)
            tell_of_zeros(rows.num_zeros, num_rows - rows.num_repeats)
        for file in spill.iterdir():
            file.unlink()
        spill.rmdir()
        writer.finish(len(ids[0]), len(ids[1]))


def _check_types(schema: pa.Schema, columns: Mapping[str, str]) -> None:
    """Checks the types of columns, by reading none of their rows."""
    names = list(schema.names)
    for name in columns.values():
        if sum(other.lower() == name.lower() for other in names) > 1:
            raise ConfigError(f"there are columns that differ from {name!r} in case alone; rename them")
    for name in _OURS:
        if name in (other.lower() for other in names):
            raise ConfigError(f"there is a column {name!r}, as DuckDB calls something else; rename it")
    for role, name in columns.items():
        nothing = pa.chunked_array([], schema.field(name).type)
        if role in ("user", "item"):
            plain_ids(nothing, f"column {name!r}")
        elif role == "weight":
            read_weights(nothing, name)
        elif role == "time":
            read_times(nothing, name)


@contextmanager
def _connected(duckdb: Any, spill: Path, memory_limit_mib: int) -> Iterator[Any]:
    """Yields a connection; its errors become ours.

    Raises:
        NotEnoughMemoryError, FileWriteError, FileFormatError: as ``sort_parquet``.
    """
    config = {
        "memory_limit": f"{memory_limit_mib}MiB",
        "temp_directory": str(spill),
        "threads": max(1, min(os.cpu_count() or 1, memory_limit_mib // _MIB_OF_THREAD)),
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
    }
    try:
        with duckdb.connect(config=config) as connection:
            connection.execute("SET enable_progress_bar = false").fetchall()
            yield connection
    except duckdb.OutOfMemoryException as error:
        raise NotEnoughMemoryError(
            f"sorting within {memory_limit_mib} MiB failed ({_first_line(error)}); pass a larger memory_limit_mib, "
            "and see that there is space on the disk"
        ) from error
    except duckdb.IOException as error:
        if str(spill) not in str(error):
            raise _unreadable(error) from error
        with write_errors(spill.parent):
            raise OSError(_first_line(error)) from error
    except duckdb.InterruptException as error:
        raise KeyboardInterrupt from error
    except duckdb.Error as error:
        raise _unreadable(error) from error
    except RuntimeError as error:  # what DuckDB makes of Ctrl-C in a query
        if str(error) != "Query interrupted":
            raise
        raise KeyboardInterrupt from error


def _unreadable(error: Exception) -> FileFormatError:
    return FileFormatError(f"cannot read the parquet files: {_first_line(error)}; one is damaged or of another kind")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


@dataclass(frozen=True, eq=False)
class _Source:
    """Rows of parquet files, asked for by SQL.

    Attributes:
        connection: to DuckDB.
        paths: of the files.
        schema: of their columns.
        columns: by role.
    """

    connection: Any
    paths: Sequence[str]
    schema: pa.Schema
    columns: Mapping[str, str]
    _from: str = field(default="read_parquet($paths, union_by_name = true, hive_partitioning = false)", init=False)

    def check(self) -> int:
        """Returns the number of rows, after a check that none lacks a value or has a weight that cannot be.

        Raises:
            EmptyDataError: if there are none.
            DataError: if one has.
        """
        asked = ["count(*)"]
        must_be = [role for role in self.columns if role != "title" or self._has_other_role("title")]
        for role in must_be:
            name = self._quoted(role)
            is_missing = f"{name} IS NULL"
            if pa.types.is_floating(self._value_type(role)):
                is_missing += f" OR isnan({name})"
            asked.append(f"count(*) FILTER ({is_missing})")
        if "weight" in self.columns:
            raw, number = self._quoted("weight"), self._weight()
            infinite = f"({number} IS NULL OR isinf({number})) AND {raw} IS NOT NULL"
            shown = f"coalesce({number}, CASE WHEN {raw} < 0 THEN '-inf' ELSE 'inf' END::FLOAT)"
            for is_bad in (infinite, f"{number} < 0"):
                asked += [f"count(*) FILTER ({is_bad})", f"arg_min({shown}, {_PLACE}) FILTER ({is_bad})"]
        (found,) = self._fetched(f"SELECT {', '.join(asked)} FROM {self._from}")
        num_rows = int(found[0])
        if not num_rows:
            raise EmptyDataError(f"{self.paths[0]} has no rows; there must be at least one interaction")
        for role, missing in zip(must_be, found[1:], strict=False):
            refuse_missing(missing, self.columns[role])
        for start, what in zip(
            range(1 + len(must_be), len(found), 2), ("infinite as float32", "negative"), strict=False
        ):
            if found[start]:
                refuse_weights(found[start], np.float32(found[start + 1]), self.columns["weight"], what)
        return num_rows

    def number(self, role: str) -> IdMap:
        """Numbers the ids of users or items by first appearance, in a table of DuckDB's, and returns them.

        Raises:
            DataError: if one is beyond int64.
        """
        self._fetched(
            f"CREATE TEMP TABLE {role}s AS SELECT raw, place, (row_number() OVER (ORDER BY place) - 1)::BIGINT AS code "
            f"FROM (SELECT {self._quoted(role)} AS raw, min({_PLACE}) AS place FROM {self._from} GROUP BY 1)"
        )
        table = self.connection.sql(f"SELECT raw FROM {role}s ORDER BY code").to_arrow_table()
        name = f"column {self.columns[role]!r}"
        return IdMap(plain_ids(table.column("raw"), name))

    def titles(self, item_ids: IdMap) -> tuple[str, ...]:
        """Returns what each item is called in its first row.

        Raises:
            DataTypeError: if titles are not strings.
        """
        table = self._relation(
            f"SELECT r.title FROM (SELECT {self._quoted('title')} AS title, {_PLACE} AS place FROM {self._from}) r "
            "JOIN items USING (place) ORDER BY items.code"
        ).to_arrow_table()
        column = table.column("title")
        if column.null_count < len(column):  # else it has whatever type DuckDB gave it
            column = column.cast(self._value_type("title"))
        return titles_or_ids(column, self.columns["title"], item_ids.ids)

    def sorted_rows(self) -> Iterator[pa.RecordBatch]:
        """Yields ``user``, ``item`` and where there are any ``weight`` and ``time``, by user and then item."""
        wanted = ['users.code AS "user"', 'items.code AS "item"']
        order = "1, 2"
        if "weight" in self.columns:
            # weights of a pair are added up in the order of the rows, so that sums are always the same
            wanted, order = [*wanted, f"{self._weight('r.')} AS weight", f"{_PLACE} AS place"], "1, 2, 4"
        if "time" in self.columns:
            wanted.append(f"r.{self._quoted('time')} AS time")
        yield from self._relation(
            f"SELECT {', '.join(wanted)} FROM {self._from} r "
            f"JOIN users ON users.raw = r.{self._quoted('user')} "
            f"JOIN items ON items.raw = r.{self._quoted('item')} ORDER BY {order}"
        ).to_arrow_reader(_ROWS_AT_ONCE)

    def _relation(self, query: str) -> Any:
        return self.connection.sql(query, params=self._parameters())

    def _fetched(self, query: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self.connection.execute(query, self._parameters()).fetchall()
        return rows

    def _parameters(self) -> dict[str, list[str]]:
        return {"paths": [glob.escape(path) for path in self.paths]}  # DuckDB takes them for patterns

    def _weight(self, table: str = "") -> str:
        return f"TRY_CAST({table}{self._quoted('weight')} AS FLOAT)"

    def _quoted(self, role: str) -> str:
        return '"' + self.columns[role].replace('"', '""') + '"'

    def _value_type(self, role: str) -> pa.DataType:
        kind = self.schema.field(self.columns[role]).type
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    def _has_other_role(self, role: str) -> bool:
        return any(name == self.columns[role] for other, name in self.columns.items() if other != role)


class _SortedRows:
    """Turns sorted rows into rows of a CSR matrix, and writes them.

    Args:
        writer: of the folder.
        columns: by role.
        num_items: N.
        is_wide: whether there may be more entries than int32 counts.

    Attributes:
        num_repeats: rows that repeat a pair of user and item.
        num_zeros: pairs of user and item whose weights are all 0.
    """

    def __init__(self, writer: FolderWriter, columns: Mapping[str, str], *, num_items: int, is_wide: bool) -> None:
        self._writer, self._columns, self._num_items = writer, columns, num_items
        # scipy wants both index arrays of one type
        self._dtype: npt.DTypeLike = np.int64 if is_wide else np.int32
        self._rest: list[pa.RecordBatch] = []
        self._num_users = 0
        self._end = 0
        self.num_repeats = 0
        self.num_zeros = 0
        for name, dtype in (("data", np.float32), ("indices", self._dtype)):
            writer.append(name, np.empty(0, dtype))
        if "time" in columns:
            writer.append("times", np.empty(0, np.int64))
        writer.append("indptr", np.zeros(1, self._dtype))

    def add(self, batch: pa.RecordBatch) -> None:
        """Takes the next rows, and writes those of all users but the last, of whom more may come."""
        if not batch.num_rows:
            return
        users = batch.column("user").to_numpy()
        self._rest.append(batch)
        if users[-1] > self._num_users:
            table = pa.Table.from_batches(self._rest)
            length = len(table) - len(users) + int(np.searchsorted(users, users[-1]))
            self._write(table.slice(0, length))
            self._rest = table.slice(length).to_batches()

    def finish(self) -> None:
        """Writes the rows of the last user."""
        if self._rest:
            self._write(pa.Table.from_batches(self._rest))

    def _write(self, table: pa.Table) -> None:
        """Writes all rows of some users, who follow those that were written."""
        rows_R, cols_R = (table.column(name).to_numpy() for name in ("user", "item"))
        first, stop = self._num_users, int(rows_R[-1]) + 1
        offsets = np.searchsorted(rows_R, np.arange(first, stop + 1))
        weights_R = table.column("weight").to_numpy() if "weight" in self._columns else np.ones(len(table), np.float32)
        part = sparse.csr_matrix((weights_R.copy(), cols_R.copy(), offsets), shape=(stop - first, self._num_items))
        part.sum_duplicates()
        self.num_repeats += len(table) - part.nnz
        if "weight" in self._columns:
            check_values(part.data, "matrix")  # a sum may have become infinite
        else:
            part.data[:] = 1
        if "time" in self._columns:
            name = self._columns["time"]
            times_R = read_times(pa.chunked_array(table.column("time")), name)
            is_first_R = np.ones(len(table), dtype=bool)
            is_first_R[1:] = (rows_R[1:] != rows_R[:-1]) | (cols_R[1:] != cols_R[:-1])
            latest_Z = np.maximum.reduceat(times_R, np.flatnonzero(is_first_R))
            self._writer.append("times", latest_Z[part.data != 0])
        self.num_zeros += int(part.nnz - np.count_nonzero(part.data))
        part.eliminate_zeros()  # a pair whose weights are all 0 is no interaction
        self._writer.append("data", part.data)
        self._writer.append("indices", part.indices.astype(self._dtype))
        self._writer.append("indptr", (part.indptr[1:] + np.int64(self._end)).astype(self._dtype))
        self._num_users, self._end = stop, self._end + part.nnz
