"""An index over a backend: ids, cosines, order, distances and files stand here, once for every backend."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from recoder._checks import whole_number
from recoder._replaced import read_again_if_replaced
from recoder.embedding.backend import Backend, StoredBackend
from recoder.embedding.base import EmbeddingId, EmbeddingsIndex, Floats, Neighbors, Rows, row_numbers
from recoder.embedding.files import read_index, write_index
from recoder.embedding.ids import EmbeddingIds
from recoder.embedding.table import EmbeddingTable, checked_vectors, unit_vectors
from recoder.errors import ConfigError, FileFormatError, NotInitializedError, ShapeError, UnknownIdError

__all__ = ["BackendIndex", "Built"]

_SPARE = 16
"""Candidates beyond those that are asked for."""


class Built(NamedTuple):
    """The parts of an index that can answer."""

    table: EmbeddingTable
    ids: EmbeddingIds
    backend: Backend


class BackendIndex(EmbeddingsIndex):
    """An index that takes its candidates from a backend and ranks them by their exact cosine.

    Neighbours stand in order of similarity, the cosine rounded to float32; ties go to the lower row. An
    item's own first neighbour is itself. A zero vector has similarity 0 with everything. There are fewer
    neighbours than asked for where the index holds fewer items, or an approximate search finds fewer.

    The distance of two embeddings is that of the unit vectors along them, ``sqrt(2 - 2 * similarity)``, from
    0 to 2.

    A pickle or a copy takes the vectors, ids and settings along, and builds its search structure again.

    Args:
        embeddings: ``[N, D]``, real and finite; copied. Required by ``build``, not by ``load``.
        id_map: raw id -> row of the embeddings, each row once; ids all int or all str. None: the ids are the
            row numbers. It comes from the file after ``load``.
        include_distances: answer ``get_nns_by_id`` and ``get_nns_by_embedding`` with ``(ids, distances)``.

    Raises:
        ConfigError: if ``id_map`` does not give each row exactly one id.
        DataError, DataTypeError: if the embeddings cannot be used.
    """

    kind: ClassVar[str]
    """The name by which an index file says which class wrote it."""

    def __init__(
        self, embeddings: npt.ArrayLike | None, id_map: Mapping[Any, int] | None, include_distances: bool
    ) -> None:
        self.include_distances = include_distances
        self._given: tuple[EmbeddingTable, EmbeddingIds] | None = None
        self._built: Built | None = None
        if embeddings is not None:
            table = EmbeddingTable(checked_vectors(embeddings, "embeddings"))
            ids = EmbeddingIds(len(table)) if id_map is None else EmbeddingIds.from_dict(id_map, len(table))
            self._given = table, ids

    @abstractmethod
    def _new_backend(self) -> Backend:
        """Returns an empty backend with this index's settings."""

    def build(self, index_file: str | os.PathLike[str] | None = None) -> None:
        """Builds the index and, if ``index_file`` is given, saves it.

        The search structure, where it has a file, stands beside ``index_file`` under a name that starts with
        its name; keep the two in one folder. If saving fails, a previous index there stays whole, and this
        one is built.

        Raises:
            ConfigError: if the index was made without embeddings.
            FileWriteError: if the index cannot be saved.
        """
        if self._given is None:
            raise ConfigError(f"{type(self).__name__} was made without embeddings; pass embeddings= to build it")
        table, ids = self._given
        backend = self._new_backend()
        backend.build(unit_vectors(table.vectors_ND))
        self._built = Built(table, ids, backend)
        if index_file is not None:
            structure = backend if isinstance(backend, StoredBackend) else None
            write_index(Path(index_file), self.kind, table.vectors_ND, ids, structure)

    def load(self, index_file: str | os.PathLike[str]) -> None:
        """Loads an index that ``build`` saved; its embeddings and ids come from the file.

        Raises:
            FileFormatError: if the file, or the one beside it, is no such index, is damaged or of another
                class.
            FileNotFoundError: if there is no such file.
        """
        path = Path(index_file)
        self._built = read_again_if_replaced(path, lambda: self._loaded(path))

    def _loaded(self, path: Path) -> Built:
        file = read_index(path, self.kind)
        table = EmbeddingTable(file.vectors_ND)
        backend = self._new_backend()
        if not isinstance(backend, StoredBackend):
            backend.build(unit_vectors(table.vectors_ND))
        elif file.sibling is None:
            raise FileFormatError(f"{path} names no file of its search structure; build the index again")
        else:
            backend.load(file.sibling, (len(table), table.dims))
        return Built(table, file.ids, backend)

    def __getstate__(self) -> dict[str, Any]:
        built = self._built
        # a search structure cannot be copied; the copy builds its own from the same vectors
        return vars(self) | {"_built": None if built is None else (built.table, built.ids)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _built=None)
        if state["_built"] is not None:
            table, ids = state["_built"]
            backend = self._new_backend()
            backend.build(unit_vectors(table.vectors_ND))
            self._built = Built(table, ids, backend)

    def get_embedding(self, embedding_id: EmbeddingId) -> Floats:
        """Returns the embedding of an item: float32 ``[D]``, a copy.

        Raises:
            UnknownIdError: if the index does not hold the id. So do the other methods.
            NotInitializedError: if the index is neither built nor loaded. So do the other methods.
        """
        built = self._ready()
        return np.array(built.table.vectors_ND[built.ids.row(embedding_id)])

    def get_nns_by_id(self, embedding_id: EmbeddingId, n: int) -> Neighbors:
        """Returns the ``n`` items most similar to an item, the item itself the first.

        Raises:
            ConfigError: if ``n`` is no whole number of at least 1.
        """
        row = self._ready().ids.row(embedding_id)
        rows_QK, cosines_QK = self.nearest_rows([row], n)
        return self._answer(rows_QK[0], cosines_QK[0])

    def get_nns_by_embedding(self, embedding: npt.ArrayLike, n: int) -> Neighbors:
        """Returns the ``n`` items most similar to a vector ``[D]``.

        Raises:
            ConfigError: if ``n`` is no whole number of at least 1.
            ShapeError: if the vector has other than D dimensions.
            DataError: if it holds NaN or infinite values.
        """
        vector_D = np.asarray(embedding)
        if vector_D.ndim != 1:
            raise ShapeError(f"the query has shape {vector_D.shape}; pass one vector, or many to nearest_rows_to")
        rows_QK, cosines_QK = self.nearest_rows_to(vector_D[None], n)
        return self._answer(rows_QK[0], cosines_QK[0])

    def get_similarity(self, id1: EmbeddingId, id2: EmbeddingId) -> float:
        """Returns the cosine of the embeddings of two items, from -1 to 1."""
        table, ids, _ = self._ready()
        first = table.vectors_ND[[ids.row(id1)]]
        return float(table.cosines(first, np.array([[ids.row(id2)]]))[0, 0])

    def nearest_rows(self, rows_Q: npt.ArrayLike, n: int) -> tuple[Rows, Floats]:
        """Returns the neighbours of many items in one call, all by row number of the embeddings.

        Args:
            rows_Q: integers ``[Q]``.
            n: neighbours of each, at least 1, the item itself counted.

        Returns:
            ``(rows_QK, similarities_QK)``: int64 and float32 ``[Q, K]``, K = min(n, N), each row the most
            similar first; where an approximate search finds fewer it ends in row -1 with similarity 0.
        """
        table = self._ready().table
        rows = row_numbers(rows_Q)
        if rows.size and not (rows.min() >= 0 and rows.max() < len(table)):
            bad = int(rows.min() if rows.min() < 0 else rows.max())
            raise UnknownIdError(
                f"item {bad} is outside this index's {len(table)} embeddings; "
                "build the index from an embedding of each item of the catalogue"
            )
        return self._search(table.vectors_ND[rows], n, rows)

    def nearest_rows_to(self, vectors_QD: npt.ArrayLike, n: int) -> tuple[Rows, Floats]:
        """Returns the same for vectors ``[Q, D]``."""
        table = self._ready().table
        queries_QD = checked_vectors(vectors_QD, "the query")
        if queries_QD.shape[1] != table.dims:
            raise ShapeError(
                f"the query has {queries_QD.shape[1]} dimensions but this index's embeddings have "
                f"{table.dims}; query with vectors of the same model"
            )
        return self._search(queries_QD, n)

    def _search(self, queries_QD: Floats, n: int, own_rows_Q: Rows | None = None) -> tuple[Rows, Floats]:
        n = whole_number("n", n, 1)
        table, _, backend = self._ready()
        width = min(n, len(table))
        if width == len(table):
            candidates_QC = np.tile(np.arange(width), (len(queries_QD), 1))
        elif len(queries_QD) == 0:
            candidates_QC = np.empty((0, width), dtype=np.int64)
        else:
            # some more than asked for: of equals and near equals the backend may have cut another than the cosines do
            candidates_QC = np.sort(backend.query(unit_vectors(queries_QD), min(width + _SPARE, len(table))), axis=1)
        if own_rows_Q is not None:
            others_QC = np.where(candidates_QC == own_rows_Q[:, None], -1, candidates_QC)
            candidates_QC = np.concatenate([own_rows_Q[:, None], others_QC], axis=1)

        cosines_QC = table.cosines(queries_QD, candidates_QC)
        cosines_QC[candidates_QC < 0] = -np.inf
        # stable: the candidates ascend, after the item itself, so equal cosines stay in that order
        best_QK = np.argsort(-cosines_QC, axis=1, kind="stable")[:, :width]
        rows_QK = np.take_along_axis(candidates_QC, best_QK, axis=1)
        cosines_QK = np.take_along_axis(cosines_QC, best_QK, axis=1)
        return rows_QK, np.where(rows_QK < 0, np.float32(0), cosines_QK)

    def _answer(self, rows_K: Rows, cosines_K: Floats) -> Neighbors:
        found_K = rows_K >= 0
        ids = self._ready().ids.of_rows(rows_K[found_K])
        if not self.include_distances:
            return ids
        return ids, np.sqrt(2.0 - 2.0 * cosines_K[found_K].astype(np.float64)).tolist()

    def _ready(self) -> Built:
        if self._built is None:
            name = type(self).__name__
            raise NotInitializedError(f"this {name} holds nothing yet; call build() or load(index_file) first")
        return self._built
