"""What one process has to itself: a folder to write in, or a name; by locks that the system takes from the dead."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import secrets
import shutil
import socket
import stat
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["held_alone", "working_folder"]

_HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"
"""A file system that machines share may keep the locks of folders to each of them."""

_TRIES = 100
_OPEN_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)

_held: set[int] = set()
"""The descriptors that hold locks."""


@contextlib.contextmanager
def working_folder(target: Path, *, mode: int = stat.S_IRWXU) -> Iterator[Path]:
    """Yields a new hidden folder beside ``target``, which is removed at the end with what is in it.

    Missing folders are made. What processes of this host that were killed left of theirs for the same ``target`` is
    removed: whoever works in one holds a lock on it. Where the file system has no such locks, it stays.

    Args:
        target: what is to be made in the folder.
        mode: permissions of the folder, from which those of the umask are taken; by default nobody else looks into it.

    Raises:
        OSError: if it cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{glob.escape(target.name)}.{_HOST}-*.tmp"):
        if re.fullmatch(rf"\.{_HOST}-[0-9a-f]{{8}}\.tmp", left.name.removeprefix(f".{target.name}")):
            _remove_if_left(left)
    folder, lock = _locked_folder(target, mode)
    owner = os.getpid()
    try:
        yield folder
    finally:
        if os.getpid() == owner:  # else it is a child's copy of the block that ends
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                _release(lock)


@contextlib.contextmanager
def held_alone(target: Path) -> Iterator[None]:
    """Keeps other processes out of such blocks for the same ``target``, as far as the file system has locks.

    A hidden file beside it is locked, and removed at the end; one that a killed process left does no harm.

    Raises:
        BlockingIOError: if another one is in such a block.
        OSError: if the file cannot be made.
    """
    target = Path(os.path.realpath(target))
    file = target.with_name(f".{target.name}.lock")
    lock = _locked_file(file)
    owner = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == owner:
            try:
                file.unlink(missing_ok=True)
            finally:
                _release(lock)


def _locked_folder(target: Path, mode: int) -> tuple[Path, int]:
    """Returns a new folder beside ``target``, and the descriptor that holds the lock on it."""
    for _ in range(_TRIES):
        folder = target.with_name(f".{target.name}.{_HOST}-{secrets.token_hex(4)}.tmp")
        folder.mkdir(mode=mode)
        # until it is locked it looks like one that was left, and another process may remove it
        try:
            with contextlib.suppress(FileNotFoundError):
                folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IRWXU)  # whatever the umask
                lock = _opened(folder, _OPEN_FOLDER)
                if _take(lock) is not False and folder.exists():
                    return folder, lock
                _release(lock)
        except BaseException:
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise
    raise OSError(errno.EBUSY, f"{folder.name} and others were removed as soon as they were made")


def _locked_file(file: Path) -> int:
    """Returns the descriptor that holds the lock on a file, which is made if it is missing.

    Raises:
        BlockingIOError: if another one holds it.
    """
    for _ in range(_TRIES):
        # network file systems lock only what is open for writing
        lock = _opened(file, os.O_RDWR | os.O_CREAT)
        try:
            if _take(lock) is False:
                raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), file.stat()):
                    return lock
        except BaseException:
            _release(lock)
            raise
        _release(lock)  # who held it has removed the file
    raise OSError(errno.EBUSY, f"{file.name} was removed as soon as it was made")


def _remove_if_left(folder: Path) -> None:
    """Removes a folder that another process made for itself, if that has died; else, or if it cannot, leaves it."""
    with contextlib.suppress(OSError):
        lock = _opened(folder, _OPEN_FOLDER)
        try:
            if _take(lock):
                shutil.rmtree(folder)
        finally:
            _release(lock)


def _opened(path: Path, flags: int) -> int:
    descriptor = os.open(path, flags, 0o666)
    _held.add(descriptor)
    return descriptor


def _release(descriptor: int) -> None:
    _held.discard(descriptor)
    os.close(descriptor)


def _take(descriptor: int) -> bool | None:
    """Returns whether the lock of what is open could be taken: not while another has it; None: there are no locks."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _let_go() -> None:
    """Closes a child's copies: a lock lasts until the last of them is closed, and a child may outlive its parent."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
