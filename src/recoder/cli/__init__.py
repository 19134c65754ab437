"""The command line. ``recoder --help`` lists the commands; the extra ``cli`` brings what it needs."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]

_NEEDED = ("typer", "rich", "tomlkit")


def main() -> None:
    """Runs the command line, and ends the process with its exit code."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        print(f'the command line needs {" and ".join(missing)}: pip install "recsys-recoder[cli]"', file=sys.stderr)
        sys.exit(2)
    try:
        from recoder.cli.app import app

        app(prog_name="recoder")
    except KeyboardInterrupt:  # before a command had begun, which would say more
        sys.exit(130)
