"""Writing files so that a crash at any moment leaves either the old file or the new one."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import logging
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from recoder._locks import working_folder
from recoder.errors import FileWriteError

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
    "move",
    "replace_folder",
    "reserve",
    "set_aside",
    "sync",
    "write_errors",
]

_log = logging.getLogger("recoder.files")

BEFORE = ".before"
"""Ends the name of a folder while another takes its place."""

MANIFEST = "manifest.json"
"""The file that says what a folder of ours holds."""

# of linux/fcntl.h and linux/fs.h: paths that begin at the working directory, and the names of both change
_HERE, _EXCHANGE = -100, 2

_NEXT_STEPS = {
    errno.ENOSPC: "free some space, or choose another folder",
    errno.EDQUOT: "free some space, or choose another folder",
    errno.EFBIG: "choose a folder that takes larger files",
    errno.EISDIR: "pass the path of a file",
    errno.ENAMETOOLONG: "choose a shorter name: while it is written it has 24 letters more",
    errno.ENODEV: "pass the path of a file",
}

_BLOCK_BYTES = 1 << 20

_IN_PLACE = "the new one is in place, but a loss of power might still undo that"


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], *, part_of: Path | None = None) -> Iterator[Path]:
    """Yields a temporary path; on a clean exit the file there is synced and takes the place of ``path``.

    Missing folders are made. On any error, an interrupt included, what was written is removed and a previous file at
    ``path`` stays as it was. The new file has its permissions; where ``path`` is a link, the file that it leads to is
    replaced. The temporary path is in a folder of its own, where a library may write files of its own beside it.

    Args:
        path: of the file.
        part_of: another file, where this one has a new name each time: what a killed process left of this one goes when
            ``part_of`` is written again.

    Raises:
        FileWriteError: if the folder or the file cannot be written, for example because the disk is full.
    """
    with write_errors(path), atomic_place(path, part_of=part_of) as temporary:
        yield temporary


@contextlib.contextmanager
def atomic_place(path: str | os.PathLike[str], *, part_of: Path | None = None) -> Iterator[Path]:
    """Yields what ``atomic_write`` does, for a block that reads other files too: its own errors stay as they are.

    Raises:
        FileWriteError: if the file cannot be made, or take its place.
    """
    target = _real(path)
    with contextlib.ExitStack() as stack:
        with write_errors(target):
            temporary = stack.enter_context(_file_in_working_folder(target, part_of or target))
            of_new = temporary.stat()
        yield temporary
        with write_errors(target):
            mode = stat.S_IMODE((target.stat() if target.exists() else of_new).st_mode)
            if stat.S_IMODE(temporary.stat().st_mode) != mode:
                temporary.chmod(mode)
            sync(temporary)
            temporary.replace(target)
        with write_errors(target, kept=_IN_PLACE):
            sync(target.parent)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str], is_such: Callable[[Path], bool]) -> Iterator[Path]:
    """Yields a hidden folder beside ``path``; on a clean exit its files are synced and it is renamed to ``path``.

    On any error, an interrupt included, the temporary folder is removed and a previous one at ``path`` stays. Where
    ``path`` is a link, the folder that it leads to is replaced.

    Args:
        path: of the folder.
        is_such: returns whether a folder is one of this kind: only such a one, or an empty one, is replaced.

    Raises:
        FileWriteError: if it cannot be written, or what is there is something else.
    """
    target = _real(path)

    def check() -> None:
        if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not is_such(target))):
            raise FileWriteError(
                f"cannot write {target}: something else is there, and stays; choose the name of a new folder"
            )

    with contextlib.ExitStack() as stack:
        with write_errors(target):
            check()
            temporary = stack.enter_context(working_folder(target, mode=0o777))
        with write_errors(target):
            yield temporary
            for file in temporary.iterdir():
                sync(file)
            sync(temporary)
            check()  # once more: the block may have taken hours
        replace_folder(temporary, target)


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
    with write_errors(path), _file_in_working_folder(_real(path), _real(path)):
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
def _file_in_working_folder(target: Path, part_of: Path) -> Iterator[Path]:
    """Yields the path of a new empty file in a working folder, if a file may be written at ``target``."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if target.exists() and not target.is_file():
        raise OSError(errno.ENODEV, "it is a device or a pipe")
    with working_folder(part_of) as folder:
        path = folder / target.name
        path.touch()
        yield path


def has_manifest_of(folder: Path, kind: str) -> bool:
    """Returns whether a folder's manifest, a name that others use too, says that it is of this kind."""
    try:
        return bool(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["format"] == kind)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def reserve(file: IO[bytes], num_bytes: int) -> None:
    """Takes so much of the disk for a new file that will be written through memory, where nobody is told of a full one.

    Raises:
        OSError: if it is full.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, num_bytes)
        return
    for start in range(0, num_bytes, _BLOCK_BYTES):
        file.write(bytes(min(_BLOCK_BYTES, num_bytes - start)))
    file.flush()
    file.seek(0)


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk; some file systems cannot do that for folders."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
