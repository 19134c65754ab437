"""Interactions in a folder of plain arrays, which are mapped into memory instead of read.

``manifest.json`` says what the arrays are; each is a file of little-endian numbers and nothing else: ``indptr``,
``indices`` and ``data`` of a CSR matrix in canonical form, ``times`` of its entries, ids of users and items as
``IdMap.to_arrays`` gives them, and titles. What is as large as the interactions stays on the disk.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recoder._files import BEFORE, MANIFEST, atomic_folder, has_manifest_of
from recoder._replaced import read_again_if_replaced
from recoder.data.id_map import IdMap
from recoder.data.mapped import Column, csr_of, entry_blocks, map_file
from recoder.data.texts import pack_texts, unpack_texts
from recoder.errors import FileFormatError

__all__ = ["MANIFEST", "FolderWriter", "MappedFolder", "read_folder", "write_folder"]

FORMAT_VERSION = 1
_FORMAT = "recoder interactions"
_DTYPES: Mapping[str, tuple[str, ...]] = {
    "indptr": ("<i4", "<i8"),
    "indices": ("<i4", "<i8"),
    "data": ("<f4",),
    "times": ("<i8",),
    **{f"{kind}.{part}": ("<i8",) for kind in ("user_ids", "item_ids") for part in ("int64", "offsets")},
    **{f"{kind}.bytes": ("|u1",) for kind in ("user_ids", "item_ids", "titles")},
    "titles.offsets": ("<i8",),
}
"""By the name of an array: what its numbers may be."""


@dataclass(frozen=True, eq=False)
class MappedFolder:
    """What a folder holds.

    Attributes:
        matrix: float32 CSR ``[U, N]`` whose arrays are mapped.
        user_ids: of its rows.
        item_ids: of its columns.
        titles: of its columns, if there are any.
        times: int64 ``[Z]``, mapped, if there are any.
    """

    matrix: sparse.csr_matrix
    user_ids: IdMap
    item_ids: IdMap
    titles: tuple[str, ...] | None
    times: npt.NDArray[np.int64] | None


class FolderWriter:
    """Writes the arrays of a folder, each as a whole or piece by piece.

    Args:
        folder: where to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._columns: dict[str, Column] = {}
        self._crcs: dict[str, int] = {}

    def append(self, name: str, values: npt.NDArray[Any]) -> None:
        """Writes more numbers of an array, whose type the first piece says."""
        if name not in self._columns:
            self._columns[name] = Column((self.folder / name).open("xb"), values.dtype.newbyteorder("<"))
        self._crcs[name] = zlib.crc32(self._columns[name].append(values), self._crcs.get(name, 0))

    def add_ids(self, kind: str, ids: IdMap) -> None:
        """Writes ids; ``kind`` is ``"user_ids"`` or ``"item_ids"``."""
        for part, values in ids.to_arrays().items():
            self.append(f"{kind}.{part}", values)

    def add_titles(self, titles: tuple[str, ...]) -> None:
        """Writes titles."""
        for part, values in pack_texts(titles).items():
            self.append(f"titles.{part}", values)

    def finish(self, num_users: int, num_items: int) -> None:
        """Writes the manifest."""
        self.close()
        arrays = {
            name: {"dtype": column.dtype.str, "size": column.size, "crc32": self._crcs[name]}
            for name, column in self._columns.items()
        }
        described = {"format": _FORMAT, "format_version": FORMAT_VERSION, "shape": [num_users, num_items]}
        text = json.dumps({**described, "arrays": arrays}, indent=1)
        (self.folder / MANIFEST).write_text(text + "\n", encoding="utf-8")

    def close(self) -> None:
        """Closes the files."""
        for column in self._columns.values():
            column.file.close()


@contextmanager
def write_folder(path: Path) -> Iterator[FolderWriter]:
    """Yields what writes a folder, which gets its name when it is whole; a previous one stays until then.

    Raises:
        FileWriteError: if it cannot be written, or something else is there.
    """
    with atomic_folder(path, partial(has_manifest_of, kind=_FORMAT)) as temporary:
        writer = FolderWriter(temporary)
        try:
            yield writer
        finally:
            writer.close()


