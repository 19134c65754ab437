"""Item-to-item weights by ridge regression in closed form, computed over items or over users.

Each item is predicted from all others, with a penalty of its own for each item that it is predicted from: with
``P = inv(X'X + L)``, X the interactions and L the diagonal matrix of the penalties, the weights are
``B = I - P / diag(P)`` (Steck 2019, arXiv:1905.03375, equation 8; a diagonal of penalties: Steck 2020, NeurIPS,
"Autoencoders that don't overfit towards the identity", equation 8). Where there are fewer users than items it is
cheaper to invert a matrix of users: by the identity of Woodbury ``P = inv(L) - inv(L) X' M X inv(L)`` with
``M = inv(I + X inv(L) X')``. Sizes: U users, N items, Z stored interactions.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from recoder.errors import DivergedError

__all__ = ["item_weights", "user_gram_inverse"]

_PAIRS_AT_ONCE = 1 << 20
_COLUMNS_AT_ONCE = 256
_ROWS_AT_ONCE = 1 << 24
"""Numbers of a product of sparse matrices that are held at once."""
_THREADS_AT_FIRST = torch.get_num_threads()
_MOST_OF_LAPACK = 46_340
"""Rows of a matrix whose numbers can be counted in 32 bits."""
_LARGEST_SUM = 1 << 24  # beyond it float32 lacks whole numbers: sums of ones would stay there
_MIRRORED_AT_ONCE = 1024
_LEAST_SHARE = 1 / 300
"""Of the penalty; with half of it scores are right to a tenth of the largest, with a tenth of it wrong altogether."""


def item_weights(interactions: sparse.csr_matrix, penalties_N: npt.NDArray[np.float64]) -> Tensor:
    """Returns B, the weight of item ``i`` (row) for item ``j`` (column), with a diagonal of zeros: float32 ``[N, N]``.

    Takes ``4 N^2`` bytes and ``N^3`` multiplications.

    Raises:
        DivergedError: if float32 cannot tell the matrix from one without an inverse; larger penalties help.
    """
    weights_NN = _gram(interactions.T.tocsr())
    weights_NN.diagonal().add_(_float32(penalties_N))
    _invert(weights_NN)
    weights_NN.div_(-weights_NN.diagonal().clone())  # column by column
    weights_NN.fill_diagonal_(0)
    return weights_NN


def user_gram_inverse(
    interactions: sparse.csr_matrix, penalties_N: npt.NDArray[np.float64]
) -> tuple[Tensor, npt.NDArray[np.float64]]:
    """Returns M, float32 ``[U, U]``, and the diagonal of P, float64 ``[N]``; takes ``4 U^2`` bytes.

    Raises:
        DivergedError: as ``item_weights``.
    """
    scales_Z = penalties_N[interactions.indices] ** -0.5
    inverse_UU = _gram(_with_data(interactions, (interactions.data * scales_Z).astype(np.float32)))
    inverse_UU.diagonal().add_(1)
    _invert(inverse_UU)
    diagonal_N = 1 / penalties_N - _quadratic_forms(inverse_UU, interactions.tocsc()) / penalties_N**2
    # what is left of an item's penalty once the others have explained it: a difference of numbers of float32
    least = float((penalties_N * diagonal_N).min(initial=1))
    if least < _LEAST_SHARE:
        raise DivergedError(
            f"interactions as large as {interactions.data.max():g} leave float32 no digits beside the penalty l2: set "
            "them to 1 (Interactions.binarize), take logarithms, or raise l2"
        )
    return inverse_UU, diagonal_N


def _gram(rows: sparse.csr_matrix) -> Tensor:
    """Returns ``rows @ rows.T`` as a dense matrix, made a block of rows at a time: float32 ``[R, R]``."""
    size = rows.shape[0]
    is_large = _has_large_sums(rows)
    if is_large:
        rows = rows.astype(np.float64)
    columns = rows.T.tocsr()
    dense = np.empty((size, size), dtype=np.float32)
    num_threads = torch.get_num_threads()
    step = max(1, _ROWS_AT_ONCE // max(1, size * num_threads))

    def fill(start: int) -> None:
        block = rows[start : start + step] @ columns
        if is_large:
            dense[start : start + step] = block.toarray()
        else:
            block.toarray(out=dense[start : start + step])

    with ThreadPoolExecutor(num_threads) as threads:  # scipy lets others run while it multiplies
        list(threads.map(fill, range(0, size, step)))
    return torch.from_numpy(dense)


def _has_large_sums(rows: sparse.csr_matrix) -> bool:
    """Returns whether the squares of a row add up to more than float32 can count."""
    counts_R = np.diff(rows.indptr)
    most = float(counts_R.max(initial=0)) * float(np.abs(rows.data).max(initial=0)) ** 2
    if most <= _LARGEST_SUM:
        return False
    sums_R = np.add.reduceat(np.square(rows.data, dtype=np.float64), rows.indptr[:-1][counts_R > 0])
    return bool(sums_R.max(initial=0) > _LARGEST_SUM)


def _invert(symmetric: Tensor) -> None:
    """Inverts a symmetric positive definite matrix in its own memory."""
    if not len(symmetric):
        return
    is_inverted = _invert_by_scipy if _suits_scipy(len(symmetric)) else _invert_by_torch
    if not is_inverted(symmetric):
        raise DivergedError(
            f"a matrix of {len(symmetric)} x {len(symmetric)} products of interactions cannot be inverted in float32; "
            "raise the penalty l2, or set large values to 1 (Interactions.binarize)"
        )


def _suits_scipy(size: int) -> bool:
    """Returns whether scipy's LAPACK is to invert a matrix: without AVX-512 it takes two thirds of PyTorch's time.

    Its threads are not for PyTorch to limit, so that it is not asked where they are limited.
    """
    is_limited = torch.get_num_threads() < _THREADS_AT_FIRST
    return torch.backends.cpu.get_cpu_capability() != "AVX512" and not is_limited and size <= _MOST_OF_LAPACK


def _invert_by_torch(symmetric: Tensor) -> bool:
    """Returns False if it is not positive definite to float32."""
    by_column = symmetric.mT  # the same numbers as LAPACK wants them, so that it makes no copy
    info = torch.empty((), dtype=torch.int32, device=symmetric.device)
    torch.linalg.cholesky_ex(by_column, out=(by_column, info))
    if info:
        return False
    torch.cholesky_inverse(by_column, out=by_column)
    return True


def _invert_by_scipy(symmetric: Tensor) -> bool:
    """Returns False if it is not positive definite to float32."""
    from scipy.linalg import lapack  # imported where it is needed: most models need none

    by_column = symmetric.numpy().T
    factor, info = lapack.spotrf(by_column, lower=1, clean=0, overwrite_a=1)
    if info:
        return False
    lapack.spotri(factor, lower=1, overwrite_c=1)
    # half of it is there: the columns below the diagonal, which are the rows beyond it
    for start in range(0, len(symmetric), _MIRRORED_AT_ONCE):
        stop = start + _MIRRORED_AT_ONCE
        block = symmetric[start:stop, start:stop]
        block.copy_(block.triu() + block.triu(1).mT)
        symmetric[stop:, start:stop] = symmetric[start:stop, stop:].mT
    return True


def _quadratic_forms(matrix_UU: Tensor, interactions: sparse.csc_matrix) -> npt.NDArray[np.float64]:
    """Returns ``x' M x`` for the column x of each item: float64 ``[N]``."""
    counts_N = np.diff(interactions.indptr).astype(np.int64)
    forms_N = np.zeros(len(counts_N))
    # a number of M that is looked up costs as much as about a thousand that are multiplied
    has_many = counts_N > len(matrix_UU) // 32
    many = np.flatnonzero(has_many)
    for start in range(0, len(many), _COLUMNS_AT_ONCE):
        items = many[start : start + _COLUMNS_AT_ONCE]
        columns = _float32(interactions[:, items].toarray())
        forms_N[items] = ((matrix_UU @ columns) * columns).sum(dim=0, dtype=torch.float64).numpy()
    pairs_N = np.where(has_many, 0, counts_N**2)
    ends_N = np.cumsum(pairs_N)
    starts = np.searchsorted(ends_N, np.arange(0, ends_N[-1], _PAIRS_AT_ONCE), side="right")
    bounds = [*np.unique(starts), len(ends_N)]
    for start, stop in itertools.pairwise(bounds):
        if start < stop:
            forms_N[start:stop] += _forms_of_pairs(matrix_UU, interactions, slice(start, stop), pairs_N[start:stop])
    return forms_N


def _forms_of_pairs(
    matrix_UU: Tensor, interactions: sparse.csc_matrix, items: slice, pairs_n: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Returns the sums over ``pairs_n`` pairs of users of each of some items; the number of pairs is a square or 0."""
    item_P = np.repeat(np.arange(len(pairs_n)), pairs_n)
    place_P = np.arange(len(item_P)) - np.repeat(np.cumsum(pairs_n) - pairs_n, pairs_n)
    begins_n, counts_n = interactions.indptr[items], np.diff(interactions.indptr[items.start : items.stop + 1])
    first_P = begins_n[item_P] + place_P // counts_n[item_P]
    second_P = begins_n[item_P] + place_P % counts_n[item_P]
    users, values = interactions.indices.astype(np.int64), interactions.data
    looked_up_P = matrix_UU.numpy().reshape(-1)[users[first_P] * len(matrix_UU) + users[second_P]]
    terms_P = looked_up_P * values[first_P] * values[second_P]
    return np.bincount(item_P, weights=terms_P, minlength=len(pairs_n)).astype(np.float64)


def _with_data(matrix: sparse.csr_matrix, data: npt.NDArray[np.float32]) -> sparse.csr_matrix:
    return sparse.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def _float32(numbers: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(numbers.astype(np.float32))
