"""Writing files so that a crash at any moment leaves either the old file or the new one."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import json
import logging
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from recoder.errors import FileWriteError

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "BEFORE",
    "MANIFEST",
    "append",
    "as_os_error",
    "atomic_folder",
    "atomic_place",
    "atomic_write",
    "check_writable",
    "has_manifest_of",
    "held_alone",
    "move",
    "replace_folder",
    "set_aside",
    "sync",
    "working_folder",
    "write_errors",
]

_log = logging.getLogger("recoder.files")

BEFORE = ".before"
"""Ends the name of a folder while another takes its place."""

MANIFEST = "manifest.json"
"""The file that says what a folder of ours holds."""

_WORKING = r"\.[0-9a-f]{8}\.tmp"
"""Ends the name of a hidden folder in which a file, or a folder, is written until it takes its place."""

# of linux/fcntl.h and linux/fs.h: paths that begin at the working directory, and the names of both change
_HERE, _EXCHANGE = -100, 2

_NEXT_STEPS = {
    errno.ENOSPC: "free some space, or choose another folder",
    errno.EDQUOT: "free some space, or choose another folder",
    errno.EFBIG: "choose a folder that takes larger files",
    errno.EISDIR: "pass the path of a file",
    errno.ENODEV: "pass the path of a file",
}

_IN_PLACE = "the new one is in place, but a loss of power might still undo that"


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path; on a clean exit the file there is synced and takes the place of ``path``.

    Missing folders are made. On any error, an interrupt included, what was written is removed and a previous file at
    ``path`` stays as it was. The new file has its permissions; where ``path`` is a link, the file that it leads to is
    replaced. The temporary path is in a folder of its own, where a library may write files of its own beside it.

    Raises:
        FileWriteError: if the folder or the file cannot be written, for example because the disk is full.
    """
    with write_errors(path), atomic_place(path) as temporary:
        yield temporary


