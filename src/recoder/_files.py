"""Writing files so that a crash at any moment leaves either the old file or the new one."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from recoder.errors import FileWriteError

__all__ = ["append", "atomic_write", "check_writable", "move"]


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; on a clean exit it is synced and renamed to ``path``.

    Missing folders are made. On any error, an interrupt included, the temporary file is removed and a previous
    file at ``path`` stays as it was.

    Raises:
        FileWriteError: if the folder or the file cannot be written, for example because the disk is full.
    """
    target = Path(path)
    try:
        if target.is_dir():
            raise IsADirectoryError(f"{target} is a folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise _write_error(target, error) from error
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise _write_error(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def append(path: str | os.PathLike[str], data: bytes) -> None:
    """Adds data at the end of a file and syncs it; if that fails, the file is cut to what it was.

    Raises:
        FileWriteError: if it fails.
    """
    target = Path(path)
    try:
        # unbuffered, so that closing has nothing left to write
        with target.open("ab", buffering=0) as stream:
            size = stream.tell()
            try:
                if stream.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(stream.fileno())
            except OSError:
                stream.truncate(size)
                raise
    except OSError as error:
        raise _write_error(target, error) from error


def move(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Gives a file that was written another name in its folder, in place of a file that has it.

    Raises:
        FileWriteError: if that fails.
    """
    try:
        Path(path).replace(target)
        _sync(Path(target).parent)
    except OSError as error:
        raise _write_error(Path(target), error) from error


def check_writable(path: str | os.PathLike[str]) -> None:
    """Checks, before long work, that a file could be written at ``path``; makes its folder.

    Raises:
        FileWriteError: if it could not.
    """
    target = Path(path)
    probe = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise _write_error(target, error) from error


def _write_error(target: Path, error: OSError) -> FileWriteError:
    reason = error.strerror or str(error)
    message = (
        f"cannot write {target}: {reason}; nothing was changed there. "
        "Free some space, or choose a folder that you may write to"
    )
    return FileWriteError(error.errno or 0, message)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
