"""Sums and other exchanges between the processes that compute something together; a process alone is one of them.

All of them call the same methods in the same order, with tensors of the same shapes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["ALONE", "Ranks", "groups_of", "let_go", "summed"]


_AWAKE_S = 0.05

_give_way = getattr(os, "sched_yield", lambda: time.sleep(0))
"""Lets other threads have this core; Windows knows it by the other name."""

_WITH_OTHERS: WeakSet[Ranks] = WeakSet()


_GROUPS: dict[tuple[int, ...], dist.ProcessGroup | None] = {}
"""By their ranks: each holds connections and threads for as long as the processes are together."""


def groups_of(lines: Sequence[Sequence[int]]) -> list[dist.ProcessGroup | None]:
    """Returns a group of each of these ranks; all processes ask for the same."""
    whole = tuple(range(dist.get_world_size()))
    if _GROUPS.get(whole) is not dist.group.WORLD:  # what there is is of processes that met before
        _GROUPS.clear()
        _GROUPS[whole] = dist.group.WORLD
    for ranks in map(tuple, lines):
        if ranks not in _GROUPS:
            _GROUPS[ranks] = dist.new_group(ranks)
    return [_GROUPS[tuple(ranks)] for ranks in lines]


def let_go() -> None:
    """Ends all exchanges: a group of processes that is still held when Python ends aborts it (gloo in torch 2.13)."""
    for ranks in _WITH_OTHERS:
        ranks._group = None
    _GROUPS.clear()
    if dist.is_initialized():
        dist.destroy_process_group()


class Ranks:
    """Processes that compute together.

    Args:
        group: they; None: this process alone, which exchanges nothing.

    Attributes:
        size: how many they are.
        rank: which of them this one is, from 0.
        device: where tensors must be to be exchanged.
        numbers_sent: of the tensors that were handed to ``sum_``, ``max_`` and ``gathered`` so far.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self._group = group
        self.size = 1 if group is None else dist.get_world_size(group)
        self.rank = 0 if group is None else dist.get_rank(group)
        if group is not None:
            _WITH_OTHERS.add(self)
        is_nccl = group is not None and dist.get_backend(group) == "nccl"
        self.device = torch.device("cuda" if is_nccl else "cpu")
        self.numbers_sent = 0

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that counts what all of them have."""
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """Replaces a contiguous tensor by its sum over the processes, and returns it."""
        return self._reduced(tensor, "SUM")

    def max_(self, tensor: Tensor) -> Tensor:
        """Replaces a contiguous tensor by its element-wise maximum over the processes, and returns it."""
        return self._reduced(tensor, "MAX")

    def gathered(self, tensor: Tensor) -> list[Tensor]:
        """Returns the tensor of each process, in the order of their ranks; all have the same shape."""
        if self._group is None:
            return [tensor]
        self.numbers_sent += tensor.numel()
        tensor = tensor.contiguous()
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        self._done(dist.all_gather(parts, tensor, group=self._group, async_op=True))
        return parts

    def gathered_rows(self, tensor: Tensor) -> list[Tensor]:
        """Returns the tensor of each process; they may differ in the number of rows, the first dimension."""
        if self._group is None:
            return [tensor]
        lengths = [int(length) for length in self.gathered(torch.tensor([len(tensor)], device=tensor.device))]
        padded = tensor.new_zeros(max(lengths), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        return [part[:length] for part, length in zip(self.gathered(padded), lengths, strict=True)]

    def largest(self, number: int) -> int:
        """Returns the largest of the numbers of the processes."""
        return number if self._group is None else int(self.max_(torch.tensor([number], device=self.device)))

    def _reduced(self, tensor: Tensor, how: str) -> Tensor:
        if self._group is not None:
            self.numbers_sent += tensor.numel()
            self._done(dist.all_reduce(tensor, getattr(dist.ReduceOp, how), group=self._group, async_op=True))
        return tensor

    def _done(self, work: Any) -> None:
        """Waits for an exchange, first wide awake: to be woken takes milliseconds where all cores compute."""
        if self.device.type == "cpu":
            end = time.monotonic() + _AWAKE_S
            while not work.is_completed() and time.monotonic() < end:
                _give_way()  # to gloo's threads, which may need this core
        work.wait()


ALONE = Ranks()
"""This process, without others."""


def summed(ranks: Ranks, tensor: Tensor) -> Tensor:
    """Returns the sum of a tensor over the processes; its gradient is that of the sum.

    So it is right where all processes go on with the sum in the same way, and what they make of it is one thing, not a
    part of it each.
    """
    if ranks.size == 1:
        return tensor
    whole: Tensor = _Sum.apply(tensor, ranks)  # type: ignore[no-untyped-call]  # in torch 2.13
    return whole


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, ranks: Ranks) -> Tensor:
        return ranks.sum_(tensor.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], None
