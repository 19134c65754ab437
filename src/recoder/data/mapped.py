"""Arrays that lie in files and are mapped into memory: work on them a block at a time, results in files as well.

What is said here of a matrix in memory is that all of it is one block, so that nothing changes for it.

Sizes: U users, N items, Z interactions.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recoder._files import reserve, write_errors

__all__ = [
    "Column",
    "csr_of",
    "entry_blocks",
    "folder_of",
    "in_files",
    "is_mapped",
    "item_counts",
    "item_sums",
    "map_file",
    "marks",
    "room",
    "row_blocks",
    "row_groups",
]

BLOCK_ENTRIES = 1 << 20
"""Entries in memory at once: with the temporaries of an operation some tens of MiB."""


class _MappedArray(np.memmap[Any, np.dtype[Any]]):
    """A memory-mapped array that knows in which folder its file is, or was before it lost its name."""

    folder: Path | None = None


def map_file(
    file: Path | IO[bytes], dtype: npt.DTypeLike, size: int, *, folder: Path | None = None, writable: bool = False
) -> npt.NDArray[Any]:
    """Returns the numbers in a file, which are read from it when they are looked at: ``[size]``.

    Args:
        file: the file; it may be closed, or lose its name, and its numbers stay as long as the array.
        dtype: of the numbers.
        size: how many.
        folder: where new files that are made of these numbers go to; None: that of the file.
        writable: whether what is written to the array goes to the file.
    """
    if not size:
        return np.empty(0, dtype)
    array = _MappedArray(file, dtype, "r+" if writable else "r", shape=(size,))
    array.folder = file.parent if folder is None and isinstance(file, Path) else folder
    return np.asarray(array)


def folder_of(array: npt.NDArray[Any]) -> Path | None:
    """Returns the folder to put new files into that are made of a mapped array."""
    owner = _owner(array)
    if isinstance(owner, _MappedArray):
        return owner.folder
    name = None if owner is None else owner.filename
    return None if name is None else Path(name).parent


def is_mapped(matrix: sparse.csr_matrix) -> bool:
    """Returns whether the columns or the values of a matrix lie in files."""
    return _owner(matrix.indices) is not None or _owner(matrix.data) is not None


def csr_of(
    data: npt.NDArray[Any], indices: npt.NDArray[Any], indptr: npt.NDArray[Any], shape: tuple[int, int]
) -> sparse.csr_matrix:
    """Returns the CSR matrix of these very arrays; they are known to be in order.

    scipy's constructor would copy indices that are wider than they need be into memory.
    """
    matrix = sparse.csr_matrix(shape, dtype=data.dtype)
    matrix.data, matrix.indices, matrix.indptr = data, indices, indptr.astype(indices.dtype, copy=False)
    return matrix


def entry_blocks(size: int) -> Iterator[slice]:
    """Yields slices that follow one another, of so many entries altogether."""
    for start in range(0, size, BLOCK_ENTRIES):
        yield slice(start, min(start + BLOCK_ENTRIES, size))


def row_blocks(matrix: sparse.csr_matrix) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """Yields rows that follow one another, as many at once as fit a block, and where their entries stand.

    Args:
        matrix: which; all of its rows are one block where it lies in memory.

    Yields:
        The place of the entries in ``matrix.data``, and the rows ``[u, N]``, which share the matrix's arrays.
    """
    if not is_mapped(matrix):
        yield slice(0, int(matrix.nnz)), matrix
        return
    offsets = matrix.indptr
    for start, stop in _bounds(offsets):
        place = slice(int(offsets[start]), int(offsets[stop]))
        parts = matrix.data[place], matrix.indices[place], offsets[start : stop + 1] - offsets[start]
        yield place, csr_of(*parts, (stop - start, matrix.shape[1]))


def row_groups(matrix: sparse.csr_matrix, rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Yields these rows, as many at once as fit a block; all where the matrix lies in memory."""
    if not is_mapped(matrix):
        yield rows
        return
    lengths = np.diff(matrix.indptr)[rows]
    for start, stop in _bounds(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])):
        yield rows[start:stop]


def item_counts(matrix: sparse.csr_matrix, rows: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.int64]:
    """Returns how many users have each item, of all or of those at some rows: int64 ``[N]``."""
    num_items = int(matrix.shape[1])
    parts = (part for _, part in row_blocks(matrix))
    if rows is not None:
        parts = (matrix[group] for group in row_groups(matrix, rows))
    counts_N = np.zeros(num_items, dtype=np.int64)
    for part in parts:
        counts_N += np.bincount(part.indices, minlength=num_items)
    return counts_N


