"""Exact search: a matrix product and the masked top-k."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recoder.embedding.backend import Backend
from recoder.embedding.base import Floats, Rows
from recoder.embedding.index import BackendIndex
from recoder.ops.search import FactorSearch

__all__ = ["ExactBackend", "ExactEmbeddingsIndex"]


class ExactBackend(Backend):
    """Scores every row for every query: O(N D) each, and nothing to build."""

    def build(self, units_ND: Floats) -> None:
        """Keeps the unit vectors."""
        self._units_ND = torch.from_numpy(units_ND)

    def query(self, units_QD: Floats, n: int) -> Rows:
        """Returns the rows of the ``n`` nearest: int64 ``[Q, n]``."""
        search = FactorSearch(self._units_ND, None, n)
        blocks = torch.split(torch.from_numpy(units_QD), search.users_per_block)
        return np.concatenate([search.top_k(block_QD)[0].numpy() for block_QD in blocks])


class ExactEmbeddingsIndex(BackendIndex):
    """An index that looks at every item: exact, and fast enough for tens of thousands of items.

    See ``BackendIndex`` for ``embeddings``, ``id_map``, ``include_distances``, order and distances.
    """

    kind = "exact"

    def __init__(
        self,
        embeddings: npt.ArrayLike | None = None,
        id_map: Mapping[Any, int] | None = None,
        include_distances: bool = False,
    ) -> None:
        super().__init__(embeddings, id_map, include_distances)

    def _new_backend(self) -> ExactBackend:
        return ExactBackend()
