"""The embeddings themselves, and the cosines between them.

Sizes: N embeddings, D their dimensions, Q queries, K candidates of each query.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recoder.embedding.base import Floats, Rows
from recoder.errors import DataError, DataTypeError, EmptyDataError, ShapeError

__all__ = ["EmbeddingTable", "checked_vectors", "unit_vectors"]

_BLOCK_CELLS = 1 << 22  # 32 MiB of float64


class EmbeddingTable:
    """Embeddings with their lengths.

    Args:
        vectors_ND: float32 ``[N, D]``, finite; kept, not copied.
    """

    def __init__(self, vectors_ND: Floats) -> None:
        self.vectors_ND = vectors_ND
        self._norms_N = _norms(vectors_ND)

    def __len__(self) -> int:
        return int(self.vectors_ND.shape[0])

    @property
    def dims(self) -> int:
        """D."""
        return int(self.vectors_ND.shape[1])

    def cosines(self, queries_QD: Floats, rows_QK: Rows) -> Floats:
        """Returns the cosine of each query and each of its candidates: float32 ``[Q, K]``, in [-1, 1].

        Summed in float64, then rounded, so that equal embeddings tie and each index gives the same number for
        the same pair. A zero vector has cosine 0 with everything. Row -1 gives the cosine with the last
        embedding.
        """
        cosines_QK = np.empty(rows_QK.shape, dtype=np.float32)
        norms_Q = _norms(queries_QD)
        step = max(1, _BLOCK_CELLS // max(1, rows_QK.shape[1] * self.dims))
        for start in range(0, len(rows_QK), step):
            block = slice(start, start + step)
            rows = rows_QK[block]
            dots = np.einsum("qd,qkd->qk", queries_QD[block], self.vectors_ND[rows], dtype=np.float64)
            lengths = norms_Q[block, None] * self._norms_N[rows]
            cosines = np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)
            cosines_QK[block] = cosines.clip(-1.0, 1.0)
        return cosines_QK


def checked_vectors(vectors: Any, name: str) -> Floats:
    """Returns a float32 ``[N, D]`` copy of ``vectors``.

    Raises:
        DataTypeError: if they are not real numbers.
        ShapeError: if they do not form a matrix.
        EmptyDataError: if there are none.
        DataError: if one is NaN or infinite, also once rounded to float32.
    """
    array = np.asarray(vectors)
    if array.dtype.kind not in "iuf":
        raise DataTypeError(f"{name} holds {array.dtype}; embeddings are real numbers")
    if array.ndim != 2:
        raise ShapeError(f"{name} has shape {array.shape}; pass a matrix with one row for each item")
    if 0 in array.shape:
        raise EmptyDataError(f"{name} has shape {array.shape}; pass at least one row of at least one dimension")
    with np.errstate(over="ignore"):  # too large becomes infinite, which is caught below
        copied = np.array(array, dtype=np.float32, order="C")
    finite_N = np.isfinite(copied).all(axis=1)
    if not finite_N.all():
        raise DataError(
            f"{name} holds NaN or infinite values in {np.count_nonzero(~finite_N)} of {len(copied)} rows, "
            f"the first is row {int(finite_N.argmin())}; leave these rows out, or train the model again "
            "if it has diverged"
        )
    return copied


def unit_vectors(vectors: Floats) -> Floats:
    """Returns the vectors scaled to length 1: float32 ``[N, D]``; a zero vector stays zero."""
    norms_N = _norms(vectors)
    norms_N[norms_N == 0] = 1.0
    units_ND = np.empty(vectors.shape, dtype=np.float32)
    # a buffered division in float64: the length of a float32 vector may be out of range for float32
    np.divide(vectors, norms_N[:, None], out=units_ND, dtype=np.float64, casting="same_kind")
    return units_ND


def _norms(vectors: Floats) -> npt.NDArray[np.float64]:
    # float64: the square of a float32 may overflow or vanish in float32
    squares_N: npt.NDArray[np.float64] = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    return np.sqrt(squares_N)
