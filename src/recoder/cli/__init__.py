"""The command line. ``recoder --help`` lists the commands; the extra ``cli`` brings what it needs."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line, and ends the process with its exit code."""
    try:
        from recoder.cli.app import app
    except ImportError as error:
        if error.name is None or error.name.split(".")[0] not in ("typer", "rich", "click"):
            raise
        sys.exit(f'the command line needs {error.name}: pip install "recsys-recoder[cli]"')
    app(prog_name="recoder")
