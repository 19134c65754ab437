"""Scores of some users for some items by the compiled kernels. Sizes: B users, N items, D factors."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from recoder.ops.kernels import address, library
from recoder.ops.workspace import Workspace

__all__ = ["write_scores"]


def write_scores(
    factors_BD: Tensor, weight_ND: Tensor, bias_N: Tensor | None, scores_BN: Tensor, space: Workspace
) -> None:
    """Writes ``factors @ weight.T + bias``; all tensors are contiguous and float32, see ``served_dtypes``.

    Args:
        factors_BD: the users' factors.
        weight_ND: the items' factors.
        bias_N: the biases, or None.
        scores_BN: where to.
        space: where to compute.
    """
    kernels = library()
    assert kernels is not None  # the caller has asked `served_dtypes`
    num_users, num_factors = factors_BD.shape
    sizes = num_users, num_factors, len(weight_ND), torch.get_num_threads()
    kernels.scores_scratch.restype = ctypes.c_int64
    size = int(kernels.scores_scratch(ctypes.c_int64(num_factors), ctypes.c_int64(sizes[-1])))
    scratch = space.take("packed items", size, like=weight_ND)
    kernels.scores(
        *map(address, (factors_BD, weight_ND, bias_N)),
        *map(ctypes.c_int64, sizes),
        *map(address, (scratch, scores_BN)),
        ctypes.c_int64(scores_BN.shape[1]),
    )
