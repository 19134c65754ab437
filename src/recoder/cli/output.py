"""What a command says: results on stdout, for people or for programs, and everything else on stderr."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from rich.console import Console

__all__ = ["ToStderr", "console", "is_watched", "print_json", "say", "tell"]


def console() -> Console:
    """Returns where results for people go."""
    return Console(highlight=False)


def say(to: Console, sentence: str) -> None:
    """Prints a sentence, whatever is in it; the terminal may break it, but nobody else."""
    to.print(sentence, markup=False, soft_wrap=True)


def print_json(result: Any) -> None:
    """Prints a result for programs."""
    print(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False))


def tell(message: object) -> None:
    """Says something that is no result, in one line of stderr."""
    print(f"recoder: {' '.join(str(message).split())}", file=sys.stderr)


def is_watched() -> bool:
    """Returns whether somebody may be looking at stderr, to whom progress is worth showing."""
    return sys.stderr.isatty()


class ToStderr(logging.Handler):
    """Says what the library logs, on the stderr of the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Says it."""
        tell(record.getMessage())