def item_sums(matrix: sparse.csr_matrix, power: int = 1) -> npt.NDArray[np.float64]:
    """Returns the sum over users of each item's values to a power, added up in float64: ``[N]``."""
    num_items = int(matrix.shape[1])
    sums_N = np.zeros(num_items)
    for _, part in row_blocks(matrix):
        sums_N += np.bincount(part.indices, part.data.astype(np.float64) ** power, minlength=num_items)
    return sums_N


def marks(
    matrix: sparse.csr_matrix, of_rows: Callable[[sparse.csr_matrix, slice], npt.NDArray[np.bool_]]
) -> npt.NDArray[np.bool_]:
    """Returns a mark for each stored entry: bool ``[Z]``.

    Args:
        matrix: what is marked.
        of_rows: gives the marks of some rows, and is told where their entries stand in ``matrix.data``.
    """
    if not is_mapped(matrix):
        return of_rows(matrix, slice(0, int(matrix.nnz)))
    marks_Z = room(matrix.data, int(matrix.nnz), np.bool_)
    for place, part in row_blocks(matrix):
        marks_Z[place] = of_rows(part, place)
    return marks_Z


def room(like: npt.NDArray[Any], size: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Returns an array to write to: in a file that vanishes with it, if ``like`` is mapped, else in memory.

    Raises:
        FileWriteError: if the disk is full.
    """
    if _owner(like) is None or not size:
        return np.empty(size, dtype)
    folder = folder_of(like)
    with _temporary_file(folder) as file, write_errors(_for_files(folder)):
        # now, since of a mapped file that does not fit the disk nobody is told
        reserve(file, size * np.dtype(dtype).itemsize)
        return map_file(file, dtype, size, folder=folder, writable=True)


class Column:
    """Numbers that are written to a file, one piece after the other.

    Args:
        file: open for writing.
        dtype: of the numbers.
    """

    def __init__(self, file: IO[bytes], dtype: npt.DTypeLike) -> None:
        self.file, self.dtype, self.size = file, np.dtype(dtype), 0

    def append(self, values: npt.NDArray[Any]) -> bytes | memoryview:
        """Writes more of them and returns the bytes."""
        written = np.ascontiguousarray(values, self.dtype).view(np.uint8).data
        self.file.write(written)
        self.size += len(values)
        return written


def in_files(
    like: sparse.csr_matrix,
    num_cols: int,
    parts: Iterable[tuple[sparse.csr_matrix, npt.NDArray[np.int64] | None]],
    *,
    has_times: bool = False,
) -> tuple[sparse.csr_matrix, npt.NDArray[np.int64] | None]:
    """Returns the rows of these parts, and the times of their entries, in files that vanish with them.

    Args:
        like: a mapped matrix: the files are put where its are, with numbers of the same types.
        num_cols: N.
        parts: rows, and times if there are any.
        has_times: whether there are.

    Raises:
        FileWriteError: if there cannot be files, or the disk is full.
    """
    folder = folder_of(like.indices if _owner(like.indices) is not None else like.data)
    dtypes: list[Any] = [like.data.dtype, like.indices.dtype, *([np.int64] if has_times else [])]
    counts: list[npt.NDArray[np.int64]] = [np.zeros(1, np.int64)]
    with write_errors(_for_files(folder)), ExitStack() as files:
        columns = [Column(files.enter_context(_temporary_file(folder)), dtype) for dtype in dtypes]
        for part, times in parts:
            numbers: list[npt.NDArray[Any]] = [part.data, part.indices, *([] if times is None else [times])]
            for column, values in zip(columns, numbers, strict=True):
                column.append(values)
            counts.append(np.diff(part.indptr).astype(np.int64))
        for column in columns:
            column.file.flush()
        arrays = [map_file(column.file, column.dtype, column.size, folder=folder) for column in columns]
    indptr = np.cumsum(np.concatenate(counts))
    return csr_of(arrays[0], arrays[1], indptr, (len(indptr) - 1, num_cols)), arrays[2] if has_times else None


def _for_files(folder: Path | None) -> Path:
    """Returns where temporary files go: into this folder, or the system's if it cannot be written to."""
    return folder if folder is not None and os.access(folder, os.W_OK) else Path(tempfile.gettempdir())


def _bounds(offsets: npt.NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Yields the first row of each block and that of the next, by where each row's entries begin."""
    start, num_rows = 0, len(offsets) - 1
    while start < num_rows:
        most = int(np.searchsorted(offsets, int(offsets[start]) + BLOCK_ENTRIES, side="right")) - 1
        stop = min(max(most, start + 1), num_rows)
        yield start, stop
        start = stop


def _temporary_file(folder: Path | None) -> IO[bytes]:
    place = _for_files(folder)
    with write_errors(place):
        return tempfile.TemporaryFile(dir=place)


def _owner(array: Any) -> np.memmap[Any, np.dtype[Any]] | None:
    """Returns the memory map that an array is part of."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return array
        array = array.base
    return None
