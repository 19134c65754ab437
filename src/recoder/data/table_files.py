"""Writing tables to a file, one after the other, so that they need not be in memory together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet

from recoder._files import atomic_place, check_writable, write_errors
from recoder.errors import ConfigError, EmptyDataError

__all__ = ["check_ending", "write_tables"]

_SEPARATORS: Mapping[str, str | None] = {".parquet": None, ".pq": None, ".csv": ",", ".tsv": "\t"}


def check_ending(path: Path) -> None:
    """Checks that the ending of a file's name says of a form that tables are written in.

    Raises:
        ConfigError: if it does not.
    """
    if path.suffix not in _SEPARATORS:
        raise ConfigError(f"{path} ends in {path.suffix or 'nothing'}; files are written as {', '.join(_SEPARATORS)}")


def write_tables(path: Path, tables: Iterable[pa.Table]) -> int:
    """Writes tables of equal columns as one, and returns the number of its rows.

    Args:
        path: the file; its ending says in what form. A previous one stays whole until all is written.
        tables: at least one.

    Raises:
        ConfigError: as ``check_ending``.
        FileWriteError: if the file cannot be written; said before a table is asked for where possible. Errors of what
            makes the tables stay as they are.
        EmptyDataError: if there is no table.
    """
    check_ending(path)
    check_writable(path)
    num_rows = 0
    with atomic_place(path) as temporary, ExitStack() as open_files:
        writer: Any = None
        for table in tables:  # which may read files: errors of reading are none of writing
            with write_errors(path):
                if writer is None:
                    writer = open_files.enter_context(_writer(temporary, table.schema, _SEPARATORS[path.suffix]))
                writer.write_table(table)
            num_rows += len(table)
        if writer is None:
            raise EmptyDataError(f"there is nothing to write to {path}")
        with write_errors(path):
            open_files.close()
    return num_rows


def _writer(path: Path, schema: pa.Schema, separator: str | None) -> Any:
    if separator is None:
        return parquet.ParquetWriter(path, schema, compression="zstd")
    return csv.CSVWriter(str(path), schema, write_options=csv.WriteOptions(delimiter=separator))
