"""Where results go, checked before any work."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from pathlib import Path

from recoder._files import write_errors
from recoder._locks import working_folder
from recoder.errors import ConfigError

__all__ = ["check_folder", "check_outs"]

Place = str | os.PathLike[str] | None


def check_outs(*, inputs: Iterable[Place] = (), **outs: Place) -> None:
    """Checks that files can be written, and that none of them is read, or written twice.

    Args:
        inputs: files that are read; None: there is none, as with ``outs``.
        outs: files that are to be written, by the name of their option.

    Raises:
        ConfigError: if one is a folder or lies in a file, or is one of the others.
        FileWriteError: if one could not be written.
    """
    taken = {str(path): "is read" for path in inputs if path is not None}
    for option, out in outs.items():
        if out is None:
            continue
        if Path(out).is_dir():
            raise ConfigError(f"--{option} {os.fspath(out)} is a folder; name a file in it")
        for other, use in taken.items():
            if _is_same(Path(out), Path(other)):
                raise ConfigError(
                    f"--{option} {os.fspath(out)} would be written over {other}, which {use}; choose another"
                )
        _check_place(option, Path(out))
        taken[str(out)] = f"is that of --{option}"


def check_folder(out: Path) -> None:
    """Checks that files can be written to a folder; it need not be there.

    Raises:
        ConfigError: if it is a file, or lies in one.
        FileWriteError: if none could be written there.
    """
    _check_place("out", out / f".{uuid.uuid4().hex}")


def _check_place(option: str, out: Path) -> None:
    place = Path(os.path.realpath(out))  # where a link leads is written
    if place.exists() and not place.is_file():
        raise ConfigError(f"cannot write --{option} {out}, which is no ordinary file; choose another place")
    there = next(parent for parent in place.parents if parent.exists())
    if not there.is_dir():
        raise ConfigError(f"cannot write --{option} {out}: {there} is a file, no folder; choose another place")
    with write_errors(out), working_folder(there / place.name):  # where a file is until it is whole
        pass


def _is_same(one: Path, other: Path) -> bool:
    return one.samefile(other) if one.exists() and other.exists() else one.resolve() == other.resolve()
