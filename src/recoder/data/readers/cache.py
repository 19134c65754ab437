"""The folder where downloaded files stay, and whether they are what they should be."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recoder._checks import path_text
from recoder._files import atomic_write, check_writable
from recoder.data.readers.download import Downloader
from recoder.data.readers.info import DatasetInfo, Download
from recoder.errors import DataError, FileFormatError, FileWriteError, MissingDependencyError

__all__ = ["cache_folder", "cached_files", "vouched"]

_log = logging.getLogger("recoder.data")

_BLOCK_BYTES = 1 << 20
_MAX_BYTES = 1 << 30  # of a download whose size is not known
_SPARE_BYTES = 1 << 20  # of one whose size is: another version, of which the checksum will tell


def cached_files(
    info: DatasetInfo, cache: str | os.PathLike[str] | None, *, download: bool, progress: bool
) -> list[Path]:
    """Returns the paths of a data set's files, all of them checked; what is not there is downloaded if it may be.

    Raises:
        FileNotFoundError, FileFormatError, DownloadError, FileWriteError, MissingDependencyError: as
            ``load_dataset``.
    """
    folder = cache_folder(cache) / info.name
    paths = [folder / file.file_name for file in info.downloads]
    pairs = zip(info.downloads, paths, strict=True)
    missing = [(file, path) for file, path in pairs if not _is_whole(file, path, may_remove=download)]
    if missing and not download:
        raise FileNotFoundError(
            f"{info.name} is not in the cache: there is no {missing[0][1]}; pass download=True, "
            f"or the folder of its files, which are at {missing[0][0].url}"
        )
    if missing:
        sizes = [file.num_bytes for file, _ in missing if file.num_bytes]
        size = f" ({sum(sizes) / 1e6:.0f} MB)" if sizes else ""
        _log.warning("downloading %s%s to %s. Its owner's terms: %s", info.title, size, folder, info.terms)
    for file, path in missing:
        _retrieve(file, path, progress=progress)
    return paths


@contextmanager
def vouched(info: DatasetInfo, paths: list[Path], *, may_remove: bool) -> Iterator[None]:
    """Records the checksums of files that nobody else vouches for, once they could be read in the block.

    Those that could not are removed, if they may be: what came may have been an error page, or cut off.

    Raises:
        FileFormatError: for that of the block, or where it finds no file or data in them that cannot be used.
        FileNotFoundError, DataError: those of the block, where somebody vouches for the files.
    """
    pairs = zip(info.downloads, paths, strict=True)
    unknown = [path for file, path in pairs if file.checksum is None and _recorded(path) is None]
    try:
        yield
    except (FileFormatError, FileNotFoundError, DataError) as error:
        if not unknown or not may_remove:
            raise
        try:
            for path in unknown:
                path.unlink(missing_ok=True)
        except OSError:  # a cache for many, which they may only read
            raise error from None
        raise FileFormatError(f"{error} (what was downloaded is removed: the next call gets it anew)") from error
    for path in unknown:
        try:
            with atomic_write(_record_of(path)) as temporary:  # in the form of sha256sum
                temporary.write_text(f"{_checksum(path, 'sha256').partition(':')[2]}  {path.name}\n", "utf8")
        except FileWriteError as error:  # a cache for many, which they may only read
            _log.info("the checksum of %s is not recorded: %s", path, error)


def cache_folder(cache: str | os.PathLike[str] | None) -> Path:
    """Returns the folder of the cache: the one that is passed, the environment's, or the platform's.

    Raises:
        ConfigError: if it is no path.
        MissingDependencyError: if it is the platform's and the extra ``datasets`` is not there.
    """
    if cache is not None:
        return Path(path_text("cache", cache)).expanduser()
    named = os.environ.get("RECODER_CACHE_DIR")
    return Path(named).expanduser() if named else Path(_pooch().os_cache("recoder"))


def _is_whole(file: Download, path: Path, *, may_remove: bool) -> bool:
    """Returns whether the file is there and has its checksum; one that has another is removed if it may be.

    Raises:
        FileFormatError: if it has another and may not be.
    """
    expected = file.checksum or _recorded(path)
    if not path.is_file():
        return False
    if expected is None or _checksum(path, expected.partition(":")[0]) == expected:
        return True
    if not may_remove:
        raise FileFormatError(
            f"{path} was changed or damaged after its download: it has not the checksum {expected}; pass download=True "
            "to get it anew"
        )
    _log.warning("%s was changed or damaged after its download; it is removed", path)
    path.unlink()
    return False


def _retrieve(file: Download, path: Path, *, progress: bool) -> None:
    pooch = _pooch()
    check_writable(path)
    expected = file.checksum or _recorded(path)
    max_bytes = _MAX_BYTES if file.num_bytes is None else file.num_bytes + _SPARE_BYTES
    downloader = Downloader(path.with_name(f"{path.name}.part"), max_bytes=max_bytes, progress=progress)
    try:
        with _quiet(pooch):
            pooch.retrieve(file.url, known_hash=expected, fname=path.name, path=path.parent, downloader=downloader)
    except FileFormatError:
        raise
    except ValueError as error:  # pooch's, for another checksum; it has removed the file
        recorded = "" if file.checksum else f", recorded in {_record_of(path)} at the first download"
        raise FileFormatError(
            f"what came from {file.url} has not the checksum {expected}{recorded}, and was removed; try once more, "
            "or get the file elsewhere and pass its path as folder"
        ) from error


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _recorded(path: Path) -> str | None:
    record = _record_of(path)
    words = record.read_text("utf8").split() if record.is_file() else []
    digest = words[0].lower() if words else ""
    return f"sha256:{digest}" if re.fullmatch("[0-9a-f]{64}", digest) else None


def _checksum(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return f"{algorithm}:{digest.hexdigest()}"


def _pooch() -> Any:
    try:
        import pooch
    except ImportError as error:
        raise MissingDependencyError('downloading needs an extra: pip install "recsys-recoder[datasets]"') from error
    return pooch


@contextmanager
def _quiet(pooch: Any) -> Iterator[None]:
    """Keeps pooch from telling what we tell already."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
