"""Draws that are pure functions of (seed, stream, epoch, step, ids), never of shared state.

A run can therefore be repeated, resumed, prefetched or spread over processes and still draw the same numbers.
The mixing function is the finaliser of SplitMix64 (Steele, Lea & Flood 2014, OOPSLA, "Fast splittable pseudorandom
number generators").
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["derive_seed", "epoch_order", "fresh_seed", "mixed", "uniform_hash"]

_MASK_63 = (1 << 63) - 1


def derive_seed(seed: int, stream: str, *counters: int) -> int:
    """Returns a seed in [0, 2**63) for one draw: a hash of the run's seed, the stream's name and its counters."""
    text = "/".join([str(seed), stream, *(str(c) for c in counters)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") & _MASK_63


def fresh_seed() -> int:
    """Returns a seed in [0, 2**31) drawn from torch's global generator, so ``torch.manual_seed`` governs it."""
    return int(torch.randint(0, 2**31, (), device="cpu"))


def epoch_order(seed: int, epoch: int, size: int) -> npt.NDArray[np.int64]:
    """Returns the order in which epoch ``epoch`` visits ``size`` users: int64 ``[size]``, a permutation."""
    generator = np.random.Generator(np.random.Philox(derive_seed(seed, "order", epoch)))
    return generator.permutation(size)


def uniform_hash(seed: int, first: Tensor, second: Tensor) -> Tensor:
    """Returns one number in [0, 1) for each pair: float32, of the shape that the two int64 tensors broadcast to.

    A pair's number depends on the seed and on the pair alone, not on where it stands or on what else is hashed.
    """
    key = derive_seed(seed, "uniform")
    bits = mixed(mixed(first + _signed(key)) ^ second)
    # the upper 24 bits are exact in float32
    return _shift_right(bits, 40).to(torch.float32) * 2.0**-24


def mixed(x: Tensor) -> Tensor:
    """Returns a hash of each number, int64 like them: one to one, with every bit depending on all."""
    x = (x ^ _shift_right(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift_right(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift_right(x, 31)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Shifts in zeros, as for an unsigned integer; torch's own shift of int64 keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value
