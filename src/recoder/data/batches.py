"""Mini-batches: sparse rows of some users against the candidate items of their super-batch.

Sizes: B users in a batch, I candidate items, N items of the catalogue, Z stored interactions.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recoder._checks import whole_number
from recoder.data.datasets import UsersInteractions
from recoder.errors import ConfigError, DataTypeError, ShapeError, UnknownIdError
from recoder.ops.kernels import library
from recoder.ops.kernels.rows import number_ids
from recoder.ops.rows import SparseRows, need_not_wait_for

__all__ = ["Batch", "BatchCollator"]

_FEW_PER_ID = 32
"""Marking ids among all that there could be is quicker than sorting them, if there are only so many for each."""


class Batch:
    """A sparse batch of users' interactions.

    Args:
        users: int64 ``[B]``, the users of the batch.
        items: int64 ``[I]``, ascending: the candidate items, where column ``c`` stands for item ``items[c]``; None
            without negative sampling, where column ``c`` is item ``c``.
        indices: int64 ``[2, Z]``: row and column of each interaction *in the batch*.
        values: float32 ``[Z]``.
        size: ``(B, I)``, or ``(B, N)`` without negative sampling.

    Attributes:
        users, items, indices, values, size: as given.
        first_user: place of the first of these users in the whole batch, where processes share it.
        num_users_of_all: users of the whole batch.
        weight: 1; 0 where a user stands in for none, so that a process with none goes through the same steps.
    """

    def __init__(self, users: Tensor, items: Tensor | None, indices: Tensor, values: Tensor, size: torch.Size) -> None:
        self.users = users
        self.items = None if items is None else items.to(torch.int64).contiguous()
        self.__dict__["indices"] = indices.to(torch.int64)
        self.values = values
        self.size = size
        self.first_user, self.num_users_of_all, self.weight = 0, size[0], 1

    @cached_property
    def indices(self) -> Tensor:
        """Row and column of each interaction; derived where the batch was made from ``rows``."""
        return torch.stack([self.rows.row_ids, self.rows.cols])

    @cached_property
    def rows(self) -> SparseRows:
        """The interactions in compressed form; derived once and kept.

        Raises:
            ShapeError: if an interaction lies outside ``size``.
        """
        for name, ids, limit in zip(("row", "column"), self.indices, self.size, strict=True):
            if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < limit:
                raise ShapeError(
                    f"a batch of size {tuple(self.size)} has an interaction in {name} "
                    f"{int(ids.min()) if ids.min() < 0 else int(ids.max())}; {name}s are counted from 0 in the batch"
                )
        return SparseRows.from_coordinates(self.indices, self.values.to(torch.float32), (self.size[0], self.size[1]))

    def to(self, device: torch.device) -> Batch:
        """Returns the batch on ``device``."""
        if self.users.device == device:
            return self
        rows = self.rows.to(device)
        items = None if self.items is None else self.items.to(device, non_blocking=need_not_wait_for(device))
        users = self.users.to(device, non_blocking=need_not_wait_for(device))
        moved = _batch_of_rows(users, items, rows)
        moved.first_user, moved.num_users_of_all, moved.weight = self.first_user, self.num_users_of_all, self.weight
        return moved

    def share(self, number: int, of: int) -> Batch:
        """Returns the ``number``-th, from 0, of ``of`` nearly equal parts of the users."""
        start, stop = (len(self) * bound // of for bound in (number, number + 1))
        is_empty = start == stop
        if is_empty:
            start, stop = 0, 1
        part = _batch_of_rows(self.users[start:stop], self.items, self.rows.cut(start, stop))
        part.first_user, part.num_users_of_all, part.weight = start, len(self), int(not is_empty)
        return part

    def __len__(self) -> int:
        return self.size[0]

    def __repr__(self) -> str:
        return f"Batch({self.size[0]} users, {self.size[1]} items, {self.values.shape[0]} interactions)"


class BatchCollator:
    """Turns the interactions of a super-batch of users into batches of ``batch_size`` users.

    Args:
        batch_size: users per batch; the last batch may have fewer.
        negative_sampling: keep only the items that some user of the super-batch interacted with: mini-batch based
            negative sampling (Moussawi 2018, arXiv:1809.00999). Every batch of it has all of them as candidates.

    Raises:
        ConfigError: if ``batch_size`` is no whole number, or below 1.
    """

    def __init__(self, batch_size: int, negative_sampling: bool = False) -> None:
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.negative_sampling = negative_sampling

    def collate(
        self,
        users_interactions: UsersInteractions,
        *,
        more_items: npt.NDArray[np.int64] | None = None,
        num_batches: int | None = None,
    ) -> list[Batch]:
        """Returns the batches, in the order of the users.

        Args:
            users_interactions: of the super-batch.
            more_items: int64, repeats allowed: candidates beside the users' items; only with negative sampling.
            num_batches: cut into so many of nearly equal sizes, instead of full ones and a rest.

        Raises:
            ConfigError: if there are ``more_items`` without negative sampling.
            DataTypeError, UnknownIdError: if they are no whole numbers, or outside the catalogue.
        """
        if more_items is not None:
            self._check_more(more_items, users_interactions.interactions_matrix.shape[1])
        users, items, rows = _tensors(users_interactions, self.negative_sampling, more_items)
        num_users = rows.num_rows
        starts = [*range(0, num_users, self.batch_size), num_users]
        if num_batches is not None:
            starts = [number * num_users // num_batches for number in range(num_batches + 1)]
        cuts = pairwise(starts)
        return [_batch_of_rows(users[start:stop], items, rows.cut(start, stop)) for start, stop in cuts]

    def _check_more(self, more_items: npt.NDArray[np.int64], num_items: int) -> None:
        if not self.negative_sampling:
            raise ConfigError("more_items are candidates, and without negative_sampling all items are; leave them out")
        if not isinstance(more_items, np.ndarray) or more_items.dtype != np.int64 or more_items.ndim != 1:
            raise DataTypeError("more_items is a one-dimensional numpy array of int64")
        if more_items.size and not 0 <= more_items.min() <= more_items.max() < num_items:
            raise UnknownIdError(
                f"more_items go from {more_items.min()} to {more_items.max()}; the items are 0 to {num_items - 1}"
            )


def full_batch(users_interactions: UsersInteractions) -> Batch:
    """Returns all the users, even if there are none, as one batch over the whole catalogue."""
    return _batch_of_rows(*_tensors(users_interactions, negative_sampling=False))


def _tensors(
    users_interactions: UsersInteractions,
    negative_sampling: bool,
    more_items: npt.NDArray[np.int64] | None = None,
) -> tuple[Tensor, Tensor | None, SparseRows]:
    """Returns the users, the candidate items and the rows; copies, as the matrix is not ours to change."""
    matrix = users_interactions.interactions_matrix
    num_cols = matrix.shape[1]
    cols = matrix.indices.astype(np.int64)  # a copy; and numpy looks up by no other type without one
    items = None
    if negative_sampling:
        num_stored = len(cols)
        candidates, cols = _unique(cols if more_items is None else np.concatenate([cols, more_items]), num_cols)
        num_cols, cols = len(candidates), cols[:num_stored]
        items = torch.from_numpy(candidates)
    rows = SparseRows(
        offsets=torch.from_numpy(matrix.indptr.astype(np.int64)),
        cols=torch.from_numpy(cols),
        values=torch.tensor(matrix.data),
        num_cols=num_cols,
    )
    return torch.tensor(users_interactions.users), items, rows


def _unique(ids: npt.NDArray[np.int64], limit: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the different ids, ascending, and where each id stands among them; all lie in [0, ``limit``).

    The ids may be overwritten.
    """
    if limit >= _FEW_PER_ID * len(ids):
        unique, places = np.unique(ids, return_inverse=True)
        return unique, places
    if library() is not None:
        return number_ids(ids, limit), ids
    is_there = np.zeros(limit, dtype=np.bool_)
    is_there[ids] = True
    place = np.empty(limit, dtype=np.int64)  # never read where nothing was written
    unique = np.flatnonzero(is_there)
    place[unique] = np.arange(len(unique))
    return unique, place[ids]


def _batch_of_rows(users: Tensor, items: Tensor | None, rows: SparseRows) -> Batch:
    batch = Batch.__new__(Batch)
    batch.users = users
    batch.items = items
    batch.values = rows.values
    batch.size = torch.Size([rows.num_rows, rows.num_cols])
    batch.first_user, batch.num_users_of_all, batch.weight = 0, rows.num_rows, 1
    batch.__dict__["rows"] = rows  # what the cached property would derive
    return batch
