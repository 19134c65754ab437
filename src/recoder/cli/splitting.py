"""A split as a configuration says, and its parts as tables in the user's own ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import sparse

from recoder.cli.config import DataConfig, SplitConfig
from recoder.data import (
    HeldOut,
    HoldoutSplit,
    IdMap,
    Interactions,
    StrongSplit,
    global_time,
    leave_last_out,
    random_holdout,
    strong_generalization,
)
from recoder.errors import ConfigError

__all__ = ["OPTIONS_OF", "check_options", "make_split", "parts_of"]

OPTIONS_OF: Mapping[str, tuple[str, ...]] = {
    "strong": ("seed", "valid", "test", "fold_in", "min_interactions"),
    "random": ("seed", "fraction"),
    "last": ("last",),
    "time": ("fraction", "moment"),
}
"""The settings that each kind of split uses."""


def check_options(kind: str, given: Mapping[str, Any]) -> None:
    """Checks that the options that were given are used by this kind of split.

    Raises:
        ConfigError: if not, or if nothing is to be split.
    """
    if kind not in OPTIONS_OF:
        raise ConfigError(f"say how to split: --kind {', '.join(OPTIONS_OF)}")
    for name, value in given.items():
        if value is not None and name not in OPTIONS_OF[kind]:
            fitting = [other for other, names in OPTIONS_OF.items() if name in names]
            raise ConfigError(
                f"--{name.replace('_', '-')} is for --kind {' or '.join(fitting)}; the split {kind!r} does not use it"
            )


def make_split(interactions: Interactions, split: SplitConfig) -> StrongSplit | HoldoutSplit:
    """Returns the split.

    Raises:
        ConfigError, DataError, EmptyDataError: as the functions of ``recoder.data`` that it is made by.
    """
    if split.kind == "strong":
        return strong_generalization(
            interactions,
            num_valid_users=_share(split.valid),
            num_test_users=_share(split.test),
            fold_in=split.fold_in,
            seed=split.seed,
            min_interactions=split.min_interactions,
        )
    if split.kind == "random":
        return random_holdout(interactions, fraction=split.fraction, seed=split.seed)
    if split.kind == "last":
        return leave_last_out(interactions, k=split.last)
    if split.moment is not None:
        return global_time(interactions, time=split.moment)
    return global_time(interactions, fraction=split.fraction)


def parts_of(
    split: StrongSplit | HoldoutSplit, interactions: Interactions, data: DataConfig
) -> Iterator[tuple[str, pa.Table]]:
    """Yields the name and the rows of each part: user, item, and as far as they are known weight, time and title.

    Args:
        split: of the interactions.
        interactions: all of them.
        data: the names of their columns.
    """
    columns = _Columns(interactions, data, split.train.item_ids)
    users = split.train.user_ids
    yield "train", columns.of(split.train.matrix, users)
    if isinstance(split, HoldoutSplit):
        yield "test", columns.of(_target(split.test), users)
        return
    for name, held in (("valid", split.valid), ("test", split.test)):
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
            table[data.time or "timestamp"] = pa.array(self._all.times[self._places(matrix, rows_Z, user_ids)])
        if self._all.titles is not None:
            titles = pa.array([self._all.titles[col] for col in self._cols])
            numbers = pa.array(matrix.indices.astype(np.int32))
            table[data.title or "title"] = pa.DictionaryArray.from_arrays(numbers, titles)
        return pa.table(table)

    def _places(self, matrix: sparse.csr_matrix, rows_Z: Any, user_ids: IdMap) -> Any:
        """Returns where the entries stand among those of all interactions: int64 ``[Z]``."""
        whole = self._all.matrix
        numbers = np.arange(whole.nnz, dtype=np.int64)
        rows_U = self._all.user_ids.indices(user_ids.ids)
        # both have one entry for a pair, and their rows and columns ascend: a search in one list of keys finds it
        keys = np.repeat(np.arange(whole.shape[0]), np.diff(whole.indptr)) * whole.shape[1] + whole.indices
        return numbers[np.searchsorted(keys, rows_U[rows_Z] * whole.shape[1] + self._cols[matrix.indices])]


def _share(value: float) -> float:
    """Returns a share, or a whole number of users, which a file may have as 100.0."""
    return int(value) if value >= 1 and value == int(value) else value
