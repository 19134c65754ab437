"""The seam for search structures: everything else about an index stands once, above it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from recoder.embedding.base import Floats, Rows

__all__ = ["Backend", "StoredBackend"]


class Backend(ABC):
    """A structure that finds candidates for the nearest of N unit vectors.

    It knows rows only: ids, exact cosines, their order and distances are the business of ``BackendIndex``.
    Zero vectors may be among the units.
    """

    @abstractmethod
    def build(self, units_ND: Floats) -> None:
        """Takes the unit vectors: float32 ``[N, D]``."""

    @abstractmethod
    def query(self, units_QD: Floats, n: int) -> Rows:
        """Returns the rows of the ``n`` nearest of each query: int64 ``[Q, n]``, each once, in any order.

        ``n`` is less than N. A search that found fewer ends in -1.
        """


class StoredBackend(Backend):
    """A backend with a file of its own, which ``load`` can check; any other is built again from the vectors."""

    suffix: ClassVar[str]

    @abstractmethod
    def save(self, path: Path) -> None:
        """Writes the structure to ``path``."""

    @abstractmethod
    def load(self, path: Path, size: tuple[int, int]) -> None:
        """Reads what ``save`` wrote.

        Args:
            path: the file; it is not changed or removed while the backend lives, though it may be unlinked.
            size: (N, D) that the file should hold.

        Raises:
            FileFormatError: if the file is not that, whoever wrote it.
        """
