"""Preparing the next items of an iterator while the present one is being used."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

__all__ = ["prefetched"]

T = TypeVar("T")

_END = object()


def prefetched(items: Iterator[T], *, ahead: int = 2) -> Generator[T, None, None]:
    """Yields the items in order, each made in a thread while those before it are used; its errors come in their place.

    Args:
        items: used by one thread at a time.
        ahead: how many items are made before they are asked for, at most.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="recoder-prefetch")
    try:
        upcoming: deque[Future[object]] = deque(pool.submit(next, items, _END) for _ in range(ahead))
        while (item := upcoming.popleft().result()) is not _END:
            upcoming.append(pool.submit(next, items, _END))
            yield cast("T", item)
    finally:
        pool.shutdown(cancel_futures=True)
