"""The parts of a split as tables in the user's own ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import sparse

from recoder.cli.config import DataConfig, SplitConfig
from recoder.cli.splitting import Parts
from recoder.data import HeldOut, IdMap, Interactions

__all__ = ["part_names", "tables_of"]


def part_names(split: SplitConfig) -> list[str]:
    """Returns the names of the parts that ``tables_of`` yields for a split."""
    if split.kind != "strong":
        return ["train", "test"]
    shares = {"valid": split.valid, "test": split.test}
    return ["train", *(f"{group}_{half}" for group in shares if shares[group] for half in ("history", "target"))]


def tables_of(parts: Parts, interactions: Interactions, data: DataConfig) -> Iterator[tuple[str, pa.Table]]:
    """Yields the name and the rows of each part: user, item, and as far as they are known weight, time and title.

    Args:
        parts: of the interactions.
        interactions: all of them.
        data: the names of their columns.
    """
    columns = _Columns(interactions, data, parts.train.item_ids)
    yield "train", columns.of(parts.train.matrix, parts.train.user_ids)
    for name, held in (("valid", parts.valid), ("test", parts.test)):
        if held is None:
            continue
        if held.user_ids == parts.train.user_ids:  # whose histories were written already
            yield name, columns.of(_target(held), held.user_ids)
        else:
            yield f"{name}_history", columns.of(held.dataset.interactions_matrix, held.user_ids)
            yield f"{name}_target", columns.of(_target(held), held.user_ids)


def _target(held: HeldOut) -> sparse.csr_matrix:
    target = held.dataset.target_interactions_matrix
    assert target is not None  # a split gives one
    return target


class _Columns:
    """Makes tables of parts of interactions.

    Args:
        interactions: all of them.
        data: the names of their columns.
        item_ids: of the parts.
    """

    def __init__(self, interactions: Interactions, data: DataConfig, item_ids: IdMap) -> None:
        self._all, self._data, self._item_ids = interactions, data, item_ids
        self._cols = interactions.item_ids.indices(item_ids.ids)

    def of(self, matrix: sparse.csr_matrix, user_ids: IdMap) -> pa.Table:
        """Returns the table of a part: ``[U, N]``, over users of these ids and all the parts' items."""
        data, rows_Z = self._data, np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        table = {
            data.user or "user_id": user_ids.ids.take(pa.array(rows_Z)),
            data.item or "item_id": self._item_ids.ids.take(pa.array(matrix.indices)),
        }
        if data.weight or data.user is None:
            table[data.weight or "weight"] = pa.array(matrix.data)
        if self._all.times is not None:
            table[data.time or "time"] = pa.array(self._all.times[self._places(matrix, rows_Z, user_ids)])
        if self._all.titles is not None:
            titles = pa.array([self._all.titles[col] for col in self._cols])
            numbers = pa.array(matrix.indices.astype(np.int32))
            table[data.title or "title"] = pa.DictionaryArray.from_arrays(numbers, titles)
        return pa.table(table)

    def _places(self, matrix: sparse.csr_matrix, rows_Z: Any, user_ids: IdMap) -> Any:
        """Returns where the entries stand among those of all interactions: int64 ``[Z]``."""
        whole = self._all.matrix
        rows_U = self._all.user_ids.indices(user_ids.ids)
        # both have one entry for a pair, and their rows and columns ascend: a search in one list of keys finds it
        keys = np.repeat(np.arange(whole.shape[0]), np.diff(whole.indptr)) * whole.shape[1] + whole.indices
        return np.searchsorted(keys, rows_U[rows_Z] * whole.shape[1] + self._cols[matrix.indices])
