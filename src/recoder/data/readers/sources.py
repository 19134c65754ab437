"""Files by name, wherever they are: in a folder, in a zip or tar archive, or by themselves.

Archives are read as they are: nothing is unpacked, so no name in one can lead to a path outside. What is read from one
has a largest size, since a small archive may hold what would fill any memory.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pyarrow as pa

from recoder.data.text_files import UNREADABLE, read_delimited, read_header
from recoder.errors import ConfigError, EmptyDataError, FileFormatError

__all__ = ["MAX_BYTES", "Source"]

MAX_BYTES = 1 << 30
"""The most that a file in an archive may have, unpacked, where a data set is not known to have larger ones."""

# of others zipfile unpacks all that is in a block of the archive: with bzip2 that may be a million times as much
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Source:
    """The files of a data set.

    Args:
        paths: files or archives that hold them, or a single folder.
        files: what they are called; a path of such a name is taken for that file, another one for an archive.
        folder: a folder in that folder in which they may stand.
        archives: names of archives in that folder that may hold them.
        max_bytes: the most that a file in an archive may have, unpacked.
        lengths: interactions in each file, as far as they are known.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        files: Sequence[str],
        folder: str = "",
        archives: Sequence[str] = (),
        max_bytes: int = MAX_BYTES,
        lengths: Mapping[str, int] | None = None,
    ) -> None:
        self._files = files
        self._lengths = lengths or {}
        self._max_bytes = max_bytes
        self._paths = [*paths]
        for path in paths:
            if path.is_dir():
                self._paths.remove(path)
                inside = [path / folder] if folder and (path / folder).is_dir() else []
                self._paths += [*inside, path, *(path / name for name in archives if (path / name).is_file())]
        self._given = paths

    def where(self, name: str) -> str:
        """Returns what to call a file in a message."""
        path, member = self._find(name)
        return str(path) if member is None else f"{path}:{member}"

    def has(self, name: str) -> bool:
        """Returns whether there is a file of this name."""
        try:
            self._find(name)
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Opens a file for reading.

        Read it in blocks: of what is asked for at once a zip archive may unpack all, however little it says to hold.

        Raises:
            FileNotFoundError: if there is none of this name.
            FileFormatError: if its archive is damaged, or holds more than it should.
        """
        path, member = self._find(name)
        if member is None:
            with path.open("rb") as file:
                yield file
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                self._check_size(archive.getinfo(member).file_size, name)
                with _opened(archive, member, path) as file:
                    yield file
        else:
            with tarfile.open(path) as tar:
                found = _first_member(tar, name)
                self._check_size(found.size, name)
                extracted = tar.extractfile(found)
                assert extracted is not None  # it is a regular file
                with extracted:
                    yield extracted

    def table(self, name: str, columns: Sequence[str], types: Mapping[str, Any], **form: Any) -> pa.Table:
        """Returns columns of a text file; ``form`` is that of ``read_delimited``.

        Raises:
            FileNotFoundError: if there is no such file.
            FileFormatError: if it is damaged, or has other columns or no rows.
        """
        try:
            where = self.where(name)
            return read_delimited(lambda: self.open(name), columns, where=where, types=types, **form)
        except (ConfigError, EmptyDataError) as error:
            raise FileFormatError(f"{error}; it is not the owner's file, or was cut off: get it again") from error

    def column_names(self, name: str) -> list[str]:
        """Returns the names of a text file's columns.

        Raises:
            FileNotFoundError, FileFormatError: as ``table``.
        """
        try:
            return read_header(lambda: self.open(name), self.where(name))
        except EmptyDataError as error:
            raise FileFormatError(f"{error}; it is not the owner's file, or was cut off: get it again") from error

    def check_length(self, name: str, num_interactions: int) -> None:
        """Raises FileFormatError if a file has another number of interactions than is known of it."""
        expected = self._lengths.get(name, num_interactions)
        if num_interactions != expected:
            raise FileFormatError(
                f"{self.where(name)} has {num_interactions:,} interactions, and its owner's {expected:,}; it was cut "
                "off, or is another version: get it again, or pass the folder of what you have"
            )

    def _check_size(self, num_bytes: int, name: str) -> None:
        # no more than it says is read of a member, whatever there is
        if num_bytes > self._max_bytes:
            raise FileFormatError(
                f"{self.where(name)} has {num_bytes:,} bytes, and a file of this data set at most {self._max_bytes:,}; "
                "it is not the owner's file: get it again, or where it is, unpack it and pass the folder"
            )

    def _find(self, name: str) -> tuple[Path, str | None]:
        for path in self._paths:
            if path.is_dir():
                if (path / name).is_file():
                    return path / name, None
            elif path.name in self._files:
                if path.name == name:
                    return path, None
            elif (member := _member(path, name)) is not None:
                return path, member
        listed = ", ".join(str(path) for path in self._given)
        raise FileNotFoundError(f"there is no {name} in {listed}; pass the folder or the archive that holds it")


def _opened(archive: zipfile.ZipFile, member: str, path: Path) -> IO[bytes]:
    try:
        if archive.getinfo(member).compress_type not in _ZIP_METHODS:
            raise NotImplementedError(f"{member} is compressed otherwise than by deflate")
        return archive.open(member)
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or compressed by a method that Python lacks
        raise _not_opened(path, error) from error


def _not_opened(path: Path, error: Exception) -> FileFormatError:
    return FileFormatError(f"cannot read {path}: {error}; unpack it and pass the folder")


def _member(path: Path, name: str) -> str | None:
    """Returns the path in an archive of the file of this name, or None."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found = [
                    entry
                    for entry in archive.namelist()
                    if PurePosixPath(entry).name == name and not entry.endswith("/")
                ]
                return min(found, key=len, default=None)  # copies of another system's making lie deeper
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as tar:
                return _first_member(tar, name).name
    except KeyError:
        return None
    except NotImplementedError as error:  # a zip archive of a later version than Python's
        raise _not_opened(path, error) from error
    except UNREADABLE as error:
        raise FileFormatError(f"cannot read {path}: {error}; it is damaged or cut off: get it again") from error
    raise FileFormatError(
        f"{path} is neither {name} nor a zip or tar archive, or it is damaged or cut off: get it again"
    )


def _first_member(tar: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    # one by one, since listing all of a compressed archive means decompressing all of it
    for member in tar:
        if member.isfile() and PurePosixPath(member.name).name == name:
            return member
    raise KeyError(name)
