"""Kernels compiled from C when the package is installed; what calls them has a plain form in PyTorch beside it.

They compute in PyTorch's own threads, and serve contiguous tensors in host memory.
"""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["address", "library", "serve"]

_LIBRARY = Path(__file__).with_name("kernels.so")


@cache
def library() -> ctypes.CDLL | None:
    """Returns the kernels; None where there are none that fit these sources, this machine and its PyTorch."""
    try:
        # importing torch has loaded the OpenMP whose functions the kernels call
        kernels = ctypes.CDLL(str(_LIBRARY))
        kernels.sources.restype = ctypes.c_char_p
    except (OSError, AttributeError):
        return None
    # after a change of the sources an editable installation holds an old library, to be called in another way
    return kernels if kernels.sources().decode() == _digest() else None


def _digest() -> str:
    """Returns what the library says it was compiled from; see hatch_build.py."""
    digest = hashlib.sha256()
    for path in sorted(_LIBRARY.parent.glob("*.[ch]")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def serve(*tensors: Tensor, dtypes: tuple[torch.dtype, ...] = (torch.float32,)) -> bool:
    """Returns whether there are kernels for these tensors: contiguous, in host memory, of one of ``dtypes``."""
    fit = all(t.device.type == "cpu" and t.dtype in dtypes and t.is_contiguous() for t in tensors)
    return fit and library() is not None


def address(tensor: Tensor | None) -> ctypes.c_void_p:
    """Returns where a tensor's numbers lie; keep it meanwhile."""
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
