"""Checking, before long work, where tables are to be written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recoder.cli.out_files import Place, check_outs
from recoder.data.table_files import check_ending

__all__ = ["check_table_file"]


def check_table_file(path: Path, *, inputs: Iterable[Place] = ()) -> None:
    """Checks, before long work, that tables could be written to a file.

    Args:
        path: the file.
        inputs: files that are read, which it is not to be.

    Raises:
        ConfigError: if its ending says of no form that can be written, it is a folder or one of those that are read.
        FileWriteError: if the file could not be written.
    """
    check_ending(path)
    check_outs(inputs=inputs, out=path)
