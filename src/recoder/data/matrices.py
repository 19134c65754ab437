"""Checking interaction matrices once, where they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recoder.errors import DataError, DataTypeError, ShapeError

__all__ = ["canonical_csr", "keep_entries"]


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
    _check_values(csr.data, name)
    if csr.has_canonical_format and csr.data.all():
        return csr
    return _without_repeats_and_zeros(csr, name)


def keep_entries(matrix: sparse.csr_matrix, is_kept_Z: npt.NDArray[np.bool_]) -> sparse.csr_matrix:
    """Returns the marked ones of the stored entries, in a new matrix of the same shape."""
    num_before = np.concatenate([[0], np.cumsum(is_kept_Z)])
    return sparse.csr_matrix(
        (matrix.data[is_kept_Z], matrix.indices[is_kept_Z], num_before[matrix.indptr]), shape=matrix.shape
    )


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


def _check_values(values: np.ndarray[Any, Any], name: str) -> None:
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
    _check_values(csr.data, name)  # a sum may have become infinite
    return csr
