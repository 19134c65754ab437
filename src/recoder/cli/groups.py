"""How commands end where something goes wrong."""

from __future__ import annotations

import logging
from typing import Any

import typer
from typer.core import TyperGroup

from recoder.cli.output import ToStderr, tell
from recoder.errors import RecoderError

__all__ = ["BAD_INPUT", "INTERRUPTED", "NEGATIVE", "PlainErrors"]

NEGATIVE = 1
"""Exit code of a command that did what was asked, with a result that is not what one hoped for."""
BAD_INPUT = 2
"""Of one that could not do it: the options, a file or its content are not what they should be."""
INTERRUPTED = 130
"""Of one that was stopped from the keyboard."""


class PlainErrors(TyperGroup):
    """Says in one line why a command could not do what was asked, and passes on what the library logs as warnings."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        handler = ToStderr(logging.WARNING)
        log = logging.getLogger("recoder")
        log.addHandler(handler)
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # whoever was reading has seen enough
            raise
        except (RecoderError, OSError) as error:
            tell(_reason(error))
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            tell("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        finally:
            log.removeHandler(handler)


def _reason(error: Exception) -> str:
    if isinstance(error, RecoderError) or not isinstance(error, OSError) or error.filename is None:
        return str(error)
    return f"{error.filename}: {error.strerror}"
