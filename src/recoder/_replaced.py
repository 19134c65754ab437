"""Reading files that belong together while another process may replace them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from recoder.errors import FileFormatError

__all__ = ["read_again_if_replaced"]

_Read = TypeVar("_Read")


def read_again_if_replaced(leading: Path, read: Callable[[], _Read]) -> _Read:
    """Returns what ``read`` returns; where it fails, and the files were replaced meanwhile, it is called once more.

    The first half of what was read may have been of the old files, and the second half of the new ones.

    Args:
        leading: the file that says what the others should be, and is replaced with them.
        read: reads it, and then the others.
    """
    before = _identity(leading)
    try:
        return read()
    except (FileFormatError, FileNotFoundError):
        if _identity(leading) == before:
            raise
    return read()


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
