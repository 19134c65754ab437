"""Memory that is used again from one step to the next."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["Workspace"]


class Workspace:
    """Buffers by name, each as large as the largest tensor that was taken from it.

    A step takes the same few large tensors as the step before. Given back to the operating system in between, their
    pages would have to be mapped and cleared anew each time, which costs as much as computing with them.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Returns a contiguous tensor with arbitrary content; what was taken by this name before is overwritten.

        Args:
            name: of the buffer.
            shape: of the tensor.
            like: whose device and, where ``dtype`` is None, dtype it has.
            dtype: of the tensor.
        """
        dtype = dtype or like.dtype
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size or buffer.dtype != dtype or buffer.device != like.device:
            buffer = torch.empty(size, dtype=dtype, device=like.device)
            self._buffers[name] = buffer
        return buffer[:size].view(shape)
