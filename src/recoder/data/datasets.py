"""Interactions of users, and the data set that hands them out."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from torch.utils.data import Dataset

from recoder.data.mapped import csr_of
from recoder.data.matrices import canonical_csr, columns_of
from recoder.errors import DataError, DataTypeError, ShapeError

__all__ = ["RecommendationDataset", "UsersInteractions"]

Rows = int | Sequence[int] | slice | npt.NDArray[np.integer[Any]]


class UsersInteractions:
    """The interactions of some users: who they are, and a sparse row for each.

    Args:
        users: the users' ids, integers ``[B]``: row numbers of the training matrix, where they have one.
        interactions_matrix: scipy sparse ``[B, N]``; row ``i`` belongs to ``users[i]``. It is checked and, where it
            is not float32 CSR with sorted columns, converted; the matrix that was passed is not changed.

    Attributes:
        users: int64 ``[B]``.
        interactions_matrix: the matrix as float32 CSR, without repeats or stored zeros.
        are_training_users: whether ``users`` are users of the training; False for those of a data set that was held out
            of it.

    Raises:
        ShapeError: if there are not as many users as rows.
        DataError: if a user id is negative, or the matrix holds values that are not finite or are negative.
        DataTypeError: if the users are not integers or the matrix is not sparse.
    """

    users: npt.NDArray[np.int64]
    interactions_matrix: sparse.csr_matrix
    are_training_users: bool = True

    def __init__(self, users: npt.ArrayLike, interactions_matrix: Any) -> None:
        matrix = canonical_csr(interactions_matrix)
        array = np.asarray(users)
        if array.dtype.kind not in "iu":
            raise DataTypeError(f"users must be integers, not {array.dtype}; map your own ids to row numbers first")
        if array.shape != (matrix.shape[0],):
            raise ShapeError(
                f"users has shape {array.shape} but interactions_matrix has {matrix.shape[0]} rows; "
                "pass one user for each row"
            )
        if (array < 0).any():
            raise DataError(f"users holds the negative id {array.min()}; ids are row numbers from 0")
        self.users = array.astype(np.int64)
        self.interactions_matrix = matrix

    @classmethod
    def _of_checked(
        cls, users: npt.NDArray[np.int64], matrix: sparse.csr_matrix, *, are_training_users: bool = True
    ) -> UsersInteractions:
        """Returns an object around parts that are known to be in order: rows of a checked matrix."""
        made = cls.__new__(cls)
        made.users = users
        made.interactions_matrix = matrix
        made.are_training_users = are_training_users
        return made

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, row: int) -> UsersInteractions:
        """Returns the interactions of one user, so that a loop goes through the users."""
        index = operator.index(row)
        if not -len(self) <= index < len(self):
            # IndexError, not one of ours: it is what ends iteration over a sequence
            raise IndexError(f"row {row} is outside these {len(self)} users")
        rows = [index % len(self)]
        matrix, known = self.interactions_matrix[rows], self.are_training_users
        return UsersInteractions._of_checked(self.users[rows], matrix, are_training_users=known)

    def __repr__(self) -> str:
        users, items = self.interactions_matrix.shape
        return f"UsersInteractions({users} users, {items} items, {self.interactions_matrix.nnz} interactions)"


class RecommendationDataset(Dataset[tuple[UsersInteractions, UsersInteractions | None]]):
    """A data set of users: indexing it gives the interactions of the users at these rows.

    Args:
        interactions_matrix: scipy sparse, users by items: what the model sees.
        target_interactions_matrix: the same shape: what it should recommend, for evaluation or for training against
            other interactions than the input. None: there is no target.

    Attributes:
        interactions_matrix: float32 CSR ``[U, N]``.
        target_interactions_matrix: float32 CSR ``[U, N]``, or None.
        items: int64, ascending: the item of each column, of a part that ``of_items`` made; None: column ``c`` is item
            ``c``.
        num_catalogue_items: of the whole.
        are_training_users: whether row ``u`` is user ``u`` of the training; False where they were held out of it.

    ``dataset[i]``, for an int, a slice or a sequence of ints, is ``(input, target)``: each a ``UsersInteractions``,
    the target None where the data set has none.

    Raises:
        ShapeError: if a matrix is empty or the two differ in shape.
        DataError, DataTypeError: if a matrix cannot be used; see ``UsersInteractions``.
    """

    interactions_matrix: sparse.csr_matrix
    target_interactions_matrix: sparse.csr_matrix | None
    items: npt.NDArray[np.int64] | None
    num_catalogue_items: int
    are_training_users: bool = True

    def __init__(self, interactions_matrix: Any, target_interactions_matrix: Any = None) -> None:
        self.interactions_matrix = canonical_csr(interactions_matrix)
        self.items, self.num_catalogue_items = None, int(self.interactions_matrix.shape[1])
        self.target_interactions_matrix = None
        if target_interactions_matrix is not None:
            target = canonical_csr(target_interactions_matrix, "target_interactions_matrix")
            if target.shape != self.interactions_matrix.shape:
                raise ShapeError(
                    f"target_interactions_matrix has shape {target.shape} but interactions_matrix has "
                    f"{self.interactions_matrix.shape}; both describe the same users and items"
                )
            self.target_interactions_matrix = target

    @property
    def num_users(self) -> int:
        """U, the number of rows."""
        return int(self.interactions_matrix.shape[0])

    @property
    def num_items(self) -> int:
        """N, the number of columns."""
        return int(self.interactions_matrix.shape[1])

    def __len__(self) -> int:
        return self.num_users

    def __getitem__(self, index: Rows) -> tuple[UsersInteractions, UsersInteractions | None]:
        users, target = self._rows(index), self.target_interactions_matrix
        return self._of(users, self.interactions_matrix), None if target is None else self._of(users, target)

    def _of(self, users: npt.NDArray[np.int64], matrix: sparse.csr_matrix) -> UsersInteractions:
        known = self.are_training_users
        return UsersInteractions._of_checked(users, matrix[users], are_training_users=known)

    def widened(self, num_items: int) -> RecommendationDataset:
        """Returns the same users over ``num_items`` items, those beyond the last column without interactions.

        The matrices are shared, not copied; with as many columns or more already it is the data set itself.
        """
        if self.num_items >= num_items:
            return self
        made = copy(self)
        made.items, made.num_catalogue_items = None, num_items
        made.interactions_matrix = _widened(self.interactions_matrix, num_items)
        target = self.target_interactions_matrix
        made.target_interactions_matrix = None if target is None else _widened(target, num_items)
        return made

    def of_items(self, items: npt.NDArray[np.int64]) -> RecommendationDataset:
        """Returns the same users over some of the items: column ``c`` is item ``items[c]``.

        Args:
            items: ascending.
        """
        made = copy(self)
        made.interactions_matrix = columns_of(self.interactions_matrix, items)
        target = self.target_interactions_matrix
        made.target_interactions_matrix = None if target is None else columns_of(target, items)
        made.items, made.num_catalogue_items = items, self.num_catalogue_items
        return made

    def with_all_as_target(self) -> RecommendationDataset:
        """Returns the same users with their interactions and their targets together as the target; itself without any.

        Of an interaction that is among both the larger value counts.
        """
        if self.target_interactions_matrix is None:
            return self
        made = copy(self)
        made.target_interactions_matrix = self.interactions_matrix.maximum(self.target_interactions_matrix).tocsr()
        return made

    def _rows(self, index: Rows) -> npt.NDArray[np.int64]:
        if isinstance(index, slice):
            return np.arange(*index.indices(len(self)), dtype=np.int64)
        rows = np.atleast_1d(np.asarray(index))
        if rows.size == 0:
            return np.empty(0, dtype=np.int64)
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            raise DataTypeError(f"index a data set by an int, a slice or a sequence of ints, not {index!r}")
        rows = rows.astype(np.int64)  # the number of users may be too large for what they were
        rows = np.where(rows < 0, rows + len(self), rows)
        if (rows < 0).any() or (rows >= len(self)).any():
            # IndexError, not one of ours: it is what ends iteration over a sequence
            raise IndexError(f"index {index} is outside this data set's {len(self)} users")
        return rows

    def __repr__(self) -> str:
        target = self.target_interactions_matrix
        end = "" if target is None else f", {target.nnz} target interactions"
        nnz = self.interactions_matrix.nnz
        return f"RecommendationDataset({self.num_users} users, {self.num_items} items, {nnz} interactions{end})"


def _widened(matrix: sparse.csr_matrix, num_items: int) -> sparse.csr_matrix:
    return csr_of(matrix.data, matrix.indices, matrix.indptr, (matrix.shape[0], num_items))
