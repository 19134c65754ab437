"""Reading the columns that are asked for from text files, as Arrow tables.

Text goes through ``pyarrow.csv``, which knows separators of one character only. A longer one, such as ``::``, is
replaced by an unused control character while the file streams by: one ``bytes.replace`` for each block.

Arrow is given its own files or memory, never a stream of Python's: its threads, which read ahead, would call Python
when the process ends, and abort it.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import logging
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from recoder._checks import path_text
from recoder.data.quotes import Swallowed
from recoder.errors import ConfigError, EmptyDataError, FileFormatError

__all__ = [
    "UNREADABLE",
    "check_text_form",
    "csv_column_names",
    "read_csv_file",
    "read_delimited",
    "read_header",
    "stream_csv_file",
]

_log = logging.getLogger("recoder.data")

_UNIT_SEPARATOR = b"\x1f"  # ASCII has it for this very purpose
_BLOCK_BYTES = 1 << 22
_MOST_BYTES = 1 << 26  # that are kept until a quote ends

# what reading a damaged file raises, archives and compressed ones included
UNREADABLE = (EOFError, OSError, UnicodeError, zlib.error, zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError)

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
        open_file: opens the text anew, as bytes; called again to count lines, and where the text is damaged to find the
            line.
        columns: which to read; the others are skipped.
        where: what to call the file in an error.
        separator: what stands between two fields, one character or several.
        names: what the columns are called, where the first line does not say so.
        encoding: of the text, one that Python knows and that writes ASCII in single bytes.
        quote: the character around fields that hold separators; None: there is none.
        types: Arrow types of columns for which the inferred ones are not right.

    Raises:
        ConfigError: if a column does not exist or two have its name, or ``separator``, ``quote`` or ``encoding`` cannot
            be used.
        EmptyDataError: if there are no rows.
        FileFormatError: if a line has too many or too few fields, a field is not of its type, or the file is
            truncated.
    """
    check_text_form(separator, quote, encoding)
    present = list(names) if names is not None else read_header(open_file, where, separator, encoding, quote)
    missing = [name for name in [*columns, *(types or ())] if name not in present]
    if missing:
        raise ConfigError(f"{where} has no column {missing[0]!r}; its columns are {present}")
    repeated = [name for name in columns if present.count(name) > 1]
    if repeated:
        raise ConfigError(f"{where} has {present.count(repeated[0])} columns {repeated[0]!r}; name them with names=")

    def read(*, use_threads: bool = True, newlines_in_fields: bool = False) -> pa.Table:
        with open_file() as stream:
            is_ready = _is_for_arrow(stream, separator, encoding)
            return csv.read_csv(
                stream if is_ready else _in_memory(stream, where, separator, encoding),
                csv.ReadOptions(
                    use_threads=use_threads,
                    block_size=_BLOCK_BYTES,
                    column_names=present,
                    skip_rows=0 if names is not None else 1,
                ),
                _parse_options(separator, quote, newlines_in_fields=newlines_in_fields),
                _convert_options(columns, types),
            )

    try:
        table = _read_either_way(read, may_hold_newlines=quote is not None)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            raise EmptyDataError(f"{where} is empty; there must be at least one interaction") from error
        raise _format_error(where, lambda: read(use_threads=False), error) from error
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        raise _damaged(where, error) from error
    if _is_replaced(separator) and quote is not None:
        table = _with_separators(table, separator)
    for field in table.schema:
        if pa.types.is_binary(field.type):  # what Arrow makes of text that is not UTF-8
            raise FileFormatError(f"column {field.name!r} of {where} is not {encoding}; pass the encoding of the file")
    if not table.num_rows:
        raise EmptyDataError(f"{where} has no rows; there must be at least one interaction")
    if quote is not None:
        num_rows = table.num_rows + (names is None)
        try:
            with open_file() as stream:
                has_more_lines = _num_lines(stream) > num_rows
            if has_more_lines:  # which may be empty ones
                swallowed = Swallowed(quote, _separating_byte(separator), len(present))
                with open_file() as stream:
                    for lines in _whole_lines(_Stream(stream, where, separator, encoding), encoding, quote):
                        swallowed.look_at(lines)
                swallowed.warn(num_rows, where)
        except UNREADABLE as error:
            raise _damaged(where, error) from error
    return table


