"""Whether rows of a text are lost within quotes that are opened and never closed."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recoder.errors import FileFormatError

__all__ = ["Swallowed", "check_quotes"]

_log = logging.getLogger("recoder.data")

_NEWLINE, _RETURN = ord("\n"), ord("\r")
_IF_QUOTES_ARE_LETTERS = "if quotes are letters in this file, say so (quote=None, on the command line --quote '')"


def check_quotes(table: pa.Table, columns: Sequence[str], where: str) -> None:
    """Checks that no id goes over the end of a line, as where a quote is never closed and takes all rows up to another.

    Args:
        table: what was read.
        columns: of ids.
        where: what to call the file in an error.

    Raises:
        FileFormatError: if one does.
    """
    for name in columns:
        column = table.column(name)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            for text in column.filter(pc.match_substring(column, "\n")).to_pylist():
                lines = text.split("\n")
                raise FileFormatError(
                    f"an id in column {name!r} of {where} goes over {len(lines)} lines: "
                    f"{', '.join(map(repr, lines[:2]))}, ...; perhaps a quote is opened and not closed. Close it, or "
                    f"{_IF_QUOTES_ARE_LETTERS}"
                )


class Swallowed:
    """Whether rows are lost in a field whose quote is never closed: such fields take all lines up to another quote.

    Args:
        quote: the character around fields.
        separator: the byte between two fields.
        num_columns: fields of a row.
    """

    def __init__(self, quote: str, separator: bytes, num_columns: int) -> None:
        self._quote, self._least = quote.encode(), num_columns - 1
        self._separator = separator
        self._num_lines, self._num_like_rows = 0, 0

    def look_at(self, lines: bytes, num_rows: int | None = None) -> None:
        """Takes note of a block that begins outside quotes and ends where a line does; and of its rows, if known."""
        num_lines = lines.count(b"\n") + (not lines.endswith(b"\n"))
        if num_lines == num_rows:
            self._num_lines += num_lines
            return
        codes = np.frombuffer(lines, np.uint8)
        ends = np.flatnonzero(codes == _NEWLINE)
        if not lines.endswith(b"\n"):
            ends = np.append(ends, len(codes))
        starts = np.append(0, ends[:-1] + 1)
        is_empty = (ends == starts) | ((ends == starts + 1) & (codes[starts.clip(max=len(codes) - 1)] == _RETURN))
        self._num_lines += len(ends) - int(is_empty.sum())
        quotes, separators = (np.flatnonzero(codes == ord(mark)) for mark in (self._quote, self._separator))
        is_within = np.searchsorted(quotes, starts) % 2 == 1
        num_separators = np.searchsorted(separators, ends) - np.searchsorted(separators, starts)
        self._num_like_rows += int((is_within & (num_separators >= self._least)).sum())

    def warn(self, num_rows: int, where: str) -> None:
        """Logs a warning where lines are no rows, the first one included, and could be some."""
        num_lost = min(self._num_lines - num_rows, self._num_like_rows)
        if num_lost > 0:
            said = "%d of the %d lines of %s are within quoted fields, and could be rows that are lost; %s"
            _log.warning(said, num_lost, self._num_lines, where, _IF_QUOTES_ARE_LETTERS)
