"""Approximate search in a graph of neighbours, by Voyager (Malkov & Yashunin 2018, arXiv:1603.09320)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from recoder._checks import whole_number
from recoder.embedding.backend import Backend
from recoder.embedding.base import Floats, Rows
from recoder.embedding.exact import ExactBackend
from recoder.embedding.index import BackendIndex
from recoder.errors import MissingDependencyError

__all__ = ["VoyagerEmbeddingsIndex"]

_SEED = 1


class VoyagerEmbeddingsIndex(BackendIndex):
    """An index based on Voyager: approximate, for large catalogues; wheels exist for the common platforms.

    See ``BackendIndex`` for ``embeddings``, ``id_map``, ``include_distances``, order and distances. Builds
    are repeatable: one thread, one fixed seed. A file holds the vectors and ids; ``load`` builds the graph again.

    Args:
        embeddings: ``[N, D]``.
        id_map: raw id -> row.
        m: links of each item in the graph, at least 2; more find more and take more memory.
        ef_construction: candidates looked at for each item while building, at least 1.
        search_ef: candidates looked at for each query, at least 1; never fewer than the neighbours asked for.
        include_distances: answer with ``(ids, distances)``.

    Raises:
        ConfigError: if ``m``, ``ef_construction`` or ``search_ef`` is too small, or no whole number.
        MissingDependencyError: from ``build`` and ``load``, if ``voyager`` is not installed.
    """

    kind = "voyager"

    def __init__(
        self,
        embeddings: npt.ArrayLike | None = None,
        id_map: Mapping[Any, int] | None = None,
        *,
        m: int = 16,
        ef_construction: int = 200,
        search_ef: int = 100,
        include_distances: bool = False,
    ) -> None:
        self.m = whole_number("m", m, 2)
        self.ef_construction = whole_number("ef_construction", ef_construction, 1)
        self.search_ef = whole_number("search_ef", search_ef, 1)
        super().__init__(embeddings, id_map, include_distances)

    def _new_backend(self) -> _VoyagerBackend:
        return _VoyagerBackend(self.m, self.ef_construction, self.search_ef)


class _VoyagerBackend(Backend):
    # not a StoredBackend: Voyager's reader trusts its file, and a crafted one can end the process or worse

    def __init__(self, m: int, ef_construction: int, search_ef: int) -> None:
        _import_voyager()
        self._m = m
        self._ef_construction = ef_construction
        self._search_ef = search_ef

    def build(self, units_ND: Floats) -> None:
        size, dims = units_ND.shape
        voyager = _import_voyager()
        self._index = voyager.Index(
            voyager.Space.Cosine,
            dims,
            M=self._m,
            ef_construction=self._ef_construction,
            random_seed=_SEED,
            max_elements=size,
        )
        self._index.add_items(units_ND, num_threads=1)  # more threads would insert in an order of their own

    def query(self, units_QD: Floats, n: int) -> Rows:
        try:
            rows_QK, _ = self._index.query(units_QD, n, query_ef=max(n, self._search_ef))
        except _import_voyager().RecallError:
            # many equal vectors leave parts of the graph out of reach; Voyager then answers no query at all
            return self._exact().query(units_QD, n)
        return rows_QK.astype(np.int64)  # type: ignore[no-any-return]

    def _exact(self) -> ExactBackend:
        exact = ExactBackend()
        exact.build(self._index.get_vectors(list(range(self._index.num_elements))))
        return exact


def _import_voyager() -> Any:
    try:
        import voyager
    except ImportError as error:
        raise MissingDependencyError(
            'VoyagerEmbeddingsIndex needs the package voyager: pip install "recsys-recoder[voyager]"'
        ) from error
    return voyager
