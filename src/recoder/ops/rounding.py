"""Rounding to bfloat16 up or down at random, so that on average nothing is added and nothing lost.

A small step that rounding to the nearest would forget each time survives on average (Gupta et al. 2015,
arXiv:1502.02551). Sizes: N rows of a table, R of them, D numbers of a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recoder._random import derive_seed, mixed

__all__ = ["Rounding", "rounded"]

_MASK_32 = (1 << 32) - 1


@dataclass(frozen=True, eq=False)
class Rounding:
    """The random bits that the moments of a table are rounded with at each step.

    They are a function of the seed, the table's name, the step, the row of the whole table and the column, so that runs
    repeat, go on where they stopped, and end alike however many processes have parts of the table. Two hashes give
    them: SplitMix64's finaliser for a row, and MurmurHash3's (Appleby 2011), which needs only products of 32 bits, for
    the columns in it.

    Attributes:
        seed: of the run.
        name: of the table.
        ids_N: int64 ``[N]``: which rows of the whole table these are; None: all, in order.
    """

    seed: int
    name: str
    ids_N: Tensor | None = None

    def key(self, step: int) -> int:
        """Returns what the hashes of a step start from, in [0, 2**63)."""
        return derive_seed(self.seed, f"rounding/{self.name}", step)

    def bits(self, step: int, rows_R: Tensor, size: int) -> Tensor:
        """Returns 32 random bits for each number of some rows: int64 ``[R, D]``; the kernels compute the same."""
        ids_R = rows_R if self.ids_N is None else self.ids_N[rows_R]
        keys_R1 = mixed(ids_R + self.key(step)).unsqueeze(1)
        cols_D = torch.arange(size, device=rows_R.device)
        x = ((keys_R1 & _MASK_32) + cols_D) & _MASK_32
        x = ((x ^ (x >> 16)) * 0x85EBCA6B & _MASK_32) ^ ((keys_R1 >> 32) & _MASK_32)
        x = (x ^ (x >> 13)) * 0xC2B2AE35 & _MASK_32
        return x ^ (x >> 16)


def rounded(values: Tensor, bits: Tensor) -> Tensor:
    """Returns values in bfloat16, each one of its two neighbours there, the nearer one more often.

    What bfloat16 holds, infinities and NaN among it, stays as it is.

    Args:
        values: floating point.
        bits: integers in [0, 2**16), of the same shape: a value goes up where its lower half and they overflow.
    """
    halves = values.float().view(torch.int32)
    up = ((halves + bits.to(torch.int32)) >> 16).to(torch.int16).view(torch.bfloat16)
    return torch.where(values.isnan(), values.to(torch.bfloat16), up)
