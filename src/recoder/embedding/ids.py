"""The two ways to name an embedding: by its row, or by an id of the user's own."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from recoder.data.id_map import IdMap
from recoder.embedding.base import EmbeddingId, Rows
from recoder.errors import ConfigError, DataTypeError, FileFormatError, UnknownIdError

__all__ = ["EmbeddingIds"]


class EmbeddingIds:
    """The ids of N embeddings, in the order of their rows.

    Args:
        size: N.
        raw_ids: the id of each row; None: the ids are the row numbers.
    """

    def __init__(self, size: int, raw_ids: IdMap | None = None) -> None:
        self._size = size
        self._raw_ids = raw_ids

    @staticmethod
    def from_dict(id_map: Mapping[Any, int], size: int) -> EmbeddingIds:
        """Returns the ids of a dict from raw id to row.

        Raises:
            ConfigError: if it does not give each of the rows 0 to ``size - 1`` exactly one id.
            DataTypeError: if it is no mapping, or its ids are neither all int nor all str.
        """
        if not isinstance(id_map, Mapping):
            raise DataTypeError(f"id_map is a {type(id_map).__name__}; pass a dict from id to row of the embeddings")
        rows = np.asarray(list(id_map.values()))
        if rows.dtype.kind not in "iu" or not np.array_equal(np.sort(rows), np.arange(size)):
            missing = sorted(set(range(size)) - set(rows.tolist()))
            problem = f"none has row {missing[0]}" if missing else "a row stands there twice or is out of range"
            if rows.size and rows.dtype.kind not in "iu":
                problem = f"their rows are {rows.dtype}, no whole numbers"
            raise ConfigError(
                f"id_map has {len(id_map)} ids for {size} embeddings and {problem}; "
                f"give each row from 0 to {size - 1} exactly one id"
            )
        raw_ids = list(id_map)
        return EmbeddingIds(size, IdMap([raw_ids[position] for position in np.argsort(rows)]))

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[Any]], size: int) -> EmbeddingIds:
        """Returns the ids that ``to_arrays`` gave.

        Raises:
            FileFormatError: if the arrays are not such, or there are not ``size`` ids.
        """
        if not arrays:
            return EmbeddingIds(size)
        raw_ids = IdMap.from_arrays(arrays)
        if len(raw_ids) != size:
            raise FileFormatError(f"there are {len(raw_ids)} ids for {size} embeddings")
        return EmbeddingIds(size, raw_ids)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Returns the ids as arrays for a file; none where they are the row numbers."""
        return {} if self._raw_ids is None else self._raw_ids.to_arrays()

    def row(self, raw_id: Any) -> int:
        """Returns the row of an id.

        Raises:
            UnknownIdError: if there is no such id.
        """
        try:
            if self._raw_ids is not None:
                return int(self._raw_ids.indices([raw_id])[0])
            row = operator.index(raw_id)
        except (UnknownIdError, TypeError):
            row = -1
        if not 0 <= row < self._size:
            first, last = self.of_rows(np.array([0, self._size - 1]))
            raise UnknownIdError(
                f"id {raw_id!r} is not among this index's {self._size} ids ({first!r} to {last!r}); "
                "leave it out, or build the index again with its embedding"
            )
        return row

    def of_rows(self, rows: Rows) -> list[EmbeddingId]:
        """Returns the ids of rows."""
        ids: list[EmbeddingId] = rows.tolist() if self._raw_ids is None else self._raw_ids.raw_ids(rows)
        return ids
