"""Keeping others' warnings from whoever has asked for nothing that they are about."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator

__all__ = ["quiet"]

# Python's filters are the process's: the first of two threads to leave would bring back those of before, and the second
# the other's
_LOCK = threading.RLock()


@contextlib.contextmanager
def quiet(category: type[Warning] = Warning) -> Iterator[None]:
    """Ignores warnings of this kind in the block, which one thread at a time goes through."""
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        yield
