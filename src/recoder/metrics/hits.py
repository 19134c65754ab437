"""Which ranks of recommended lists hold a relevant item.

Sizes: B users, C ranks, Z relevant items of all the users together, N items of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from recoder.metrics.ranking import BoolArray, IntArray

__all__ = ["hits_of_list", "hits_of_rows"]


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
    # one key for each (user, item): ascending, since users and their items are
    users_B1 = np.arange(len(ranked_BC), dtype=np.int64)[:, None]
    relevant_Z = np.repeat(users_B1[:, 0], np.diff(offsets)) * num_items + cols
    wanted_BC = users_B1 * num_items + ranked_BC
    places_BC = np.searchsorted(relevant_Z, wanted_BC)
    found_BC = np.append(relevant_Z, -1)[places_BC] == wanted_BC
    found_BC &= ranked_BC >= 0
    return _first_of_each(found_BC, places_BC)


def _first_of_each(found_BC: BoolArray, places_BC: IntArray) -> BoolArray:
    """Returns ``found_BC`` with only the first rank that found each relevant entry."""
    flat = np.flatnonzero(found_BC)
    _, first = np.unique(places_BC.ravel()[flat], return_index=True)
    hits = np.zeros(found_BC.size, dtype=np.bool_)
    hits[flat[first]] = True
    return hits.reshape(found_BC.shape)


def _plain(items: Iterable[Any]) -> Iterable[Any]:
    # the elements of a tensor are tensors, which hash by identity and would match nothing
    return items.tolist() if isinstance(items, Tensor | np.ndarray) else items
