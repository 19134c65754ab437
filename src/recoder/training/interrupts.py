"""Ctrl-C during training: finish the step first, so that weights and moments agree."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["Interrupt", "finish_step_on_interrupt"]


class Interrupt:
    """Remembers an interrupt; called between steps, it raises the ``KeyboardInterrupt`` that was held back."""

    def __init__(self) -> None:
        self.pending = False

    def __call__(self) -> None:
        """Raises KeyboardInterrupt if one is pending."""
        if self.pending:
            raise KeyboardInterrupt("training stopped between two steps")

    def note(self, signum: int, frame: FrameType | None) -> None:
        """Handles SIGINT: the first is noted; a second, while the step still runs, is raised at once."""
        if self.pending:
            raise KeyboardInterrupt
        self.pending = True


@contextlib.contextmanager
def finish_step_on_interrupt() -> Iterator[Interrupt]:
    """Yields an ``Interrupt`` that notes SIGINT while the block runs.

    Only the main thread can handle signals, and a handler that somebody else installed is left in place: in both cases
    nothing is ever noted.
    """
    interrupt = Interrupt()
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupt
        return
    signal.signal(signal.SIGINT, interrupt.note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt()  # one that came too late to stop anything is not swallowed
