"""Approximate search in a forest of random splits, by Annoy (https://github.com/spotify/annoy)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recoder._checks import whole_number
from recoder.embedding.annoy_files import is_legacy_state, read_annoy_vectors, read_legacy_state
from recoder.embedding.backend import StoredBackend
from recoder.embedding.base import Floats, Rows
from recoder.embedding.index import BackendIndex, Built
from recoder.embedding.table import EmbeddingTable
from recoder.errors import ConfigError, MissingDependencyError

__all__ = ["AnnoyEmbeddingsIndex"]

_SEED = 1


class AnnoyEmbeddingsIndex(BackendIndex):
    """An index based on Annoy: approximate; its forest is read from disk as it is needed.

    See ``BackendIndex`` for ``embeddings``, ``id_map``, ``include_distances``, order and distances. Builds
    are repeatable: one thread, one fixed seed. ``load`` also reads the index files of recoder 0.4.0, without
    running anything that they name.

    Args:
        embeddings: ``[N, D]``.
        id_map: raw id -> row.
        n_trees: trees of the forest, at least 1; more find more and take more disk. -1: as Annoy sees fit.
        search_k: nodes looked at for each query, at least 1; more find more, slower. -1: ``n_trees`` times
            the neighbours asked for.
        include_distances: answer with ``(ids, distances)``.

    Raises:
        ConfigError: if ``n_trees`` or ``search_k`` is neither -1 nor a whole number of at least 1.
        MissingDependencyError: from ``build`` and ``load``, if ``annoy`` is not installed.
    """

    kind = "annoy"

    def __init__(
        self,
        embeddings: npt.ArrayLike | None = None,
        id_map: Mapping[Any, int] | None = None,
        n_trees: int = 10,
        search_k: int = -1,
        include_distances: bool = False,
    ) -> None:
        self.n_trees = _count("n_trees", n_trees)
        self.search_k = _count("search_k", search_k)
        super().__init__(embeddings, id_map, include_distances)

    def load(self, index_file: str | os.PathLike[str]) -> None:
        """Loads an index that ``build`` or recoder 0.4.0 saved; its embeddings and ids come from the file.

        Raises:
            FileFormatError: if the file, or the one beside it, is no such index, is damaged or of another
                class.
            UnsafeFileError: if it is a pickle that asks for code to be run; nothing of it is run.
            FileNotFoundError: if there is no such file.
        """
        path = Path(index_file)
        if not is_legacy_state(path):
            super().load(path)
            return
        backend = self._new_backend()
        dims, ids, size, sibling = read_legacy_state(path)
        backend.load(sibling, (size, dims))
        self._built = Built(EmbeddingTable(backend.vectors_ND), ids, backend)

    def _new_backend(self) -> _AnnoyBackend:
        return _AnnoyBackend(self.n_trees, self.search_k)


class _AnnoyBackend(StoredBackend):
    suffix = ".annoy"

    vectors_ND: Floats
    """After ``load``: the vectors that the file holds, read as they are needed."""

    def __init__(self, n_trees: int, search_k: int) -> None:
        _import_annoy()
        self._n_trees = n_trees
        self._search_k = search_k

    def build(self, units_ND: Floats) -> None:
        self._index = _import_annoy().AnnoyIndex(units_ND.shape[1], "angular")
        self._index.set_seed(_SEED)
        for row, unit in enumerate(units_ND):
            self._index.add_item(row, unit)
        self._index.build(self._n_trees, n_jobs=1)  # more threads would grow the trees in an order of their own

    def query(self, units_QD: Floats, n: int) -> Rows:
        rows_QK = np.full((len(units_QD), n), -1, dtype=np.int64)
        for rows_K, unit in zip(rows_QK, units_QD, strict=True):
            found = self._index.get_nns_by_vector(unit, n, self._search_k)
            rows_K[: len(found)] = found
        return rows_QK

    def save(self, path: Path) -> None:
        self._index.save(str(path))

    def load(self, path: Path, size: tuple[int, int]) -> None:
        # Annoy trusts what it maps: a damaged file would be followed out of bounds
        self.vectors_ND = read_annoy_vectors(path, *size)
        self._index = _import_annoy().AnnoyIndex(size[1], "angular")
        self._index.load(str(path))


def _count(name: str, value: Any) -> int:
    try:
        return whole_number(name, value, 1)
    except ConfigError as error:
        if isinstance(value, int | np.integer) and value == -1:
            return -1
        raise ConfigError(f"{error}, or -1 for Annoy's own choice") from None


def _import_annoy() -> Any:
    try:
        import annoy
    except ImportError as error:
        raise MissingDependencyError(
            'AnnoyEmbeddingsIndex needs the package annoy: pip install "recsys-recoder[annoy]"'
        ) from error
    return annoy
