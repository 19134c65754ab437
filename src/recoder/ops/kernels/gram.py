"""Parts of the squared error over all items, and of its least squares, by the compiled kernels.

Sizes: B users, N items of the table, i items of a block, D factors, Z stored entries of the target.
"""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recoder.ops.item_blocks import TargetBlock
from recoder.ops.kernels import address, library
from recoder.ops.workspace import Workspace

__all__ = ["add_entry_products", "finish_gram", "gram_pass", "improve_rows", "squared_entries", "threads_and_scratch"]

_MOST_SCRATCH = 1 << 23
"""Numbers that the threads of a pass need together: 32 MiB."""

_POINTERS = (
    "table bias ids factors users_sum products offsets rows slopes items_products biased of_weight of_bias scratch"
)


class _Gram(ctypes.Structure):
    """What ``struct gram`` of gram.c holds."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in _POINTERS.split()),
        *((name, ctypes.c_int64) for name in ("users", "size", "items", "threads")),
        ("scale", ctypes.c_float),
    )


def squared_entries(
    factors_BD: Tensor,
    table_ND: Tensor,
    bias_N: Tensor | None,
    offsets: Tensor,
    items_Z: Tensor,
    values_Z: Tensor,
    confidence: float,
    scale: float,
) -> tuple[float, Tensor, Tensor]:
    """Returns what the stored entries add to the squared error of a target of zeros, and the gradients of that.

    These are the slope of each entry, ``[Z]``, and the users' part ``[B, D]``, both times ``scale``.
    """
    kernels = library()
    assert kernels is not None  # the caller has asked `serve`
    slopes_Z, of_factors_BD = torch.empty_like(values_Z), torch.empty_like(factors_BD)
    kernels.squared_entries.restype = ctypes.c_double
    total: float = kernels.squared_entries(
        *map(address, (factors_BD, table_ND, bias_N, offsets, items_Z, values_Z)),
        *map(ctypes.c_int64, factors_BD.shape),
        ctypes.c_float(confidence),
        ctypes.c_float(scale),
        address(slopes_Z),
        address(of_factors_BD),
    )
    return total, slopes_Z, of_factors_BD


def gram_pass(
    table_ND: Tensor,
    bias_N: Tensor | None,
    ids_I: Tensor | None,
    factors_BD: Tensor,
    users_sum_D: Tensor,
    entries: TargetBlock,
    items_DD: Tensor,
    biased_D: Tensor,
    *,
    products_DD: Tensor | None,
    scale: float,
    of_weight_ID: Tensor | None,
    of_bias_I: Tensor | None,
    space: Workspace,
) -> None:
    """Adds up products of items' factors, and writes the items' gradients. All tensors are contiguous and float32.

    Args:
        table_ND: the items' factors.
        bias_N: the biases, or None.
        ids_I: int64: rows of the table; None: all of them. Trusted to exist.
        factors_BD: the users' factors.
        users_sum_D: their sum.
        entries: the slopes of the stored entries, by item.
        items_DD: to which the products of the items' factors are added.
        biased_D: to which the items' factors are added, each times its bias.
        products_DD: what the items' factors are multiplied by for their gradients.
        scale: of the gradients.
        of_weight_ID: receives the gradients of the items' factors. None: no gradient is computed.
        of_bias_I: receives those of the biases.
        space: where to compute.
    """
    kernels = library()
    assert kernels is not None  # the caller has asked `served_dtypes`
    num_factors = table_ND.shape[1]
    threads, size = threads_and_scratch(num_factors, torch.get_num_threads())
    problem = _Gram(
        table=address(table_ND),
        bias=address(bias_N),
        ids=address(ids_I),
        factors=address(factors_BD),
        users_sum=address(users_sum_D),
        products=address(products_DD),
        offsets=entries.offsets.ctypes.data,
        rows=address(entries.rows),
        slopes=address(entries.values),
        items_products=address(items_DD),
        biased=address(biased_D),
        of_weight=address(of_weight_ID),
        of_bias=address(of_bias_I),
        scratch=address(space.take("gram pass", size, like=table_ND)),
        users=len(factors_BD),
        size=num_factors,
        items=len(table_ND if ids_I is None else ids_I),
        threads=threads,
        scale=scale,
    )
    kernels.gram_pass(ctypes.byref(problem))


def threads_and_scratch(num_factors: int, threads: int) -> tuple[int, int]:
    """Returns how many threads a pass has, and how many numbers they need: as many as keep within the limit."""
    kernels = library()
    assert kernels is not None  # the caller has asked `served_dtypes`
    kernels.gram_pass_scratch.restype = ctypes.c_int64

    def scratch(threads: int) -> int:
        return int(kernels.gram_pass_scratch(ctypes.c_int64(num_factors), ctypes.c_int64(threads)))

    while threads > 1 and scratch(threads) > _MOST_SCRATCH:
        threads -= 1
    return threads, scratch(threads)


def finish_gram(
    weight_iD: Tensor,
    bias_i: Tensor,
    factors_BD: Tensor,
    users_sum_D: Tensor,
    offsets: npt.NDArray[np.int64],
    rows_Z: Tensor,
    slopes_Z: Tensor,
    scale: float,
    of_weight_iD: Tensor,
) -> Tensor:
    """Adds to the gradients of a block of items what is no matrix product.

    Returns the gradients of the biases: ``[i]``.
    """
    kernels = library()
    assert kernels is not None  # the caller has asked `serve`
    of_bias_i = torch.empty_like(bias_i)
    kernels.finish_gram(
        address(weight_iD),
        address(bias_i),
        ctypes.c_int64(len(bias_i)),
        address(factors_BD),
        address(users_sum_D),
        *map(ctypes.c_int64, factors_BD.shape),
        ctypes.c_void_p(offsets.ctypes.data),
        address(rows_Z),
        address(slopes_Z),
        ctypes.c_float(scale),
        address(of_weight_iD),
        address(of_bias_i),
    )
    return of_bias_i


def add_entry_products(
    directions_BD: Tensor, table_ND: Tensor, offsets: Tensor, items_Z: Tensor, weights_Z: Tensor, products_BD: Tensor
) -> None:
    """Adds to each user's row of products what the user's entries add to the matrix of the least squares.

    Args:
        directions_BD: what the matrices are multiplied with.
        table_ND: the items' factors.
        offsets: int64 ``[B + 1]``: user ``b`` has the entries ``offsets[b]`` to ``offsets[b + 1]``.
        items_Z: int64: the row of the table for each entry; trusted to exist.
        weights_Z: of the entries.
        products_BD: what is added to.
    """
    kernels = library()
    assert kernels is not None  # the caller has asked `serve`
    kernels.add_entry_products(
        *map(address, (directions_BD, table_ND, offsets, items_Z, weights_Z)),
        *map(ctypes.c_int64, directions_BD.shape),
        address(products_BD),
    )


def improve_rows(
    found_BD: Tensor,
    table_ND: Tensor,
    spectrum_D: Tensor,
    base_D: Tensor | None,
    offsets: Tensor,
    items_Z: Tensor,
    targets_Z: Tensor,
    weights_Z: Tensor,
    penalties_B: Tensor,
    steps: int,
) -> None:
    """Takes preconditioned conjugate gradient steps in place: see ``recoder.ops.least_squares.improve``.

    Args:
        found_BD: where to start, and what is found.
        table_ND: the items' factors, whose Gram matrix is diagonal.
        spectrum_D: that diagonal.
        base_D: subtracted from every right-hand side; None: nothing.
        offsets: int64 ``[B + 1]``: user ``b`` has the entries ``offsets[b]`` to ``offsets[b + 1]``.
        items_Z: int64: the row of the table for each entry; trusted to exist.
        targets_Z: what the entries' rows are multiplied with on the right-hand side.
        weights_Z: of the entries.
        penalties_B: with each number of the spectrum above 0.
        steps: how many.
    """
    kernels = library()
    assert kernels is not None  # the caller has asked `serve`
    threads = torch.get_num_threads()
    scratch = found_BD.new_empty(threads, 3, found_BD.shape[1])  # whatever torch's default dtype is now
    kernels.least_squares_rows(
        *map(address, (table_ND, spectrum_D, base_D, offsets, items_Z, targets_Z, weights_Z, penalties_B)),
        *map(ctypes.c_int64, found_BD.shape),
        ctypes.c_int64(steps),
        ctypes.c_int(threads),
        address(scratch),
        address(found_BD),
    )
