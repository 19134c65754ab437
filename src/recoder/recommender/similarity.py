"""Recommendations from the neighbours of what a user interacted with.

Sizes: B users, U different items in their histories, W items (the catalogue), K recommendations.
"""

from __future__ import annotations

import logging
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

from recoder._checks import whole_number
from recoder.data.datasets import UsersInteractions
from recoder.embedding.base import EmbeddingsIndex
from recoder.errors import ConfigError
from recoder.ops.rows import SparseRows
from recoder.ops.topk import top_k
from recoder.recommender.base import Histories, Recommender, as_lists, merge_histories

__all__ = ["SimilarityRecommender"]

_log = logging.getLogger("recoder.recommender")

_BLOCK_SCORES = 1 << 23  # 64 MiB of float64


class SimilarityRecommender(Recommender):
    """Recommends the items most similar to those in a user's history.

    Each item of the history brings its ``n`` nearest neighbours; the score of a neighbour is the sum, over
    the items that brought it, of ``max(cosine, 0) ** scale`` (Aiolli 2013, doi:10.1145/2507157.2507189, its
    q). The values of the interactions do not weigh in. Items of the history and items with score 0 are left
    out; ties go to the lower item id.

    Args:
        embeddings_index: the index; row ``i`` of its embeddings is the item of column ``i`` of the histories,
            whatever id map it has. An ``EmbeddingsIndex`` of your own needs only the documented methods, with
            row numbers as ids.
        num_recommendations: items for each user, at least 1; fewer come back where fewer were found.
        n: neighbours of each item in the history, at least 1. An item is the first of its own neighbours, so
            there is nothing to recommend below 2; a warning says so.
        scale: the exponent, above 0; the larger, the more the most similar items decide.

    Raises:
        ConfigError: if an argument is below its least value, or no such number.
    """

    num_recommendations: int
    preferred_batch_size = 16_384  # for each batch the neighbours of its items are searched anew

    def __init__(
        self, embeddings_index: EmbeddingsIndex, num_recommendations: int, n: int = 1, scale: float = 1
    ) -> None:
        self.embeddings_index = embeddings_index
        self.num_recommendations = whole_number("num_recommendations", num_recommendations, 1)
        self.n = whole_number("n", n, 1)
        self.scale = _exponent(scale)
        if self.n == 1:
            _log.warning("n is 1: an item is its own first neighbour, so nothing is recommended; pass n > 1")

    def recommend(self, users_hist: Histories) -> list[list[int]]:
        """Returns the recommended items of each user, best first, as catalogue indices.

        Raises:
            UnknownIdError: if a history holds an item that the index does not.
        """
        return as_lists(self.ranked(merge_histories(users_hist)))

    def ranked(self, users_hist: UsersInteractions) -> npt.NDArray[np.int64]:
        """Returns the same as an int64 array ``[B, K]``; shorter lists end in -1."""
        matrix = users_hist.interactions_matrix
        items_U, cols_Z = np.unique(matrix.indices, return_inverse=True)
        weights_UW = self._neighbor_weights(items_U, matrix.shape[1])
        history_BU = sparse.csr_matrix(
            (np.ones(matrix.nnz), cols_Z, matrix.indptr), shape=(matrix.shape[0], len(items_U))
        )
        users_per_block = max(1, _BLOCK_SCORES // weights_UW.shape[1])
        starts = range(0, max(1, matrix.shape[0]), users_per_block)
        blocks = [slice(start, start + users_per_block) for start in starts]
        return np.concatenate([self._best(history_BU[block] @ weights_UW, matrix[block]) for block in blocks])

    def _neighbor_weights(self, items_U: npt.NDArray[np.integer], num_items: int) -> sparse.csr_matrix:
        """Returns the weights of the neighbours of each item: float64 CSR ``[U, W]``."""
        rows_UN, similarities_UN = self.embeddings_index.nearest_rows(items_U, self.n)
        counts_UN = (rows_UN >= 0) & (similarities_UN > 0)
        offsets = np.concatenate([[0], np.cumsum(counts_UN.sum(axis=1))])
        rows = rows_UN[counts_UN]
        weights = similarities_UN[counts_UN].astype(np.float64) ** self.scale
        # an index may hold items that came after the matrix was made: nobody has them in their history
        num_items = max(num_items, int(rows.max(initial=-1)) + 1)
        return sparse.csr_matrix((weights, rows, offsets), shape=(len(items_U), num_items))

    def _best(self, scores_BW: sparse.csr_matrix, seen: sparse.csr_matrix) -> npt.NDArray[np.int64]:
        found = scores_BW.tocoo()  # scipy's product stores no zeros: a high power that vanished is gone
        dense_BW = torch.full(found.shape, float("-inf"), dtype=torch.float64)
        dense_BW[found.row, found.col] = torch.from_numpy(found.data)
        seen_rows = SparseRows(
            offsets=torch.from_numpy(seen.indptr.astype(np.int64)),
            cols=torch.from_numpy(seen.indices.astype(np.int64)),
            values=torch.from_numpy(seen.data),
            num_cols=found.shape[1],
        )
        ids_BK, _ = top_k(dense_BW, self.num_recommendations, seen_rows)
        return ids_BK.numpy()


def _exponent(scale: Any) -> float:
    exponent = 0.0 if isinstance(scale, bool) or not isinstance(scale, Real) else float(scale)
    if not 0 < exponent < float("inf"):
        raise ConfigError(f"scale is {scale!r}; it must be a finite number above 0")
    return exponent
