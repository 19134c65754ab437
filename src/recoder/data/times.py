"""When interactions happened: columns of moments as Unix seconds, and the latest of each pair of user and item."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from recoder.errors import DataError, DataTypeError, ShapeError

__all__ = ["Times", "checked_times", "latest_times", "read_times"]

Times = npt.NDArray[np.int64]

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_S = 86_400
_LIKELY_S = 10**11  # the year 5138; in milliseconds 1973

_log = logging.getLogger("recoder.data")


def read_times(column: pa.ChunkedArray, name: str) -> Times:
    """Returns a column of moments as Unix seconds, rounded down; one of a time zone is read as that moment.

    Args:
        column: whole numbers or floats, which are Unix seconds already; or dates or date-times, where one
            without a time zone is taken as UTC. None missing.
        name: what to call it in an error.

    Raises:
        DataTypeError: if it holds anything else.
        DataError: if a number is infinite or beyond int64.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return read_times(column.cast(kind.value_type), name)
    seconds: Times
    if pa.types.is_timestamp(kind):  # Arrow keeps the UTC moment, whatever the zone
        seconds = np.floor_divide(column.cast(pa.int64()).to_numpy(), _PER_SECOND[kind.unit])
    elif pa.types.is_date32(kind):
        seconds = column.cast(pa.int32()).to_numpy().astype(np.int64) * _DAY_S
    elif pa.types.is_date64(kind):
        seconds = np.floor_divide(column.cast(pa.int64()).to_numpy(), _PER_SECOND["ms"])
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        floats = np.floor(column.cast(pa.float64()).to_numpy())
        if not (np.abs(floats) < 2.0**63).all():
            raise DataError(f"column {name!r} holds times that are infinite or beyond int64; drop these rows")
        seconds = floats.astype(np.int64)
    elif pa.types.is_integer(kind):
        try:
            seconds = column.cast(pa.int64()).to_numpy()
        except pa.ArrowInvalid as error:
            raise DataError(f"column {name!r} holds times beyond int64 ({error}); drop these rows") from error
    else:
        raise DataTypeError(
            f"column {name!r} holds {kind}; times are Unix seconds, dates or date-times: parse it, "
            "e.g. with pandas.to_datetime or polars' str.to_datetime"
        )
    if len(seconds) and seconds.max() > _LIKELY_S:
        _log.warning(
            "column %r holds %d, far in the future as Unix seconds; if these are milliseconds, divide them first",
            name,
            seconds.max(),
        )
    return seconds


def latest_times(
    users: npt.NDArray[np.int32], items: npt.NDArray[np.int32], times: Times, shape: tuple[int, int]
) -> Times:
    """Returns the latest time of each different pair, in the order of a CSR matrix with sorted columns."""
    coo = sparse.coo_matrix((times, (users, items)), shape=shape)
    coo.has_canonical_format = True  # not so, but it keeps scipy from adding up the times of a pair
    csr = coo.tocsc().tocsr()  # rows of a pair stand side by side
    is_first = np.ones(len(times), dtype=bool)
    is_first[1:] = csr.indices[1:] != csr.indices[:-1]
    is_first[csr.indptr[:-1][np.diff(csr.indptr) > 0]] = True
    return np.maximum.reduceat(csr.data, np.flatnonzero(is_first))


def checked_times(times: npt.ArrayLike, given: sparse.csr_matrix, canonical: sparse.csr_matrix) -> Times:
    """Returns the times of a matrix's stored entries, after a check that there is one for each, in its order.

    Args:
        times: int64, one for each stored entry of ``given``.
        given: the matrix that they belong to.
        canonical: what ``canonical_csr`` made of it.

    Raises:
        DataTypeError: if they are not whole numbers.
        DataError: if one is beyond int64.
        ShapeError: if they are not as many as stored entries, or the entries were put into another order.
    """
    array = np.asarray(times)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataTypeError(f"times are a list of Unix seconds, not an array of {array.dtype} and shape {array.shape}")
    if given.format != "csr" or not given.has_canonical_format or given.nnz != canonical.nnz:
        raise ShapeError(
            "times belong to the stored entries of a CSR matrix with sorted columns and without repeats or zeros; "
            "bring the matrix into this form first, or use Interactions.from_frame"
        )
    if len(array) != canonical.nnz:
        raise ShapeError(
            f"there are {len(array)} times but the matrix stores {canonical.nnz} interactions; pass one for each"
        )
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise DataError(f"times hold {array.max()}, beyond int64; drop these interactions")
    return array.astype(np.int64, copy=False)
