"""Kernels compiled from C when the package is installed; what calls them has a plain form in PyTorch beside it.

They compute in PyTorch's own threads, and serve contiguous tensors in host memory.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["library", "serve"]

_LIBRARY = Path(__file__).with_name("kernels.so")


@cache
def library() -> ctypes.CDLL | None:
    """Returns the kernels; None where they were not compiled, or do not fit this machine or its PyTorch."""
    try:
        # importing torch has loaded the OpenMP whose functions the kernels call
        return ctypes.CDLL(str(_LIBRARY))
    except OSError:
        return None


def serve(*tensors: Tensor, dtypes: tuple[torch.dtype, ...] = (torch.float32,)) -> bool:
    """Returns whether there are kernels for these tensors: contiguous, in host memory, of one of ``dtypes``."""
    fit = all(t.device.type == "cpu" and t.dtype in dtypes and t.is_contiguous() for t in tensors)
    return fit and library() is not None
