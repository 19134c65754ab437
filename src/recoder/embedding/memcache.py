"""Answers kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from recoder._checks import whole_number
from recoder.embedding.base import EmbeddingId, EmbeddingsIndex, Floats, Neighbors, Rows, row_numbers

__all__ = ["MemCacheEmbeddingsIndex"]


class MemCacheEmbeddingsIndex(EmbeddingsIndex):
    """Keeps the neighbours of items that were asked for, and hands everything else on to another index.

    What it keeps for an item and an ``n`` serves only the same item with the same ``n``. Wrap an index after
    it is built or loaded: a later ``build`` or ``load`` of it is not noticed. Several threads may ask it at once, if
    they may ask that index.

    Args:
        embedding_index: the index to ask.
        max_entries: answers to keep, at least 1; beyond it, the one not used for longest goes.

    Raises:
        ConfigError: if ``max_entries``, or an ``n``, is no whole number of at least 1.
    """

    def __init__(self, embedding_index: EmbeddingsIndex, *, max_entries: int = 100_000) -> None:
        self.embedding_index = embedding_index
        self.max_entries = whole_number("max_entries", max_entries, 1)
        self._entries: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()  # of the entries, and not of the search

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            # a lock cannot be copied, and the entries not while another thread changes them
            return vars(self) | {"_lock": None, "_entries": self._entries.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def get_embedding(self, embedding_id: EmbeddingId) -> Floats:
        """Returns the embedding of an item: ``[D]``."""
        return self.embedding_index.get_embedding(embedding_id)

    def get_nns_by_id(self, embedding_id: EmbeddingId, n: int) -> Neighbors:
        """Returns the ``n`` items most similar to an item, from memory if it was asked before."""
        n = whole_number("n", n, 1)  # here too: True and 1.0 would find the answer that is kept for 1
        key = ("id", embedding_id, n)
        neighbors: Neighbors | None = self._recall(key)
        if neighbors is None:
            neighbors = self.embedding_index.get_nns_by_id(embedding_id, n)
            self._keep(key, _copied(neighbors))
            return neighbors
        return _copied(neighbors)

    def get_nns_by_embedding(self, embedding: npt.ArrayLike, n: int) -> Neighbors:
        """Returns the ``n`` items most similar to a vector ``[D]``; these answers are not kept."""
        return self.embedding_index.get_nns_by_embedding(embedding, n)

    def get_similarity(self, id1: EmbeddingId, id2: EmbeddingId) -> float:
        """Returns the similarity of two items, from -1 to 1."""
        return self.embedding_index.get_similarity(id1, id2)

    def nearest_rows(self, rows_Q: npt.ArrayLike, n: int) -> tuple[Rows, Floats]:
        """Returns the neighbours of many items by row; asks, in one call, for those that it does not hold."""
        n = whole_number("n", n, 1)
        rows = row_numbers(rows_Q).tolist()
        answers: dict[int, tuple[Rows, Floats]] = {}
        for row in rows:
            kept = self._recall(("row", row, n))
            if kept is not None:
                answers[row] = kept
        missing = [row for row in dict.fromkeys(rows) if row not in answers]
        if missing or not rows:
            found_QK, similarities_QK = self.embedding_index.nearest_rows(missing, n)
            for row, found, similarities in zip(missing, found_QK, similarities_QK, strict=True):
                answers[row] = found[found >= 0], similarities[found >= 0]
                self._keep(("row", row, n), answers[row])
        return _padded([answers[row] for row in rows])

    def _recall(self, key: Hashable) -> Any:
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key]

    def _keep(self, key: Hashable, answer: Any) -> None:
        with self._lock:
            self._entries[key] = answer
            if len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)


def _copied(neighbors: Neighbors) -> Neighbors:
    """Returns the same answer in lists of its own, which the caller may change."""
    if isinstance(neighbors, tuple):  # of ids and distances; of an index of one's own perhaps of ids
        copied: Neighbors = tuple(copy(part) for part in neighbors)  # type: ignore[assignment]
        return copied
    return copy(neighbors)


def _padded(answers: list[tuple[Rows, Floats]]) -> tuple[Rows, Floats]:
    shape = (len(answers), max((len(found) for found, _ in answers), default=0))
    rows_QK = np.full(shape, -1, dtype=np.int64)
    similarities_QK = np.zeros(shape, dtype=np.float32)
    for q, (found, similarities) in enumerate(answers):
        rows_QK[q, : len(found)] = found
        similarities_QK[q, : len(found)] = similarities
    return rows_QK, similarities_QK