def stream_csv_file(
    path: str | os.PathLike[str],
    columns: Sequence[str],
    *,
    separator: str,
    names: Sequence[str] | None,
    encoding: str,
    quote: str | None,
    types: Mapping[str, Any] | None,
) -> Iterator[pa.Table]:
    """Yields these columns of a text file, some thousands of rows at a time; otherwise as ``read_csv_file``.

    Args:
        path: the file; one whose name ends in .gz, .bz2, .zst or .lz4 is decompressed.
        columns: which to read.
        separator: what stands between two fields.
        names: what the columns are called, where the first line does not say so.
        encoding: of the text.
        quote: as in ``read_delimited``.
        types: Arrow types of columns; those of others follow from the first block, and are to hold for all.

    Raises:
        ConfigError, EmptyDataError, FileFormatError: as ``read_delimited``.
    """
    check_text_form(separator, quote, encoding)
    text = path_text("path", path)
    present = list(names or csv_column_names(text, separator=separator, encoding=encoding, quote=quote))
    known, skip = dict(types or {}), 0 if names is not None else 1
    num_lines = num_rows = 0  # before the block
    swallowed = None if quote is None else Swallowed(quote, _separating_byte(separator), len(present))
    try:
        with pa.input_stream(text, compression="detect") as stream:
            for lines in _whole_lines(_Stream(stream, text, separator, encoding), encoding, quote):
                table = csv.read_csv(
                    pa.BufferReader(lines),
                    csv.ReadOptions(use_threads=False, block_size=len(lines) + 1, column_names=present, skip_rows=skip),
                    _parse_options(separator, quote),
                    _convert_options(columns, known),
                )
                num_rows += (of_block := len(table) + skip)
                if swallowed is not None:
                    swallowed.look_at(lines, of_block)
                skip, num_lines = 0, num_lines + lines.count(b"\n")
                if not len(table):  # the first line alone tells no types
                    continue
                known = {field.name: field.type for field in table.schema}
                yield _with_separators(table, separator) if _is_replaced(separator) else table
        if swallowed is not None:
            swallowed.warn(num_rows, text)
    except pa.ArrowInvalid as error:
        reason = re.sub(r"Row #(\d+)", lambda row: f"Row #{num_lines + int(row[1])}", str(error))
        raise FileFormatError(
            f"cannot read {text}: {reason}; mend that line, or where ids are of several forms read them as text"
        ) from error
    except UNREADABLE as error:
        raise _damaged(text, error) from error


def _convert_options(columns: Sequence[str], types: Mapping[str, Any] | None) -> csv.ConvertOptions:
    return csv.ConvertOptions(
        include_columns=list(dict.fromkeys(columns)),
        column_types=dict(types or {}),
        # an artist may be called "NA" or "null": what is missing is empty
        null_values=[""],
        strings_can_be_null=True,
    )


def _num_lines(stream: Any) -> int:
    count, last = 0, b"\n"
    while block := bytes(stream.read(_BLOCK_BYTES)):
        count, last = count + block.count(b"\n"), block[-1:]
    return count + (last != b"\n")


def _with_separators(table: pa.Table, separator: str) -> pa.Table:
    """Returns the table with the separators that stood within quotes as they were."""
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            restored = pc.replace_substring(table.column(place), _UNIT_SEPARATOR.decode(), separator)
            table = table.set_column(place, field.name, restored)
    return table


def csv_column_names(
    path: str | os.PathLike[str], *, separator: str, encoding: str = "utf8", quote: str | None = '"'
) -> list[str]:
    """Returns the names of a text file's columns, as its first line has them.

    Raises:
        ConfigError, EmptyDataError, FileFormatError, FileNotFoundError: as ``read_csv_file``.
    """
    check_text_form(separator, quote, encoding)
    text = path_text("path", path)
    return read_header(lambda: pa.input_stream(text, compression="detect"), text, separator, encoding, quote)


def check_text_form(separator: str = ",", quote: str | None = '"', encoding: str = "utf8") -> None:
    """Checks how a text is said to be written.

    Raises:
        ConfigError: if none can be written so.
    """
    if not isinstance(separator, str) or not separator or {*"\n\r\0"} & {*separator}:
        raise ConfigError(f'separator is {separator!r}; it must be one or more characters, such as "," or "::"')
    if quote is not None and not (isinstance(quote, str) and len(quote) == 1 and "\0" < quote < "\x80"):
        raise ConfigError(f"quote is {quote!r}; it must be one ASCII character, or None where the file quotes nothing")
    try:
        is_plain = _is_utf8(encoding) or ",\n".encode(encoding) == b",\n"
    except (LookupError, TypeError) as error:
        raise ConfigError(f'encoding is {encoding!r}; it must be one that Python knows, such as "utf8"') from error
    if not is_plain:
        raise ConfigError(
            f"encoding is {encoding!r}, which does not write ASCII in single bytes; convert the file to utf8"
        )


def _read_either_way(read: Callable[..., pa.Table], *, may_hold_newlines: bool) -> pa.Table:
    """Reads a text in blocks that end with any line; if that fails, in such that end with none within quotes."""
    try:
        return read()
    except pa.ArrowInvalid:
        if not may_hold_newlines:
            raise
        with contextlib.suppress(pa.ArrowInvalid):
            return read(newlines_in_fields=True)
        raise


def _parse_options(separator: str, quote: str | None, *, newlines_in_fields: bool = False) -> csv.ParseOptions:
    return csv.ParseOptions(
        delimiter=_separating_byte(separator).decode(),
        quote_char=quote or False,
        double_quote=quote is not None,
        newlines_in_values=newlines_in_fields,
    )


