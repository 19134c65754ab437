"""How much memory there is, so that work that would not fit can be refused before it starts."""

from __future__ import annotations

import os
from pathlib import Path

from recoder.errors import NotEnoughMemoryError

__all__ = ["available_bytes", "check_memory"]

_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def available_bytes() -> int | None:
    """Returns how much memory this process can still get without swapping; None where the system does not say.

    The least of what is free on the machine and of what its control groups leave (Linux, version 2).
    """
    limits = [free for free in (_free_on_the_machine(), _free_in_the_group()) if free is not None]
    return min(limits, default=None)


def check_memory(needed: int, what: str, instead: str) -> None:
    """Checks that there is memory for a piece of work.

    Args:
        needed: bytes.
        what: what needs them, as the start of a sentence.
        instead: what to do instead, as the end of one.

    Raises:
        NotEnoughMemoryError: if there is not.
    """
    free = available_bytes()
    if free is not None and needed > free:
        raise NotEnoughMemoryError(
            f"{what} needs about {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free; {instead}"
        )


def _free_on_the_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _free_in_the_group() -> int | None:
    """Returns the least that the process's control group, or one above it, leaves."""
    try:
        own = next(line for line in _OWN_GROUP.read_text(encoding="ascii").splitlines() if line.startswith("0::"))
    except (OSError, StopIteration, UnicodeError):
        own = "0::/"
    folder = _CGROUP / own.removeprefix("0::").strip("/")
    groups = [folder, *folder.parents]
    inside = groups[: groups.index(_CGROUP) + 1] if _CGROUP in groups else [_CGROUP]
    left = [free for free in map(_free_in, inside) if free is not None]
    return min(left, default=None)


def _free_in(group: Path) -> int | None:
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
        parts = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        # files that were read can be forgotten, however often they were
        used -= sum(int(parts.get(name, 0)) for name in ("inactive_file", "active_file"))
        return None if limit == "max" else max(0, int(limit) - used)
    except (OSError, ValueError):
        return None
