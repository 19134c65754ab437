"""Loading a data set by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from recoder._checks import path_text
from recoder.data.interactions import Interactions
from recoder.data.readers.cache import cached_files, vouched
from recoder.data.readers.catalogue import DATASETS, dataset_info
from recoder.data.readers.info import DatasetInfo
from recoder.data.readers.sources import Source
from recoder.data.splits import HoldoutSplit
from recoder.errors import ConfigError

__all__ = ["load_dataset", "load_official_split"]

_PathLike = str | os.PathLike[str]
_Result = TypeVar("_Result")


def load_dataset(
    name: str,
    folder: _PathLike | None = None,
    *,
    cache: _PathLike | None = None,
    download: bool = True,
    progress: bool = True,
) -> Interactions:
    """Returns the interactions of a public data set, with times and titles where it has them.

    The files are downloaded once, which needs the extra ``datasets``. The owner's terms are logged before, as a
    warning, and what arrives is checked. A download that was cut off goes on where it stopped.

    Args:
        name: one of ``dataset_names()``.
        folder: where the files are already, unpacked or as the archive, or the path of that archive. Nothing is
            downloaded then.
        cache: the folder to keep downloads in; None: that of the environment variable ``RECODER_CACHE_DIR``, or
            where that is not set the platform's folder for caches.
        download: whether what is not in the cache may be downloaded.
        progress: whether to show how far a download is.

    Raises:
        ConfigError: if there is no data set of this name.
        FileNotFoundError: if a file is not there, and may not be downloaded.
        FileFormatError: if a file is damaged, or not the one that its checksum is of.
        DownloadError: if a download fails; the next call goes on with it.
        FileWriteError: if the cache cannot be written.
        MissingDependencyError: if a download needs the extra ``datasets``.
    """
    info = dataset_info(name)
    return _read(info, info.read, folder, cache, download=download, progress=progress)


def load_official_split(
    name: str,
    folder: _PathLike | None = None,
    *,
    cache: _PathLike | None = None,
    download: bool = True,
    progress: bool = True,
) -> HoldoutSplit:
    """Returns the split into training and test interactions that comes with a public data set.

    Users and items that training lacks are left out of the target. ``load_dataset`` returns both parts as one.

    Args:
        name: one of ``dataset_names()`` that has a split: gowalla, yelp2018, amazon-book.
        folder: as in ``load_dataset``, like the following.
        cache: the folder to keep downloads in.
        download: whether what is not in the cache may be downloaded.
        progress: whether to show how far a download is.

    Raises:
        ConfigError: if there is no data set of this name, or it has no split.
        FileNotFoundError, FileFormatError, DownloadError, FileWriteError, MissingDependencyError: as
            ``load_dataset``.
    """
    info = dataset_info(name)
    if info.read_split is None:
        having = ", ".join(other.name for other in DATASETS.values() if other.read_split is not None)
        raise ConfigError(f"{name} comes without a split; those that have one are {having}. Split it yourself")
    return _read(info, info.read_split, folder, cache, download=download, progress=progress)


def _read(
    info: DatasetInfo,
    read: Callable[[Source], _Result],
    folder: _PathLike | None,
    cache: _PathLike | None,
    *,
    download: bool,
    progress: bool,
) -> _Result:
    if folder is None:
        paths = cached_files(info, cache, download=download, progress=progress)
        with vouched(info, paths, may_remove=download):
            return read(Source(paths, files=info.files, max_bytes=info.max_bytes, lengths=info.lengths))
    path = Path(path_text("folder", folder))
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}; pass a folder or an archive with {' and '.join(info.files)}")
    archives = [file.file_name for file in info.downloads]
    return read(Source([path], files=info.files, folder=info.folder, archives=archives, max_bytes=info.max_bytes))
