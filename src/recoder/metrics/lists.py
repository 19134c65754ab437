"""Recommended lists as rows of numbers.

Sizes: B users, C ranks, N items of the catalogue.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from recoder.errors import DataTypeError
from recoder.metrics.ranking import IntArray

__all__ = ["list_as_row", "without_repeats"]


def list_as_row(x: Any, k: int) -> IntArray:
    """Returns the first ``k`` of one user's recommendations as int64 ``[1, C]``.

    Args:
        x: a list, array or tensor of items.
        k: the cut-off.

    Raises:
        DataTypeError: if they are not whole numbers.
    """
    row = np.asarray(x[:k].tolist() if isinstance(x, Tensor) else x[:k])
    if row.size and row.dtype.kind not in "iu":
        raise DataTypeError(f"the recommended items are {row.dtype}; this metric needs them as catalogue indices")
    return row.astype(np.int64).reshape(1, -1)


def without_repeats(ranked_BC: IntArray) -> IntArray:
    """Returns the lists with -1 where an item stands that the list holds further up, and where there is none.

    So an item counts once, where it first stands, and its repeats take up ranks, as in ``hits_of_list``.

    Args:
        ranked_BC: items, best first; negative where there is none. It is not changed.
    """
    cleaned_BC = np.maximum(ranked_BC, -1)
    # sorting numbers is much quicker than sorting places, and lists with repeats are rare
    rows = np.flatnonzero(_repeats_the_one_before(np.sort(cleaned_BC, axis=1)).any(axis=1))
    if len(rows):
        lists_RC = cleaned_BC[rows]
        order_RC = lists_RC.argsort(axis=1, kind="stable")
        sorted_RC = np.take_along_axis(lists_RC, order_RC, axis=1)
        sorted_RC[_repeats_the_one_before(sorted_RC)] = -1
        np.put_along_axis(lists_RC, order_RC, sorted_RC, axis=1)
        cleaned_BC[rows] = lists_RC
    return cleaned_BC


def _repeats_the_one_before(sorted_BC: IntArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    repeats_BC = np.zeros(sorted_BC.shape, dtype=np.bool_)
    repeats_BC[:, 1:] = (sorted_BC[:, 1:] == sorted_BC[:, :-1]) & (sorted_BC[:, 1:] >= 0)
    return repeats_BC
