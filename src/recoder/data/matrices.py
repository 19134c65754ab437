"""Checking interaction matrices once, where they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recoder.data.mapped import csr_of, entry_blocks, in_files, is_mapped, row_blocks, row_groups
from recoder.errors import DataError, DataTypeError, ShapeError

__all__ = ["canonical_csr", "check_values", "columns_of", "keep_entries", "rows_and_columns"]

Times = npt.NDArray[np.int64]


def canonical_csr(matrix: Any, name: str = "interactions_matrix", *, may_lack_users: bool = False) -> sparse.csr_matrix:
    """Returns ``matrix`` as float32 CSR with sorted columns, no repeats and no stored zeros.

    Repeated entries are added up. The matrix that was passed is never changed; one that is already in this
    form is returned as it is, without a copy.

    Args:
        matrix: a scipy sparse matrix or array of any format and any real dtype: users by items.
        name: what to call it in an error.
        may_lack_users: whether there may be no rows.

    Raises:
        DataTypeError: if it is not a scipy sparse matrix, or holds no real numbers.
        ShapeError: if it has no rows or no columns, or not two dimensions.
        DataError: if a value is NaN, infinite or negative, or an index is out of range.
    """
    is_sparse: bool = sparse.issparse(matrix)  # scipy-stubs would narrow the matrix to a bare base class
    if not is_sparse:
        hint = ": wrap it in scipy.sparse.csr_matrix(...)" if isinstance(matrix, np.ndarray | list) else ""
        raise DataTypeError(
            f"{name} must be a scipy sparse matrix of users by items, not {type(matrix).__name__}{hint}"
        )
    if matrix.ndim != 2:
        raise ShapeError(f"{name} must have two dimensions, users by items, not {matrix.ndim}")
    if matrix.shape[1] == 0 or (matrix.shape[0] == 0 and not may_lack_users):
        raise ShapeError(
            f"{name} is empty: {matrix.shape[0]} users by {matrix.shape[1]} items; pass at least one of each"
        )
    if matrix.dtype.kind not in "buif":
        raise DataTypeError(f"{name} holds {matrix.dtype}; interactions are real numbers")

    _check_structure(matrix, name)
    with np.errstate(over="ignore"):  # a large float64 becomes infinite, and is refused below
        # before the conversion, which adds up repeats in the dtype that it is given: int8 would wrap around
        floats = matrix.astype(np.float32, copy=False)
    csr = sparse.csr_matrix(floats)  # no copy where it is CSR already
    check_values(csr.data, name)
    if csr.has_canonical_format and csr.data.all():
        return csr
    return _without_repeats_and_zeros(csr, name)


def keep_entries(
    matrix: sparse.csr_matrix, is_kept_Z: npt.NDArray[np.bool_], times_Z: Times | None = None
) -> tuple[sparse.csr_matrix, Times | None]:
    """Returns the marked ones of the stored entries, in a new matrix of the same shape, and their times."""
    if not is_mapped(matrix):
        return _kept(matrix, is_kept_Z), None if times_Z is None else times_Z[is_kept_Z]
    parts = (
        (_kept(part, is_kept_Z[place]), None if times_Z is None else times_Z[place][is_kept_Z[place]])
        for place, part in row_blocks(matrix)
    )
    return in_files(matrix, matrix.shape[1], parts, has_times=times_Z is not None)


def columns_of(matrix: sparse.csr_matrix, cols: npt.NDArray[np.int64]) -> sparse.csr_matrix:
    """Returns some columns, ascending, of a CSR matrix; those beyond its last one are empty."""
    num_cols = max(matrix.shape[1], int(cols[-1]) + 1 if len(cols) else 0)
    places = np.full(num_cols, -1, dtype=np.int64)
    places[cols] = np.arange(len(cols))
    if not is_mapped(matrix):
        return _columns_at(matrix, places, len(cols))
    parts = ((_columns_at(part, places, len(cols)), None) for _, part in row_blocks(matrix))
    return in_files(matrix, len(cols), parts)[0]


def rows_and_columns(
    matrix: sparse.csr_matrix,
    rows: npt.NDArray[np.int64] | None,
    cols: npt.NDArray[np.int64] | None,
    times_Z: Times | None = None,
) -> tuple[sparse.csr_matrix, Times | None]:
    """Returns these rows and columns in this order, and the times of their entries; None: all.

    Entries of a row stand in the order of their columns where there are times or the matrix is mapped.
    """
    if rows is None and cols is None:
        return matrix, times_Z
    if not is_mapped(matrix):
        return _taken(matrix, rows, cols, times_Z)
    everything = np.arange(matrix.shape[0]) if rows is None else rows
    num_cols = matrix.shape[1] if cols is None else len(cols)
    parts = (_in_order(_taken(matrix, group, cols, times_Z)) for group in row_groups(matrix, everything))
    return in_files(matrix, num_cols, parts, has_times=times_Z is not None)


def _check_structure(matrix: Any, name: str) -> None:
    """Checks the index arrays, which scipy does not: its conversions read and write wherever they point."""
    num_users, num_items = matrix.shape
    if matrix.format == "coo":
        _check_range(matrix.row, num_users, "user", name)
        _check_range(matrix.col, num_items, "item", name)
    elif matrix.format == "csc":
        _check_pointer(matrix, num_items, name)
        _check_range(matrix.indices[: matrix.indptr[-1]], num_users, "user", name)
    elif matrix.format == "csr":
        _check_pointer(matrix, num_users, name)
        _check_range(matrix.indices[: matrix.indptr[-1]], num_items, "item", name)
    elif matrix.format == "bsr":
        block_users, block_items = matrix.blocksize
        _check_pointer(matrix, num_users // block_users, name)
        _check_range(matrix.indices[: matrix.indptr[-1]] * block_items, num_items, "item", name)


def _check_pointer(matrix: Any, size: int, name: str) -> None:
    indptr, num_stored = matrix.indptr, len(matrix.indices)
    fits = len(indptr) == size + 1 and indptr[0] == 0 and indptr[-1] <= num_stored == len(matrix.data)
    if not fits or (np.diff(indptr) < 0).any():
        raise DataError(
            f"{name} is not a valid {matrix.format.upper()} matrix: its index pointer does not fit its "
            f"{num_stored} entries; rebuild it"
        )


def _check_range(ids: np.ndarray[Any, Any], size: int, kind: str, name: str) -> None:
    if len(ids) and (ids.min() < 0 or ids.max() >= size):
        bad = int(ids.min() if ids.min() < 0 else ids.max())
        raise DataError(f"{name} holds {kind} id {bad}, outside its {size} {kind}s (0 to {size - 1}); rebuild it")


def check_values(values: npt.NDArray[Any], name: str) -> None:
    """Checks weights of interactions.

    Raises:
        DataError: if one is NaN, infinite or negative.
    """
    if all(_are_fine(values[block]) for block in entry_blocks(len(values))):
        return
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = values[~np.isfinite(values)]
        raise DataError(
            f"{name} holds {len(bad)} values that are NaN or infinite as float32 (the first is {bad[0]}); "
            "drop these interactions"
        )
    if values.dtype.kind in "if" and (values < 0).any():
        bad = values[values < 0]
        raise DataError(
            f"{name} holds {len(bad)} negative values (the first is {bad[0]}); implicit feedback is "
            "positive: drop these interactions or map them to 0"
        )


def _without_repeats_and_zeros(csr: sparse.csr_matrix, name: str) -> sparse.csr_matrix:
    csr = csr.copy()  # its arrays may be views of the caller's
    csr.sum_duplicates()  # sorts the columns of each row too
    csr.eliminate_zeros()
    check_values(csr.data, name)  # a sum may have become infinite
    return csr


def _are_fine(values: npt.NDArray[Any]) -> bool:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return False
    return values.dtype.kind not in "if" or not (values < 0).any()


def _kept(matrix: sparse.csr_matrix, is_kept_Z: npt.NDArray[np.bool_]) -> sparse.csr_matrix:
    num_before = np.concatenate([[0], np.cumsum(is_kept_Z)])
    return sparse.csr_matrix(
        (matrix.data[is_kept_Z], matrix.indices[is_kept_Z], num_before[matrix.indptr]), shape=matrix.shape
    )


def _in_order(taken: tuple[sparse.csr_matrix, Times | None]) -> tuple[sparse.csr_matrix, Times | None]:
    taken[0].sort_indices()  # with times they are sorted already
    return taken


def _columns_at(matrix: sparse.csr_matrix, places: npt.NDArray[np.int64], num_cols: int) -> sparse.csr_matrix:
    """Returns the columns at new places, which ascend; those at -1 are left out."""
    places_Z = places[matrix.indices]
    is_there_Z = places_Z >= 0
    offsets = np.concatenate([[0], is_there_Z.cumsum()])[matrix.indptr]
    return sparse.csr_matrix(
        (matrix.data[is_there_Z], places_Z[is_there_Z], offsets), shape=(matrix.shape[0], num_cols)
    )


def _taken(
    matrix: sparse.csr_matrix,
    rows: npt.NDArray[np.int64] | None,
    cols: npt.NDArray[np.int64] | None,
    times_Z: Times | None,
) -> tuple[sparse.csr_matrix, Times | None]:
    if times_Z is None:
        of_rows = matrix if rows is None else matrix[rows]
        return of_rows if cols is None else of_rows[:, cols], None
    everything = np.arange(matrix.shape[0]) if rows is None else rows
    starts, lengths = matrix.indptr[everything], matrix.indptr[everything + 1] - matrix.indptr[everything]
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    entries = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    places = csr_of(entries, matrix.indices[entries], offsets, (len(everything), matrix.shape[1]))
    places = places if cols is None else places[:, cols]
    places.sort_indices()  # as canonical_csr would sort the matrix
    return csr_of(matrix.data[places.data], places.indices, places.indptr, places.shape), times_Z[places.data]
