"""How processes that were started together find one another, whatever earlier ones left where they meet.

``torchrun`` may hand the store of the processes before a restart to those after it, with their addresses in it (torch
2.13). How often each of its agents restarted its own processes does not tell the restarts apart: an agent counts those
that its own processes caused.
"""

from __future__ import annotations

import time
import uuid

from torch.distributed.distributed_c10d import Store

__all__ = ["agree"]

_PREFIX = "recoder"
_BETWEEN_LOOKS_S = 0.01


def agree(store: Store, rank: int, size: int, num_restarts: int, *, timeout_s: float = 1800.0) -> tuple[str, bool]:
    """Returns a name that all processes of this start have, and none of an earlier one; and whether there was one.

    Each process says a number of its own, and the first tells each the name together with that number, until all have
    said that they know it: what is there of earlier processes has other numbers.

    Args:
        store: where all meet.
        rank: this process's.
        size: how many they are.
        num_restarts: how often this one's agent says that it restarted it.
        timeout_s: how long to wait for the others.

    Raises:
        TimeoutError: if some of the others do not come.
    """
    end = time.monotonic() + timeout_s
    number = uuid.uuid4().hex
    if rank:
        store.set(f"{_PREFIX}/{rank}/is", number)
        while (told := _words(store, f"{_PREFIX}/{rank}/told"))[:1] != [number]:
            _wait(end, f"the first of {size} processes", timeout_s)
        name = told[1]
        store.set(f"{_PREFIX}/{rank}/knows", f"{name} {num_restarts}")
        while not (said := _words(store, f"{_PREFIX}/{name}")):
            _wait(end, f"some of {size} processes", timeout_s)
        return name, said == ["again"]
    counts = {0: num_restarts}
    while len(counts) < size:
        for other in set(range(size)) - counts.keys():
            for theirs in _words(store, f"{_PREFIX}/{other}/is"):
                store.set(f"{_PREFIX}/{other}/told", f"{theirs} {number}")
            knows = _words(store, f"{_PREFIX}/{other}/knows")
            if knows[:1] == [number]:
                counts[other] = int(knows[1])
        if len(counts) < size:
            missing = ", ".join(str(other) for other in range(size) if other not in counts)
            _wait(end, f"of {size} processes those of rank {missing}", timeout_s)
    is_again = bool(_words(store, f"{_PREFIX}/begun")) or max(counts.values()) > 0
    store.set(f"{_PREFIX}/begun", number)
    store.set(f"{_PREFIX}/{number}", "again" if is_again else "first")
    return number, is_again


def _words(store: Store, key: str) -> list[str]:
    """Returns the words that stand there; none where nothing does."""
    return store.get(key).decode().split() if store.check([key]) else []


def _wait(end: float, whom: str, timeout_s: float) -> None:
    if time.monotonic() > end:
        raise TimeoutError(
            f"{whom} did not come within {timeout_s:g} s; look at what they printed, and start all of them anew"
        )
    time.sleep(_BETWEEN_LOOKS_S)