def _is_replaced(separator: str) -> bool:
    """Returns whether a separator is none that Arrow knows: one of several characters, or beyond ASCII."""
    return len(separator) > 1 or not separator.isascii()


def _separating_byte(separator: str) -> bytes:
    """Returns what stands between two fields where Arrow reads them."""
    return _UNIT_SEPARATOR if _is_replaced(separator) else separator.encode()


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")  # Arrow skips the mark at the start


def read_header(
    open_file: Open, where: str, separator: str = ",", encoding: str = "utf8", quote: str | None = '"'
) -> list[str]:
    """Returns the names of a text's columns, as its first line has them.

    Raises:
        EmptyDataError: if there is none.
        FileFormatError: if it cannot be read.
    """
    try:
        with open_file() as stream:
            line = io.BufferedReader(_Stream(stream, where, ",", encoding)).readline()
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        raise _damaged(where, error) from error
    if not line.strip():
        raise EmptyDataError(f"{where} is empty; its first line must name the columns")
    try:
        fields = _in_memory(io.BytesIO(line), where, separator, encoding)
        header = csv.read_csv(fields, parse_options=_parse_options(separator, quote))
        names: list[str] = [name.replace(_UNIT_SEPARATOR.decode(), separator) for name in header.column_names]
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise FileFormatError(f"cannot read the first line of {where}: {error}; pass its encoding") from error
    return names


def _is_for_arrow(stream: Any, separator: str, encoding: str) -> bool:
    """Returns whether Arrow reads a text as it is."""
    return isinstance(stream, pa.NativeFile) and not _is_replaced(separator) and _is_utf8(encoding)


def _in_memory(stream: Any, where: str, separator: str, encoding: str) -> pa.BufferReader:
    """Returns a text of UTF-8 whose separators are one character."""
    text = pa.BufferOutputStream()
    for block in _utf8(_Stream(stream, where, separator, encoding), encoding):
        text.write(block)
    return pa.BufferReader(text.getvalue())


def _whole_lines(source: _Stream, encoding: str, quote: str | None) -> Iterator[bytes]:
    """Yields a text in UTF-8 in blocks that end where a line does, and none within quotes."""
    rest, mark = b"", None if quote is None else quote.encode()
    for block in _utf8(source, encoding):
        text = rest + block
        end = text.rfind(b"\n") + 1
        # or a mark for inches, which ends nowhere
        if mark is not None and text.count(mark, 0, end) % 2 and len(text) < _MOST_BYTES:
            end = text.rfind(b"\n", 0, text.rfind(mark, 0, end)) + 1
        if end:
            yield text[:end]
        rest = text[end:]
    if rest:
        yield rest


def _utf8(source: _Stream, encoding: str) -> Iterator[bytes]:
    is_utf8 = _is_utf8(encoding)
    decoder = codecs.getincrementaldecoder(encoding)()
    while block := source.read(_BLOCK_BYTES):
        yield block if is_utf8 else decoder.decode(block).encode()
    if not is_utf8:
        decoder.decode(b"", final=True)  # says where half a character stands at the end


def _damaged(where: str, error: Exception) -> FileFormatError:
    return FileFormatError(f"cannot read {where}: {error}; it is damaged, cut off or no file: get it again")


def _format_error(where: str, read_slowly: Callable[[], Any], error: Exception) -> FileFormatError:
    """Returns an error that names the line: Arrow knows it when one thread reads the file from its start."""
    try:
        read_slowly()
    except pa.ArrowInvalid as precise:
        error = precise
    except UNREADABLE as other:
        error = other
    return FileFormatError(
        f"cannot read {where}: {error}; the file is damaged or of another form: mend that line, or get it again"
    )


class _Stream(io.RawIOBase):
    """Reads another stream; a separator of several characters becomes one control character.

    Args:
        stream: the other one.
        where: what to call the file in an error.
        separator: what stands between two fields.
        encoding: of the text.
    """

    def __init__(self, stream: Any, where: str, separator: str, encoding: str) -> None:
        self._stream, self._where = stream, where
        self._old = separator.encode("utf8" if _is_utf8(encoding) else encoding) if _is_replaced(separator) else b""
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
        if _UNIT_SEPARATOR in block:
            raise FileFormatError(f"{self._where} holds the control character 0x1f: it is damaged or no text")
        text, self._rest = (self._rest + block, b"") if self._ended else self._split(self._rest + block)
        return text.replace(self._old, _UNIT_SEPARATOR)

    def _split(self, text: bytes) -> tuple[bytes, bytes]:
        """Returns the text up to a separator that the end of the block may have cut in two, and the rest."""
        for length in range(len(self._old) - 1, 0, -1):
            # whole separators count from the left: ":::" ends in the first half of another, "::" does not
            if text.endswith(self._old[:length]) and self._without(text).endswith(self._old[:length]):
                return text[:-length], text[-length:]
        return text, b""

    def _without(self, text: bytes) -> bytes:
        return text.replace(self._old, b"\n" * len(self._old))
