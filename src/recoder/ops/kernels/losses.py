"""Losses of a block of scores by the compiled kernels.

Sizes: B users, i items of a block, Z stored entries of the target there.
"""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recoder.ops.kernels import address, library

__all__ = ["DTYPES", "Entries", "log_sums", "logistic_", "softmax_slopes_"]

DTYPES = (torch.float32, torch.bfloat16)
"""Of scores."""

_SUFFIXES = dict(zip(DTYPES, ("f32", "bf16"), strict=True))


class Entries(ctypes.Structure):
    """The stored entries of a target by column, as C reads them: where they lie, and keeps what lies there alive.

    Args:
        offsets_i1: int64 ``[i + 1]``: column ``c`` has the entries ``offsets[c]`` to ``offsets[c + 1]``.
        rows: int64: the row of each.
        values: float32: the value of each.
    """

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("offsets", "rows", "values", "scores"))

    def __init__(self, offsets_i1: npt.NDArray[np.int64], rows: Tensor, values: Tensor) -> None:
        scores = torch.empty_like(values)
        super().__init__(offsets_i1.ctypes.data, rows.data_ptr(), values.data_ptr(), scores.data_ptr())
        self._kept = offsets_i1, rows, values, scores


def logistic_(scores_Bi: Tensor, bias_i: Tensor, entries: Entries, scale: float) -> tuple[float, Tensor]:
    """Returns the loss and the sums of its slopes over the users, ``[i]``; slopes times ``scale`` overwrite scores."""
    sums_i = torch.empty_like(bias_i)
    loss = _call(
        "logistic", scores_Bi, bias_i, entries, ctypes.c_float(scale), address(sums_i), returns=ctypes.c_double
    )
    return loss, sums_i


def log_sums(scores_Bi: Tensor, bias_i: Tensor, entries: Entries) -> tuple[float, Tensor]:
    """Returns the sum of target times score, and the logarithm of each user's sum of exponentials, ``[B]``."""
    log_sums_B = bias_i.new_empty(len(scores_Bi))
    return _call("log_sums", scores_Bi, bias_i, entries, address(log_sums_B), returns=ctypes.c_double), log_sums_B


def softmax_slopes_(
    scores_Bi: Tensor, bias_i: Tensor, entries: Entries, log_sums_B: Tensor, weights_B: Tensor, scale: float
) -> Tensor:
    """Overwrites scores by ``weights * softmax - scale * target``; returns the sums over the users, ``[i]``."""
    sums_i = torch.empty_like(bias_i)
    _call(
        "softmax_slopes",
        scores_Bi,
        bias_i,
        entries,
        address(log_sums_B),
        address(weights_B),
        ctypes.c_float(scale),
        address(sums_i),
        returns=None,
    )
    return sums_i


def _call(name: str, scores_Bi: Tensor, bias_i: Tensor, entries: Entries, *rest: object, returns: object) -> float:
    kernels = library()
    assert kernels is not None  # the caller has asked `serve`
    function = getattr(kernels, f"{name}_{_SUFFIXES[scores_Bi.dtype]}")
    function.restype = returns
    num_users, num_columns = scores_Bi.shape
    returned: float = function(
        address(scores_Bi), address(bias_i), ctypes.c_int64(num_users), ctypes.c_int64(num_columns), entries, *rest
    )
    return returned
