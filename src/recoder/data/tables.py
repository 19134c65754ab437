"""Reading the columns that are asked for from text and parquet files, as Arrow tables.

Text goes through ``pyarrow.csv``, which knows separators of one character only. A longer one, such as ``::``, is
replaced by an unused control character while the file streams by: one ``bytes.replace`` for each block.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import IO, Any

import pyarrow as pa
from pyarrow import csv, parquet

from recoder._checks import path_text
from recoder.errors import ConfigError, EmptyDataError, FileFormatError

__all__ = ["read_csv_file", "read_delimited", "read_parquet_file"]

_UNIT_SEPARATOR = b"\x1f"  # ASCII has it for this very purpose
_BLOCK_BYTES = 1 << 22

Open = Callable[[], AbstractContextManager[IO[bytes]]]


def read_csv_file(
    path: str | os.PathLike[str],
    columns: Sequence[str],
    *,
    separator: str,
    names: Sequence[str] | None,
    encoding: str,
    quote: str | None,
    types: Mapping[str, Any] | None,
) -> pa.Table:
    """Returns these columns of a text file; one whose name ends in .gz, .bz2, .zst or .lz4 is decompressed.

    Raises:
        ConfigError, EmptyDataError, FileFormatError: as ``read_delimited``.
        FileNotFoundError: if there is no such file.
    """
    text = path_text("path", path)
    return read_delimited(
        lambda: pa.input_stream(text, compression="detect"),
        columns,
        where=text,
        separator=separator,
        names=names,
        encoding=encoding,
        quote=quote,
        types=types,
    )


def read_delimited(
    open_file: Open,
    columns: Sequence[str],
    *,
    where: str,
    separator: str = ",",
    names: Sequence[str] | None = None,
    encoding: str = "utf8",
    quote: str | None = '"',
    types: Mapping[str, Any] | None = None,
) -> pa.Table:
    """Returns these columns of a text with one row per line.

    Args:
        open_file: opens the text anew, as bytes; called twice where the text is damaged, to find the line.
        columns: which to read; the others are skipped.
        where: what to call the file in an error.
        separator: what stands between two fields, one character or several.
        names: what the columns are called, where the first line does not say so.
        encoding: of the text, any that Python knows.
        quote: the character around fields that hold separators; None: there is none.
        types: Arrow types of columns for which the inferred ones are not right.

    Raises:
        ConfigError: if a column does not exist, or ``separator``, ``quote`` or ``encoding`` cannot be used.
        EmptyDataError: if there are no rows.
        FileFormatError: if a line has too many or too few fields, a field is not of its type, or the file is
            truncated.
    """
    _check_options(separator, quote, encoding)
    present = list(names) if names is not None else _header(open_file, where, separator, encoding, quote)
    missing = [name for name in columns if name not in present]
    if missing:
        raise ConfigError(f"{where} has no column {missing[0]!r}; its columns are {present}")

    def read(use_threads: bool) -> pa.Table:
        with open_file() as stream:
            return csv.read_csv(
                _replaced(stream, separator, encoding),
                csv.ReadOptions(
                    use_threads=use_threads,
                    block_size=_BLOCK_BYTES,
                    column_names=present,
                    skip_rows=0 if names is not None else 1,
                    encoding=encoding,
                ),
                _parse_options(separator, quote),
                csv.ConvertOptions(
                    include_columns=list(dict.fromkeys(columns)),
                    column_types=dict(types or {}),
                    # an artist may be called "NA" or "null": what is missing is empty
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )

    try:
        table = read(use_threads=True)
    except pa.ArrowInvalid as error:
        raise _format_error(where, lambda: read(use_threads=False), error) from error
    except (EOFError, OSError, UnicodeError) as error:
        raise FileFormatError(f"cannot read {where}: {error}; it is damaged or cut off: get it again") from error
    if not table.num_rows:
        raise EmptyDataError(f"{where} has no rows; there must be at least one interaction")
    return table


def read_parquet_file(path: str | os.PathLike[str], columns: Sequence[str]) -> pa.Table:
    """Returns these columns of a parquet file.

    Raises:
        ConfigError: if a column does not exist.
        FileFormatError: if it is no parquet file, or a damaged one.
        FileNotFoundError: if there is no such file.
    """
    text = path_text("path", path)
    try:
        with parquet.ParquetFile(text) as file:
            present = file.schema_arrow.names
            missing = [name for name in columns if name not in present]
            if missing:
                raise ConfigError(f"{text} has no column {missing[0]!r}; its columns are {present}")
            return file.read(columns=list(dict.fromkeys(columns)))
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise FileFormatError(f"cannot read {text} as parquet: {error}; it is damaged or of another kind") from error


def _check_options(separator: str, quote: str | None, encoding: str) -> None:
    if not isinstance(separator, str) or not separator or "\n" in separator or "\r" in separator:
        raise ConfigError(f'separator is {separator!r}; it must be one or more characters, such as "," or "::"')
    if quote is not None and (not isinstance(quote, str) or len(quote) != 1):
        raise ConfigError(f"quote is {quote!r}; it must be one character, or None where the file quotes nothing")
    try:
        "".encode(encoding)
    except (LookupError, TypeError) as error:
        raise ConfigError(f'encoding is {encoding!r}; it must be one that Python knows, such as "utf8"') from error


def _parse_options(separator: str, quote: str | None) -> csv.ParseOptions:
    delimiter = separator if len(separator) == 1 else _UNIT_SEPARATOR.decode()
    return csv.ParseOptions(delimiter=delimiter, quote_char=quote or False, double_quote=quote is not None)


def _header(open_file: Open, where: str, separator: str, encoding: str, quote: str | None) -> list[str]:
    with open_file() as stream:
        try:
            line = io.BufferedReader(_Stream(stream)).readline()
        except (EOFError, OSError) as error:
            raise FileFormatError(f"cannot read {where}: {error}; it is damaged or cut off: get it again") from error
    if not line.strip():
        raise EmptyDataError(f"{where} is empty; its first line must name the columns")
    options = csv.ReadOptions(encoding=encoding)
    try:
        header = csv.read_csv(
            _replaced(io.BytesIO(line), separator, encoding), options, _parse_options(separator, quote)
        )
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise FileFormatError(f"cannot read the first line of {where}: {error}; pass its encoding") from error
    names: list[str] = header.column_names
    return [name.removeprefix("\ufeff") for name in names]


def _replaced(stream: Any, separator: str, encoding: str) -> Any:
    return stream if len(separator) == 1 else _Stream(stream, separator.encode(encoding), _UNIT_SEPARATOR)


def _format_error(where: str, read_slowly: Callable[[], Any], error: Exception) -> FileFormatError:
    """Returns an error that names the line: Arrow knows it when one thread reads the file from its start."""
    try:
        read_slowly()
    except pa.ArrowInvalid as precise:
        error = precise
    except (EOFError, OSError, UnicodeError) as other:
        error = other
    return FileFormatError(
        f"cannot read {where}: {error}; the file is damaged or of another form: mend that line, or get it again"
    )


class _Stream(io.RawIOBase):
    """Reads another stream, with every ``old`` replaced by ``new``, which is shorter.

    Args:
        stream: the other one.
        old: what to replace; empty: nothing.
        new: what to put in its place; the text must not hold it already.
    """

    def __init__(self, stream: Any, old: bytes = b"", new: bytes = b"") -> None:
        self._stream, self._old, self._new = stream, old, new
        self._ready = b""
        self._rest = b""  # the end of a block, where that may be the first half of a separator
        self._ended = False

    def readable(self) -> bool:
        """Returns True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer; returns how many bytes there were, 0 at the end."""
        while not self._ready and not self._ended:
            self._ready = self._next(len(buffer))
        block, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(block)] = block
        return len(block)

    def _next(self, size: int) -> bytes:
        block = bytes(self._stream.read(size))
        self._ended = not block
        if not self._old:
            return block
        if self._new in block:
            raise FileFormatError(f"the text holds the control character {self._new!r}: it is damaged or no text")
        text, self._rest = (self._rest + block, b"") if self._ended else self._split(self._rest + block)
        return text.replace(self._old, self._new)

    def _split(self, text: bytes) -> tuple[bytes, bytes]:
        """Returns the text up to a separator that the end of the block may have cut in two, and the rest."""
        for length in range(len(self._old) - 1, 0, -1):
            # whole separators count from the left: ":::" ends in the first half of another, "::" does not
            if text.endswith(self._old[:length]) and self._without(text).endswith(self._old[:length]):
                return text[:-length], text[-length:]
        return text, b""

    def _without(self, text: bytes) -> bytes:
        return text.replace(self._old, b"\n" * len(self._old))
