"""Writing tables to a file, one after the other, so that they need not be in memory together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet

from recoder._files import atomic_write
from recoder.cli.out_files import Place, check_outs
from recoder.errors import ConfigError, EmptyDataError

__all__ = ["check_table_file", "write_tables"]

_SEPARATORS: Mapping[str, str | None] = {".parquet": None, ".pq": None, ".csv": ",", ".tsv": "\t"}


def check_table_file(path: Path, *, inputs: Iterable[Place] = ()) -> None:
    """Checks, before long work, that tables could be written to a file.

    Args:
        path: the file.
        inputs: files that are read, which it is not to be.

    Raises:
        ConfigError: if its ending says of no form that can be written, it is a folder or one of those that are read.
        FileWriteError: if the file could not be written.
    """
    if path.suffix not in _SEPARATORS:
        raise ConfigError(f"{path} ends in {path.suffix or 'nothing'}; files are written as {', '.join(_SEPARATORS)}")
    check_outs(inputs=inputs, out=path)


def write_tables(path: Path, tables: Iterable[pa.Table]) -> int:
    """Writes tables of equal columns as one, and returns the number of its rows.

    Args:
        path: the file; its ending says in what form. A previous one stays whole until all is written.
        tables: at least one.

    Raises:
        ConfigError, FileWriteError: as ``check_table_file``.
        EmptyDataError: if there is no table.
    """
    check_table_file(path)
    num_rows = 0
    with atomic_write(path) as temporary:
        writer: Any = None
        try:
            for table in tables:
                writer = writer or _writer(temporary, table.schema, _SEPARATORS[path.suffix])
                writer.write_table(table)
                num_rows += len(table)
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise EmptyDataError(f"there is nothing to write to {path}")
    return num_rows


def _writer(path: Path, schema: pa.Schema, separator: str | None) -> Any:
    if separator is None:
        return parquet.ParquetWriter(path, schema, compression="zstd")
    return csv.CSVWriter(str(path), schema, write_options=csv.WriteOptions(delimiter=separator))
