"""The most memory that this process takes within a block (Linux)."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import TracebackType

__all__ = ["PeakMemory"]

_SECONDS = 0.02


class PeakMemory:
    """Looks at the process's memory every 20 ms.

    Attributes:
        peak_gib: the most that was resident, pages of mapped files included.
        peak_anonymous_gib: without these, which the system can drop.
    """

    def __init__(self) -> None:
        self.peak_gib = self.peak_anonymous_gib = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(_SECONDS):
            status = Path("/proc/self/status").read_text(encoding="ascii")
            kib = {name: int(number) for name, number in re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB", status, re.M)}
            self.peak_gib = max(self.peak_gib, kib["VmRSS"] / 2**20)
            self.peak_anonymous_gib = max(self.peak_anonymous_gib, kib["RssAnon"] / 2**20)
