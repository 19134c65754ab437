"""What an embeddings index is: items' vectors, and the search for those most alike."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from recoder.errors import DataTypeError

__all__ = ["EmbeddingId", "EmbeddingsIndex", "Floats", "Neighbors", "Rows", "ids_of", "row_numbers"]

EmbeddingId = int | str
# the second form where the index was made with include_distances=True
Neighbors = list[EmbeddingId] | tuple[list[EmbeddingId], list[float]]
Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class EmbeddingsIndex(ABC):
    """Base class of indices over the embeddings of items.

    A subclass implements the four abstract methods. The similarity of two items is the cosine of the angle
    between their embeddings, from -1 to 1.
    """

    @abstractmethod
    def get_embedding(self, embedding_id: EmbeddingId) -> Floats:
        """Returns the embedding of an item: ``[D]``."""

    @abstractmethod
    def get_nns_by_id(self, embedding_id: EmbeddingId, n: int) -> Neighbors:
        """Returns the ``n`` items most similar to an item, best first; the item itself is the first."""

    @abstractmethod
    def get_nns_by_embedding(self, embedding: npt.ArrayLike, n: int) -> Neighbors:
        """Returns the ``n`` items most similar to a vector ``[D]``, best first."""

    @abstractmethod
    def get_similarity(self, id1: EmbeddingId, id2: EmbeddingId) -> float:
        """Returns the similarity of two items, from -1 to 1."""

    def nearest_rows(self, rows_Q: npt.ArrayLike, n: int) -> tuple[Rows, Floats]:
        """Returns the neighbours of many items in one call, all by row number of the embeddings.

        This implementation calls ``get_nns_by_id`` and ``get_similarity`` for an index whose ids *are* the
        row numbers; an index that has an id map, or can search in batches, overrides it.

        Args:
            rows_Q: integers ``[Q]``, row numbers of embeddings.
            n: neighbours of each, at least 1, the item itself counted.

        Returns:
            ``(rows_QK, similarities_QK)``: int64 and float32 ``[Q, K]``, each row the most similar first; K
            is the longest list, shorter ones end in row -1 with similarity 0.
        """
        rows = row_numbers(rows_Q).tolist()
        found = [ids_of(self.get_nns_by_id(row, n)) for row in rows]
        shape = (len(found), max((len(ids) for ids in found), default=0))
        rows_QK = np.full(shape, -1, dtype=np.int64)
        similarities_QK = np.zeros(shape, dtype=np.float32)
        for q, (row, ids) in enumerate(zip(rows, found, strict=True)):
            rows_QK[q, : len(ids)] = ids
            similarities_QK[q, : len(ids)] = [self.get_similarity(row, other) for other in ids]
        return rows_QK, similarities_QK


def row_numbers(rows_Q: npt.ArrayLike) -> Rows:
    """Returns row numbers as int64 ``[Q]``.

    Raises:
        DataTypeError: if they are no whole numbers.
    """
    rows = np.asarray(rows_Q)
    if rows.size and rows.dtype.kind not in "iu":
        raise DataTypeError(f"rows are whole numbers, not {rows.dtype}; ids are for get_nns_by_id")
    return rows.astype(np.int64)


def ids_of(neighbors: Neighbors) -> list[EmbeddingId]:
    """Returns the ids of an answer, whether or not it came with distances."""
    return neighbors[0] if isinstance(neighbors, tuple) else neighbors
