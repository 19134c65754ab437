"""Losses of scores that are products of factors, and their gradients, by the compiled kernels in one pass.

Sizes: B users, N rows of the items' table, I items to score, D factors, Z stored entries of the target.
"""

from __future__ import annotations

import ctypes
from functools import cache

import torch
from torch import Tensor

from recoder.ops.item_blocks import TargetBlock
from recoder.ops.kernels import address, library
from recoder.ops.workspace import Workspace

__all__ = ["LOGISTIC", "LOG_SUMS", "SOFTMAX", "SQUARED", "FactorLosses", "kept_bytes", "scratch_bytes", "served_dtypes"]

LOGISTIC, SQUARED, LOG_SUMS, SOFTMAX = range(4)
"""What to compute: two losses that are sums over scores, and the two halves of the multinomial."""

_SCRATCH_BYTES, _SCRATCH_BYTES_OF_USER = 16 << 20, 64 << 10
"""Memory for threads to compute in: enough for 50 with 200 factors, whatever the number of users."""

_POINTERS = "factors table bias ids offsets rows values log_sums weights of_entries kept of_factors of_weight of_bias"


class _Problem(ctypes.Structure):
    """What ``struct problem`` of factor_losses.c holds."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in (*_POINTERS.split(), "scratch")),
        *((name, ctypes.c_int64) for name in ("users", "size", "items", "work", "threads")),
        *((name, ctypes.c_float) for name in ("scale", "confidence")),
    )


@cache
def served_dtypes() -> tuple[torch.dtype, ...]:
    """Returns the dtypes in which the kernels multiply here: none without AVX-512, float32 only beside faster units."""
    kernels = library()
    if kernels is None:
        return ()
    kernels.factor_losses_served.restype = ctypes.c_int64
    bits = kernels.factor_losses_served()
    return tuple(dtype for bit, dtype in ((1, torch.float32), (2, torch.bfloat16)) if bits & bit)


class FactorLosses:
    """Losses of the scores of some users for some items. All tensors are contiguous, in host memory, and float32.

    Args:
        factors_BD: the users' factors.
        table_ND: the items' factors.
        bias_N: the biases, or None.
        ids_I: int64: the rows of the table to score; None: all of them. Trusted to exist.
        target: what the users have of the items that are scored, in the order of these.
        dtype: what products round their inputs to, one of ``served_dtypes``.
        space: where to compute.
    """

    def __init__(
        self,
        factors_BD: Tensor,
        table_ND: Tensor,
        bias_N: Tensor | None,
        ids_I: Tensor | None,
        target: TargetBlock,
        *,
        dtype: torch.dtype,
        space: Workspace,
    ) -> None:
        kernels = library()
        assert kernels is not None  # the caller has asked `served_dtypes`
        self._kernels, self._space, self._like = kernels, space, factors_BD
        self._run = kernels.factor_losses_bf16 if dtype == torch.bfloat16 else kernels.factor_losses_f32
        self._run.restype = ctypes.c_double
        self._kept = factors_BD, table_ND, bias_N, ids_I, target
        num_items = len(table_ND if ids_I is None else ids_I)
        self._problem = _Problem(
            factors=address(factors_BD),
            table=address(table_ND),
            bias=address(bias_N),
            ids=address(ids_I),
            offsets=target.offsets.ctypes.data,
            rows=address(target.rows),
            values=address(target.values),
            users=factors_BD.shape[0],
            size=factors_BD.shape[1],
            items=num_items,
        )
        self._problem.threads, self._scratch_bytes = _threads_and_bytes(*self._sizes())

    def keep_scores(self, name: str) -> None:
        """Lets ``SOFTMAX`` use the scores that ``LOG_SUMS`` makes, which are kept under ``name`` in the space."""
        size = kept_bytes(self._problem.users, self._problem.items) // 4
        self._scores = self._space.take(name, size, like=self._like)
        self._problem.kept = address(self._scores)

    def _sizes(self) -> tuple[int, int, int]:
        return self._problem.users, self._problem.size, self._problem.items

    def compute(
        self,
        work: int,
        *,
        scale: float = 1.0,
        confidence: float = 0.0,
        log_sums_B: Tensor | None = None,
        weights_B: Tensor | None = None,
        of_factors_BD: Tensor | None = None,
        of_weight_ID: Tensor | None = None,
        of_bias_I: Tensor | None = None,
    ) -> float:
        """Returns the loss, of the multinomial the sum of minus target times score, and of its second half zero.

        Args:
            work: ``LOGISTIC``, ``SQUARED``, ``LOG_SUMS`` or ``SOFTMAX``.
            scale: what to multiply gradients by.
            confidence: of the squared error.
            log_sums_B: receives the logarithms of the users' sums of exponentials; the second half of the multinomial
                reads them.
            weights_B: what this second half multiplies each user's softmax by.
            of_factors_BD: what the gradients of the users' factors are added to. None: no gradient is computed.
            of_weight_ID: receives those of the items' factors. None: not computed.
            of_bias_I: receives those of the items' biases. None: not computed.
        """
        problem, values = self._problem, self._kept[-1].values
        of_entries = torch.empty_like(values) if work == SQUARED else None
        problem.work, problem.scale, problem.confidence = work, scale, confidence
        problem.log_sums, problem.weights = address(log_sums_B), address(weights_B)
        problem.of_entries = address(of_entries)
        problem.of_factors, problem.of_weight, problem.of_bias = map(address, (of_factors_BD, of_weight_ID, of_bias_I))
        scratch = self._space.take("one pass", self._scratch_bytes // 4, like=self._like)
        problem.scratch = address(scratch)
        loss: float = self._run(ctypes.byref(problem))
        return loss


def _threads_and_bytes(num_users: int, num_factors: int, num_items: int) -> tuple[int, int]:
    """Returns how many threads compute, and how much memory they need: each has gradients of all users of its own."""
    threads, most = torch.get_num_threads(), _SCRATCH_BYTES + _SCRATCH_BYTES_OF_USER * num_users
    while (num_bytes := _scratch_bytes(num_users, num_factors, num_items, threads)) > most and threads > 1:
        threads = min(threads - 1, threads * most // num_bytes) or 1
    return threads, num_bytes


def _scratch_bytes(*sizes: int) -> int:
    kernels = library()
    assert kernels is not None  # the caller has asked `served_dtypes`
    kernels.factor_losses_scratch.restype = ctypes.c_int64
    return 4 * int(kernels.factor_losses_scratch(*map(ctypes.c_int64, sizes)))


def scratch_bytes(num_users: int, num_factors: int, num_items: int) -> int:
    """Returns how much memory the pass needs beside what it is given."""
    return _threads_and_bytes(num_users, num_factors, num_items)[1]


def kept_bytes(num_users: int, num_items: int) -> int:
    """Returns how much memory all scores need."""
    kernels = library()
    assert kernels is not None  # the caller has asked `served_dtypes`
    kernels.factor_losses_kept_row.restype = ctypes.c_int64
    return 4 * num_items * int(kernels.factor_losses_kept_row(ctypes.c_int64(num_users)))
