"""What a command says: results on stdout, for people or for programs, and everything else on stderr."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from typing import IO, Any, cast

from rich.console import Console

from recoder.errors import FileWriteError

__all__ = ["Stdout", "ToStderr", "console", "is_watched", "print_json", "print_text", "say", "tell"]


class Stdout(io.TextIOBase):
    """The stdout of the moment; where it cannot be written, the error says so."""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a property there too
        """That of stdout."""
        return sys.stdout.encoding

    def fileno(self) -> int:
        """Returns that of stdout."""
        return sys.stdout.fileno()

    def isatty(self) -> bool:
        """Returns whether it is a terminal."""
        return sys.stdout.isatty()

    def write(self, text: str) -> int:
        """Writes to it."""
        with _named():
            try:
                return sys.stdout.write(text)
            except UnicodeEncodeError:  # what cannot be written there is written as a question mark
                encoding = sys.stdout.encoding
                sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
                return len(text)

    def flush(self) -> None:
        """Passes on what waits."""
        with _named():
            sys.stdout.flush()


@contextlib.contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # whoever was reading has seen enough
        raise
    except OSError as error:
        reason = f"cannot write to standard output: {error.strerror}; free some space, or send it elsewhere"
        raise FileWriteError(error.errno or 0, reason) from error


class _Results(Console):
    """Leaves it to the caller what becomes of a command whose reader is gone."""

    def on_broken_pipe(self) -> None:
        """Passes the error on."""
        raise  # rich calls it while it handles the error


def console() -> Console:
    """Returns where results for people go."""
    return _Results(file=cast("IO[str]", Stdout()), highlight=False)


def say(to: Console, sentence: str) -> None:
    """Prints a sentence, whatever is in it; the terminal may break it, but nobody else."""
    to.print(sentence, markup=False, soft_wrap=True)


def print_json(result: Any) -> None:
    """Prints a result for programs."""
    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(Stdout().encoding)
    except UnicodeEncodeError:  # in escapes nothing is lost
        text = json.dumps(result, indent=2, allow_nan=False)
    print_text(text + "\n")


def print_text(text: str) -> None:
    """Prints a text as it is."""
    Stdout().write(text)


def tell(message: object) -> None:
    """Says something that is no result, in one line of stderr; where nobody listens, nothing else is to suffer."""
    line = re.sub(r"\s*\n\s*", " ", str(message).strip())
    with contextlib.suppress(OSError, RuntimeError):  # a handler of signals may come amid another message
        print(f"recoder: {line}", file=sys.stderr)


def is_watched() -> bool:
    """Returns whether somebody may be looking at stderr, to whom progress is worth showing."""
    return sys.stderr.isatty()


class ToStderr(logging.Handler):
    """Says what the library logs, on the stderr of the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Says it."""
        tell(record.getMessage())
