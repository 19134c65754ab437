"""Which ranks of recommended lists hold a relevant item.

Sizes: B users, C ranks, Z relevant items of all the users together, N items of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from recoder.metrics.ranking import BoolArray, IntArray

__all__ = ["hits_of_list", "hits_of_rows"]

_TABLE_CELLS = 1 << 22  # 4 MiB: what is looked up at random stays in the cache


def hits_of_list(x: Sequence[Any], y: Iterable[Any], k: int) -> tuple[BoolArray, IntArray]:
    """Returns where one user's hits stand, bool ``[1, C]``, and how many items are relevant, int64 ``[1]``.

    Args:
        x: recommended items, best first. A repeated item counts where it first stands; its repeats are no
            hits.
        y: relevant items, in any order.
        k: the cut-off.
    """
    missing = set(_plain(y))
    n_relevant = len(missing)
    hits = []
    for item in _plain(x[:k]):
        hits.append(item in missing)
        missing.discard(item)
    return np.array([hits], dtype=np.bool_), np.array([n_relevant], dtype=np.int64)


def hits_of_rows(ranked_BC: IntArray, offsets: IntArray, cols: IntArray, num_items: int) -> BoolArray:
    """Returns the hits of many users: bool ``[B, C]``, by the same rules as ``hits_of_list``.

    Args:
        ranked_BC: recommended items in ``[0, N)``, best first; negative where there is none.
        offsets: ``[B + 1]``; the relevant items of user ``u`` are ``cols[offsets[u] : offsets[u + 1]]``.
        cols: ``[Z]``, ascending without repeats for each user.
        num_items: N.
    """
    num_users, width = len(ranked_BC), num_items + 1
    step = max(1, min(num_users, _TABLE_CELLS // width))
    is_relevant = np.zeros(step * width, dtype=np.bool_)
    hits_BC = np.empty(ranked_BC.shape, dtype=np.bool_)
    for start in range(0, num_users, step):
        block = slice(start, min(start + step, num_users))
        # a user's cells: one that is never set, for ranks without an item, and then one for each item
        item_0_B = np.arange(block.stop - start) * width + 1
        bounds = offsets[start : block.stop + 1]
        relevant_Z = np.repeat(item_0_B, np.diff(bounds)) + cols[bounds[0] : bounds[-1]]
        ranked_cells_BC = item_0_B[:, None] + np.maximum(ranked_BC[block], -1)
        hits_BC[block] = _hits_of_cells(ranked_cells_BC, relevant_Z, is_relevant)
    return hits_BC


def _hits_of_cells(cells_BC: IntArray, relevant_Z: IntArray, is_relevant: BoolArray) -> BoolArray:
    """Returns which cells are relevant, each where it first stands; ``is_relevant`` is all False before and after."""
    is_relevant[relevant_Z] = True
    found_BC = is_relevant.take(cells_BC)
    # taken out of the table, each goes once: if fewer go than were found, some were recommended twice
    is_relevant[cells_BC[found_BC]] = False
    num_different = len(relevant_Z) - np.count_nonzero(is_relevant[relevant_Z])
    is_relevant[relevant_Z] = False
    return found_BC if num_different == np.count_nonzero(found_BC) else _first_of_each(found_BC, cells_BC)


def _first_of_each(found_BC: BoolArray, cells_BC: IntArray) -> BoolArray:
    """Returns ``found_BC`` with only the first rank that found each cell."""
    flat = np.flatnonzero(found_BC)
    _, first = np.unique(cells_BC.ravel()[flat], return_index=True)
    hits = np.zeros(found_BC.size, dtype=np.bool_)
    hits[flat[first]] = True
    return hits.reshape(found_BC.shape)


def _plain(items: Iterable[Any]) -> Iterable[Any]:
    # the elements of a tensor are tensors, which hash by identity and would match nothing; so do those of Arrow columns
    if isinstance(items, Tensor | np.ndarray):
        return items.tolist()
    if isinstance(items, pa.Array | pa.ChunkedArray):
        plain: list[Any] = items.to_pylist()
        return plain
    return [_plain_one(item) for item in items]


def _plain_one(item: Any) -> Any:
    if isinstance(item, pa.Scalar):
        return item.as_py()
    return item.item() if isinstance(item, Tensor | np.ndarray) and item.ndim == 0 else item
