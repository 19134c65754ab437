"""How commands end where something goes wrong."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from recoder.cli.output import Stdout, ToStderr, tell
from recoder.errors import RecoderError

__all__ = [
    "BAD_INPUT",
    "INTERRUPTED",
    "NEGATIVE",
    "TERMINATED",
    "UNREAD",
    "PlainErrors",
    "exit_code_of_interrupt",
    "interrupts_held_back",
]

NEGATIVE = 1
"""Exit code of a command that did what was asked, with a result that is not what one hoped for."""
BAD_INPUT = 2
"""Of one that could not do it: the options, a file or its content are not what they should be."""
INTERRUPTED = 130
"""Of one that was stopped from the keyboard."""
UNREAD = 141
"""Of one whose results nobody wanted to read to the end, as before ``| head``: that of a program that SIGPIPE ends."""
TERMINATED = 143
"""Of one that was stopped by SIGTERM."""

_terminations = 0


def exit_code_of_interrupt() -> int:
    """Returns the exit code of a command that was stopped, by whatever stopped it."""
    return TERMINATED if _terminations else INTERRUPTED


@contextlib.contextmanager
def _sigterm_as_sigint() -> Iterator[None]:
    """Lets SIGTERM end the block as Ctrl-C does, where Ctrl-C would."""
    global _terminations
    _terminations = 0

    def interrupt(signum: int, frame: FrameType | None) -> None:
        global _terminations
        _terminations += 1
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            handler(signal.SIGINT, frame)

    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    handled = (signal.default_int_handler, *([signal.SIG_IGN] if hasattr(signal, "pthread_sigmask") else []))
    if not in_main_thread or before not in handled:
        yield
        return
    with contextlib.ExitStack() as as_before:
        if before is signal.SIG_IGN:
            as_before.enter_context(_only_from_within())
        as_before.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, interrupt))
        yield


@contextlib.contextmanager
def _only_from_within() -> Iterator[None]:
    """Lets SIGINT be handled though it is ignored, as a shell starts what is to run behind it: none gets through."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # which drops one that waits
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def interrupts_held_back(until: str) -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM take effect at the end of the block: hours of training are lost with a file half written.

    Args:
        until: what is waited for, to say so.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    asked = False

    def note(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            tell(f"stops as soon as {until}")
        asked = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        signal.default_int_handler(signal.SIGINT, None)


class PlainErrors(TyperGroup):
    """Says in one line why a command could not do what was asked, and passes on what the library logs as warnings."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        handler = ToStderr(logging.WARNING)
        log = logging.getLogger("recoder")
        log.addHandler(handler)
        try:
            with _sigterm_as_sigint():
                result = super().invoke(ctx)
                Stdout().flush()  # says here what it has no room for
                return result
        except BrokenPipeError:  # whoever was reading has seen enough
            _write_no_more()
            raise typer.Exit(UNREAD) from None
        except (RecoderError, OSError) as error:
            tell(_reason(error))
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            tell("interrupted")
            raise typer.Exit(exit_code_of_interrupt()) from None
        finally:
            log.removeHandler(handler)


def _write_no_more() -> None:
    """Sends to nowhere what stdout still holds, which Python writes at the end."""
    with contextlib.suppress(OSError, ValueError):  # what has no descriptor has no reader
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
