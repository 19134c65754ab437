from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from recoder.embedding import (
    AnnoyEmbeddingsIndex,
    EmbeddingsIndex,
    ExactEmbeddingsIndex,
    MemCacheEmbeddingsIndex,
    VoyagerEmbeddingsIndex,
)
from recoder.testing.embeddings_index import EmbeddingsIndexSuite

Embeddings = npt.NDArray[np.float32]


class TestExact(EmbeddingsIndexSuite):
    def make_index(self, embeddings: Embeddings, id_map: Mapping[Any, int] | None) -> EmbeddingsIndex:
        index = ExactEmbeddingsIndex(embeddings, id_map)
        index.build()
        return index


class TestAnnoy(EmbeddingsIndexSuite):
    min_recall = 0.9

    def make_index(self, embeddings: Embeddings, id_map: Mapping[Any, int] | None) -> EmbeddingsIndex:
        pytest.importorskip("annoy")
        index = AnnoyEmbeddingsIndex(embeddings, id_map, n_trees=20)
        index.build()
        return index


class TestVoyager(EmbeddingsIndexSuite):
    min_recall = 0.99

    def make_index(self, embeddings: Embeddings, id_map: Mapping[Any, int] | None) -> EmbeddingsIndex:
        pytest.importorskip("voyager")
        index = VoyagerEmbeddingsIndex(embeddings, id_map, include_distances=True)
        index.build()
        return index


class TestMemCache(EmbeddingsIndexSuite):
    def make_index(self, embeddings: Embeddings, id_map: Mapping[Any, int] | None) -> EmbeddingsIndex:
        index = ExactEmbeddingsIndex(embeddings, id_map, include_distances=True)
        index.build()
        return MemCacheEmbeddingsIndex(index, max_entries=50)


class TestOwnIndexWithOnlyTheDocumentedMethods(EmbeddingsIndexSuite):
    def make_index(self, embeddings: Embeddings, id_map: Mapping[Any, int] | None) -> EmbeddingsIndex:
        return BruteForce(embeddings, id_map)


class BruteForce(EmbeddingsIndex):
    def __init__(self, embeddings: Embeddings, id_map: Mapping[Any, int] | None) -> None:
        self.embeddings = embeddings.copy()
        self.row_of = dict(id_map or {row: row for row in range(len(embeddings))})
        self.id_of = {row: raw_id for raw_id, row in self.row_of.items()}

    def get_embedding(self, embedding_id: Any) -> Embeddings:
        return self.embeddings[self.row_of[embedding_id]].copy()

    def get_similarity(self, id1: Any, id2: Any) -> float:
        return cosine(self.get_embedding(id1), self.get_embedding(id2))

    def get_nns_by_embedding(self, embedding: npt.ArrayLike, n: int) -> list[Any]:
        query = np.asarray(embedding)
        if n < 1 or query.shape != self.embeddings.shape[1:] or np.isnan(query).any():
            raise ValueError("cannot search for this")
        order = sorted(range(len(self.embeddings)), key=lambda row: (-cosine(query, self.embeddings[row]), row))
        return [self.id_of[row] for row in order[:n]]

    def get_nns_by_id(self, embedding_id: Any, n: int) -> list[Any]:
        others = self.get_nns_by_embedding(self.get_embedding(embedding_id), n)
        return [embedding_id, *(other for other in others if other != embedding_id)][:n]

    def nearest_rows(self, rows_Q: npt.ArrayLike, n: int) -> Any:
        by_row = BruteForce(self.embeddings, None)
        return EmbeddingsIndex.nearest_rows(by_row, rows_Q, n)


def cosine(first: Embeddings, second: Embeddings) -> float:
    lengths = np.linalg.norm(first.astype(float)) * np.linalg.norm(second.astype(float))
    return float(np.clip(first.astype(float) @ second / lengths, -1, 1)) if lengths else 0.0
