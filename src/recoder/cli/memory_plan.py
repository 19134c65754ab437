"""How much memory training takes, from the numbers of users, items and interactions.

Sizes: U users, N items, Z interactions. The factors were measured; ``tests/cli/test_planning.py`` holds them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recoder.nn import EASE, FactorizationModel
from recoder.recipes import Recipe

__all__ = ["MemoryPlan", "memory_plan"]

_FLOAT = 4
_TRAINED = 4 * _FLOAT
"""Bytes of a parameter that is trained: itself, its gradient, and two of Adam."""
_TRAINED_BY_OWN_LOSS = 12 * _FLOAT
"""Of one whose loss the model computes, and PyTorch's gradients of each operation in it."""
_INTERACTION = 48
"""Bytes of an interaction while batches are made."""
_INTERACTION_OF_SWEEPS = 130
"""Of one while alternating least squares hold them by user and by item."""
_WORK = 20 << 20
_PRODUCT_ENTRY = 8
"""Bytes of an entry of the sparse product of the interactions with themselves,"""
_PRODUCT_SIZE = 1 << 24
"""which is made in blocks of so many places, not all of them entries."""


@dataclass(frozen=True)
class MemoryPlan:
    """What training takes.

    Attributes:
        num_bytes: beside the interactions.
        size_to_invert: of the matrix that a closed form inverts; None for other models.
    """

    num_bytes: int
    size_to_invert: int | None = None


def memory_plan(chosen: Recipe, interactions: sparse.csr_matrix) -> MemoryPlan:
    """Returns what training by a recipe takes; nothing is made."""
    num_users, num_items = interactions.shape
    model = chosen.make_model(**chosen.model)
    if isinstance(model, EASE):
        return _of_closed_form(interactions)
    trained, others = _num_parameters(chosen, num_items, num_users)
    if chosen.recoder.get("optimizer_type") == "als":
        return MemoryPlan(_FLOAT * (trained + others) + _INTERACTION_OF_SWEEPS * interactions.nnz + _WORK)
    each = _TRAINED_BY_OWN_LOSS if model.brings_loss else _TRAINED
    return MemoryPlan(each * trained + _FLOAT * others + _INTERACTION * interactions.nnz + _WORK)


def _of_closed_form(interactions: sparse.csr_matrix) -> MemoryPlan:
    counts_U = np.diff(interactions.indptr)
    num_users, num_items = int((counts_U > 1).sum()), interactions.shape[1]
    size = min(num_users, num_items)
    counts = np.bincount(interactions.indices) if num_users < num_items else counts_U
    # of products that fall on places at random, so many places get one
    filled = 1 - math.exp(-float((counts.astype(np.float64) ** 2).sum()) / max(1, size) ** 2)
    product = int(_PRODUCT_ENTRY * min(size**2, _PRODUCT_SIZE) * filled)
    return MemoryPlan(_FLOAT * size**2 + product + _WORK, size)


def _num_parameters(chosen: Recipe, num_items: int, num_users: int) -> tuple[int, int]:
    """Returns how many numbers a model trains, and how many others it has, for so many items and users.

    They grow by a fixed number with each item and each user, so tiny models tell.
    """
    small, more_items, more_users = (_counted(chosen, *sizes) for sizes in ((2, 2), (3, 2), (2, 3)))
    trained, others = (
        start + (num_items - 2) * (of_items - start) + (num_users - 2) * (of_users - start)
        for start, of_items, of_users in zip(small, more_items, more_users, strict=True)
    )
    return trained, others


def _counted(chosen: Recipe, num_items: int, num_users: int) -> tuple[int, int]:
    model: FactorizationModel = chosen.make_model(**chosen.model)
    model.init_model(num_items, num_users)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    everything = sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))
    return trained, everything - trained
