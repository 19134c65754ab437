"""Ctrl-C during training: finish the step first, so that weights and moments agree; a second one breaks it off."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from recoder.ops.collectives import ALONE, Ranks

__all__ = ["Interrupt", "finish_step_on_interrupt"]

_STEPS_BETWEEN_QUESTIONS = 16

_log = logging.getLogger("recoder.training")


class Interrupt:
    """Remembers an interrupt; called between steps, it raises the ``KeyboardInterrupt`` that was held back."""

    def __init__(self) -> None:
        self.pending = False
        self._is_unbroken = False
        self._is_late = False

    def __call__(self, ranks: Ranks = ALONE) -> None:
        """Raises KeyboardInterrupt if one is pending, of several processes in any of them."""
        if self.is_agreed(ranks):
            raise KeyboardInterrupt("training stopped between two steps")

    def is_agreed(self, ranks: Ranks, step: int = 0) -> bool:
        """Returns whether to stop now.

        Several processes get the same answer, so that none waits for another that has stopped; they ask each other
        after some steps only, since that takes time.

        Args:
            ranks: those that train together.
            step: how many steps of the epoch are done.
        """
        if ranks.size == 1:
            return self.pending
        return step % _STEPS_BETWEEN_QUESTIONS == 0 and bool(ranks.largest(int(self.pending)))

    def note(self, signum: int, frame: FrameType | None) -> None:
        """Handles SIGINT: the first is noted; a second, while the step still runs, is raised as soon as may be."""
        if not self.pending:
            self.pending = True
            with contextlib.suppress(Exception):  # it may come amid another message
                _log.warning("interrupted: training stops soon, between two steps; interrupt once more not to wait")
        elif self._is_unbroken:
            self._is_late = True
        else:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def unbroken(self) -> Iterator[None]:
        """Holds back a second interrupt too: what the block changes is changed as a whole."""
        self._is_unbroken = True
        try:
            yield
        finally:
            self._is_unbroken = False
        if self._is_late:
            raise KeyboardInterrupt


@contextlib.contextmanager
def finish_step_on_interrupt(ranks: Ranks = ALONE) -> Iterator[Interrupt]:
    """Yields an ``Interrupt`` that notes SIGINT while the block runs.

    Only the main thread can handle signals, and a handler that somebody else installed is left in place: in both cases
    nothing is ever noted. ``ranks`` are the processes that train together.
    """
    interrupt = Interrupt()
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupt
        interrupt(ranks)
        return
    signal.signal(signal.SIGINT, interrupt.note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt(ranks)  # one that came too late to stop anything is not swallowed