@contextlib.contextmanager
def atomic_place(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields what ``atomic_write`` does, for a block that reads other files too: its own errors stay as they are.

    Raises:
        FileWriteError: if the file cannot be made, or take its place.
    """
    target = _real(path)
    with contextlib.ExitStack() as stack:
        with write_errors(target):
            temporary = stack.enter_context(_file_in_working_folder(target))
            mode = stat.S_IMODE((target if target.exists() else temporary).stat().st_mode)
        yield temporary
        with write_errors(target):
            temporary.chmod(mode)
            sync(temporary)
            temporary.replace(target)
        with write_errors(target, kept=_IN_PLACE):
            sync(target.parent)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str], is_such: Callable[[Path], bool]) -> Iterator[Path]:
    """Yields a temporary folder beside ``path``; on a clean exit its files are synced and it is renamed to ``path``.

    On any error, an interrupt included, the temporary folder is removed and a previous one at ``path`` stays. Where
    ``path`` is a link, the folder that it leads to is replaced.

    Args:
        path: of the folder.
        is_such: returns whether a folder is one of this kind: only such a one, or an empty one, is replaced.

    Raises:
        FileWriteError: if it cannot be written, or what is there is something else.
    """
    target = _real(path)
    with contextlib.ExitStack() as stack:
        with write_errors(target):
            if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not is_such(target))):
                raise FileWriteError(
                    f"cannot write {target}: something else is there, and stays; choose the name of a new folder"
                )
            temporary = stack.enter_context(working_folder(target)) / target.name
            temporary.mkdir()
        with write_errors(target):
            yield temporary
            for file in temporary.iterdir():
                sync(file)
            sync(temporary)
        replace_folder(temporary, target)


@contextlib.contextmanager
def working_folder(target: Path) -> Iterator[Path]:
    """Yields a new hidden folder beside ``target``, which is removed at the end with what is in it.

    Nobody else may look into it. Missing folders are made. What processes that were killed left of theirs for the same
    ``target`` is removed: whoever works in one holds a lock on it, which the system takes from the dead. Where the
    file system has no such locks, it stays.

    Raises:
        OSError: if it cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        if re.fullmatch(_WORKING, left.name.removeprefix(f".{target.name}")):
            _remove_if_left(left)
    folder, lock = _locked_folder(target)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextlib.contextmanager
def held_alone(target: Path) -> Iterator[None]:
    """Keeps other processes out of such blocks for the same ``target``, as far as the file system has locks.

    A hidden folder beside it is locked, and removed at the end; one that a killed process left does no harm.

    Raises:
        BlockingIOError: if another one is in such a block.
        OSError: if the folder cannot be made.
    """
    target = _real(target)
    folder = target.with_name(f".{target.name}.in-use")
    lock = None
    while lock is None:
        folder.mkdir(mode=stat.S_IRWXU, exist_ok=True)
        lock = _locked(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder(target: Path) -> tuple[Path, int]:
    """Returns a new folder beside ``target``, and the descriptor that holds the lock on it."""
    while True:
        folder = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        folder.mkdir(mode=stat.S_IRWXU)
        # until it is locked it looks like one that was left, and another process may remove it
        with contextlib.suppress(BlockingIOError):
            lock = _locked(folder)
            if lock is not None:
                return folder, lock


def _locked(folder: Path) -> int | None:
    """Opens a folder, takes its lock and returns the descriptor that holds it; None: somebody removed the folder.

    Raises:
        BlockingIOError: if another one holds the lock.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        if _take(descriptor) is False:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
        if folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat()):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _remove_if_left(folder: Path) -> None:
    """Removes a folder that another process made for itself, if that has died; else, or if it cannot, leaves it."""
    with contextlib.suppress(OSError):
        lock = os.open(folder, os.O_RDONLY)
        try:
            if _take(lock):
                shutil.rmtree(folder)
        finally:
            os.close(lock)


def _take(descriptor: int) -> bool | None:
    """Returns whether the lock of an open folder could be taken: not while another has it; None: there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def replace_folder(whole: Path, target: Path) -> None:
    """Gives a file or folder that was written another name beside it, in place of the file or folder that has it.

    Where the system cannot exchange two names, whoever is killed in between leaves the old one under the name that
    ``set_aside`` gives it.

    Raises:
        FileWriteError: if that fails.
    """
    with write_errors(target):
        old: Path | None = whole
        if not (target.exists() and _exchanged(whole, target)):  # else it has the old one's content now
            old = set_aside(target) if target.exists() else None
            try:
                whole.rename(target)
            except BaseException:
                if old is not None:
                    old.rename(target)
                raise
    with write_errors(target, kept=_IN_PLACE):
        sync(target.parent)
    if old is not None:
        try:
            _remove(old)
        except OSError as error:
            _log.warning("%s is in place, but what was there before stays in %s: %s", target, old, error)


def _exchanged(one: Path, other: Path) -> bool:
    """Gives each the other's name, both at once; returns whether system and file system can (Linux: renameat2)."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, TypeError):  # not on macOS, and no library without a name on Windows
        return False
    return bool(rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)


def set_aside(path: Path) -> Path:
    """Gives a file or folder another name at once: who is killed while it is removed leaves no half of it."""
    before = path.with_name(f".{path.name}{BEFORE}")
    if before.exists():
        _remove(before)
    return path.rename(before)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def append(path: str | os.PathLike[str], data: bytes) -> None:
    """Adds data at the end of a file and syncs it; if that fails, the file is cut to what it was.

    Raises:
        FileWriteError: if it fails.
    """
    # unbuffered, so that closing has nothing left to write
    with write_errors(path, kept="what it held it still holds"), Path(path).open("ab", buffering=0) as stream:
        size = stream.tell()
        try:
            if stream.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(stream.fileno())
        except OSError:
            stream.truncate(size)
            raise


def move(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Gives a file that was written another name in its folder, in place of a file that has it.

    Raises:
        FileWriteError: if that fails.
    """
    with write_errors(target):
        Path(path).replace(target)
    with write_errors(target, kept=_IN_PLACE):
        sync(Path(target).parent)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Checks, before long work, that a file could be written at ``path``; makes its folder.

    Raises:
        FileWriteError: if it could not.
    """
    with write_errors(path), _file_in_working_folder(_real(path)):
        pass


@contextlib.contextmanager
def write_errors(path: str | os.PathLike[str], *, kept: str = "nothing was changed there") -> Iterator[None]:
    """Turns an ``OSError`` of the block into a ``FileWriteError``.

    Args:
        path: of the file or folder that is written in the block.
        kept: what stands there now.
    """
    try:
        yield
    except FileWriteError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        next_step = _NEXT_STEPS.get(error.errno or 0, "choose a folder that you may write to")
        message = f"cannot write {Path(path)}: {reason}; {kept}. To go on, {next_step}"
        raise (FileWriteError(error.errno, message) if error.errno else FileWriteError(message)) from error


def as_os_error(error: Exception) -> OSError:
    """Returns the error of the operating system that a library of Rust, such as safetensors, tells of in words."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))


def _real(path: str | os.PathLike[str]) -> Path:
    """Returns where a path leads: what is written beside a link would be on another disk, and take the link's place."""
    return Path(os.path.realpath(path)) if os.fspath(path) else Path()


@contextlib.contextmanager
def _file_in_working_folder(target: Path) -> Iterator[Path]:
    """Yields the path of a new empty file in a working folder, for a file that may be written at ``target``."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if target.exists() and not target.is_file():
        raise OSError(errno.ENODEV, "it is a device or a pipe")
    with working_folder(target) as folder:
        path = folder / target.name
        path.touch()
        yield path


def has_manifest_of(folder: Path, kind: str) -> bool:
    """Returns whether a folder's manifest, a name that others use too, says that it is of this kind."""
    try:
        return bool(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["format"] == kind)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