def read_folder(path: Path) -> MappedFolder:
    """Returns what a folder holds, after a check that its files are as they were written.

    Raises:
        FileFormatError: if they are not, or it is another folder or of a newer format.
        FileNotFoundError: if there is none.
    """
    return read_again_if_replaced(path / MANIFEST, lambda: _read(path))


def _read(path: Path) -> MappedFolder:
    manifest = _manifest(path)
    arrays = {name: _array(path / name, described) for name, described in manifest["arrays"].items()}
    try:
        parts = arrays["data"], arrays["indices"], np.array(arrays["indptr"])
        ids = [IdMap.from_arrays(_section(arrays, kind)) for kind in ("user_ids", "item_ids")]
    except KeyError as error:
        raise FileFormatError(f"{path / MANIFEST} names no {error}; it was damaged: write it again") from error
    shape = len(ids[0]), len(ids[1])
    # scipy makes room for as many rows as it is told of
    if list(shape) != manifest["shape"] or len(parts[2]) != shape[0] + 1:
        raise FileFormatError(
            f"{path / MANIFEST} was damaged: it tells of a matrix of {manifest['shape']}, the arrays beside it of "
            f"{len(parts[2]) - 1} rows, {shape[0]} users and {shape[1]} items; write the folder again"
        )
    matrix = csr_of(*parts, shape)
    titles = _section(arrays, "titles")
    return MappedFolder(matrix, ids[0], ids[1], unpack_texts(titles) if titles else None, arrays.get("times"))


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not folder.exists():
        before = folder.with_name(f".{folder.name}{BEFORE}")
        next_step = "write it with Interactions.from_parquet(mapped_to=...)"
        if (before / MANIFEST).exists():
            next_step = f"another was about to take its place: rename {before}, which holds it, or write it again"
        raise FileNotFoundError(f"there is no folder {folder}; {next_step}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        is_ours = manifest["format"] == _FORMAT and isinstance(manifest["format_version"], int)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(
            f"{folder} holds no interactions that were written with mapped_to= ({error}); pass another"
        ) from error
    if not is_ours:
        raise FileFormatError(f"{folder} holds something else than interactions; pass another folder")
    if manifest["format_version"] > FORMAT_VERSION:
        raise FileFormatError(
            f"{folder} has format version {manifest['format_version']}, this library reads {FORMAT_VERSION}; upgrade it"
        )
    if not _is_whole(manifest):
        raise FileFormatError(f"{path} was damaged; write the folder again")
    return dict(manifest)


def _is_whole(manifest: Mapping[str, Any]) -> bool:
    shape, arrays = manifest.get("shape"), manifest.get("arrays")
    return (
        isinstance(shape, list)
        and len(shape) == 2
        and all(isinstance(size, int) and size >= 0 for size in shape)
        and isinstance(arrays, dict)
        and all(
            name in _DTYPES
            and isinstance(described, dict)
            and described.get("dtype") in _DTYPES[name]
            and isinstance(described.get("size"), int)
            and described["size"] >= 0
            for name, described in arrays.items()
        )
    )


def _array(path: Path, described: Mapping[str, Any]) -> npt.NDArray[Any]:
    dtype, size = np.dtype(described["dtype"]), described["size"]
    there = path.stat().st_size if path.is_file() else 0
    if not path.is_file() or there != size * dtype.itemsize:
        raise FileFormatError(
            f"{path} has {there} bytes, not {size * dtype.itemsize}: it was cut short or damaged; write it again"
        )
    array = map_file(path, dtype, size)
    crc = 0
    for block in entry_blocks(size):
        crc = zlib.crc32(array[block].view(np.uint8).data, crc)
    if crc != described.get("crc32"):
        raise FileFormatError(f"the numbers in {path} are not those that were written: it was damaged; write it again")
    return array


def _section(arrays: Mapping[str, npt.NDArray[Any]], kind: str) -> dict[str, npt.NDArray[Any]]:
    return {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(f"{kind}.")}
