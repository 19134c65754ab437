"""Reading the columns that are asked for from parquet files, as Arrow tables."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from recoder._checks import path_text
from recoder.errors import ConfigError, DataTypeError, FileFormatError

__all__ = [
    "ParquetPath",
    "parquet_column_names",
    "parquet_paths",
    "parquet_schema",
    "read_parquet_file",
    "read_parquet_files",
    "stream_parquet_file",
]

ParquetPath = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def read_parquet_file(path: str | os.PathLike[str], columns: Sequence[str]) -> pa.Table:
    """Returns these columns of a parquet file.

    Raises:
        ConfigError: if a column does not exist.
        FileFormatError: if it is no parquet file, or a damaged one.
        FileNotFoundError: if there is no such file.
    """
    text = path_text("path", path)
    with _parquet(text) as file:
        _check_present(text, file.schema_arrow.names, columns)
        return file.read(columns=list(dict.fromkeys(columns)))


def read_parquet_files(path: ParquetPath, columns: Sequence[str]) -> pa.Table:
    """Returns these columns of one parquet file or several, one after the other.

    Raises:
        ConfigError, FileFormatError, FileNotFoundError: as ``read_parquet_file`` and ``parquet_paths``.
        DataTypeError: if a column is of another type in another file.
    """
    paths = parquet_paths(path)
    if len(paths) == 1:
        return read_parquet_file(paths[0], columns)
    parquet_schema(paths, columns)
    return pa.concat_tables([read_parquet_file(each, columns) for each in paths], promote_options="default")


def parquet_paths(path: ParquetPath) -> list[str]:
    """Returns the parquet files that are meant, those of a folder or a pattern in the order of their names.

    Args:
        path: a file; a folder, whose files that end in ``.parquet`` are meant, those of its folders too, but not what
            begins with a dot or an underscore; a pattern such
            as ``"plays/2024-*.parquet"``, of files and of such folders; or a list of these.

    Raises:
        ConfigError: if it is none of them.
        FileNotFoundError: if there is no file.
    """
    if isinstance(path, Sequence) and not isinstance(path, str):
        found = [each for part in path for each in parquet_paths(part)]
        if not found:
            raise ConfigError("path is an empty list; pass at least one parquet file")
        return found
    text = path_text("path", path)
    if Path(text).is_dir():
        found = _files_in(Path(text))
    elif glob.has_magic(text) and not Path(text).exists():
        places = map(Path, glob.glob(text, recursive=True))  # noqa: PTH207 (an absolute pattern, too)
        # "**" finds a folder and what is in it
        found = sorted({file for each in places for file in (_files_in(each) if each.is_dir() else [str(each)])})
        if "**" in text:  # whoever names a folder in the pattern means it
            start = Path(text.partition("**")[0])
            found = [each for each in found if _is_meant(Path(each), start)]
    else:
        return [text]
    if not found:
        raise FileNotFoundError(f"there is no parquet file at {text}; pass a file, a folder of them or a pattern")
    return found


def _files_in(folder: Path) -> list[str]:
    """Returns the files of a folder and of its folders, which may be called ``.parquet`` too.

    What begins with a dot or an underscore is not meant: it is being written, or is no data.
    """
    return sorted(str(each) for each in folder.rglob("*.parquet") if each.is_file() and _is_meant(each, folder))


def _is_meant(path: Path, folder: Path) -> bool:
    below = path.parts[len(folder.parts) :]
    return not any(part.startswith((".", "_")) for part in below)


def parquet_schema(paths: Sequence[str], columns: Sequence[str]) -> pa.Schema:
    """Returns the schema of parquet files that are alike in these columns.

    Raises:
        ConfigError: if a column does not exist.
        DataTypeError: if a column is of another type in another file.
        FileFormatError, FileNotFoundError: as ``read_parquet_file``.
    """
    first: pa.Schema = None
    for path in paths:
        with _parquet(path) as file:
            schema = file.schema_arrow
        _check_present(path, schema.names, columns)
        first = schema if first is None else first
        for column in columns:
            if schema.names.count(column) > 1:
                raise ConfigError(f"{path} has several columns {column!r}; rename them")
            here, there = schema.field(column).type, first.field(column).type
            if here != there:
                raise DataTypeError(
                    f"column {column!r} is {there} in {paths[0]} and {here} in {path}; write all files alike"
                )
    return first


def _check_present(path: str, present: Sequence[str], columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in present]
    if missing:
        raise ConfigError(f"{path} has no column {missing[0]!r}; its columns are {present}")


def stream_parquet_file(
    path: str | os.PathLike[str], columns: Sequence[str], *, rows_at_once: int
) -> Iterator[pa.Table]:
    """Yields these columns of a parquet file, so many rows at a time.

    Raises:
        FileFormatError, FileNotFoundError: as ``read_parquet_file``.
    """
    with _parquet(path_text("path", path)) as file:
        for batch in file.iter_batches(batch_size=rows_at_once, columns=list(dict.fromkeys(columns))):
            yield pa.Table.from_batches([batch])


def parquet_column_names(path: str | os.PathLike[str]) -> list[str]:
    """Returns the names of a parquet file's columns.

    Raises:
        FileFormatError, FileNotFoundError: as ``read_parquet_file``.
    """
    with _parquet(path_text("path", path)) as file:
        return list(file.schema_arrow.names)


@contextlib.contextmanager
def _parquet(path: str) -> Iterator[parquet.ParquetFile]:
    """Yields an open parquet file."""
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise FileFormatError(f"cannot read {path} as parquet: {error}; it is damaged or of another kind") from error
