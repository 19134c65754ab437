"""Scaling vectors to unit length."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from recoder.errors import ConfigError, DataTypeError

__all__ = ["normalize"]


def normalize(x: npt.ArrayLike, axis: int | None = None) -> npt.NDArray[np.floating[Any]]:
    """Returns ``x`` scaled to Euclidean length 1 along ``axis``; a zero vector stays zero.

    A vector that holds NaN or infinity has no length, and becomes NaN.

    Args:
        x: a vector, matrix or higher array of real numbers; it is not changed.
        axis: the axis that a vector runs along: 1 (or -1) normalizes the rows of a matrix, 0 its columns.
            None takes all of ``x`` as one vector.

    Returns:
        An array of the same shape; integers and booleans become float64, floating-point dtypes stay.

    Raises:
        DataTypeError: if ``x`` does not hold real numbers.
        ConfigError: if ``x`` has no such axis.
    """
    array = np.asarray(x)
    if array.dtype.kind not in "buif":
        raise DataTypeError(f"normalize takes an array of real numbers, not {type(x).__name__} of {array.dtype}")
    if axis is not None and not _is_axis(axis, array.ndim):
        raise ConfigError(
            f"axis is {axis!r}, but x has {array.ndim} dimensions: pass a whole number from {-array.ndim} to "
            f"{array.ndim - 1}, or None"
        )
    if array.dtype.kind != "f":
        array = array.astype(np.float64)

    # by the largest entry first: the squares of very large or very small ones would leave the dtype's range
    scaled = _divide(array, np.abs(array).max(axis=axis, keepdims=True, initial=0))
    length = np.sqrt(np.square(scaled, dtype=np.float64).sum(axis=axis, keepdims=True))
    return _divide(scaled, length.astype(array.dtype))


def _is_axis(axis: Any, ndim: int) -> bool:
    try:
        return -ndim <= operator.index(axis) < ndim
    except TypeError:
        return False


def _divide(array: npt.NDArray[Any], by: npt.NDArray[Any]) -> npt.NDArray[Any]:
    with np.errstate(invalid="ignore"):
        quotient: npt.NDArray[Any] = np.divide(array, by, out=np.zeros_like(array), where=by != 0)
    return quotient
