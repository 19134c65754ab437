"""Starting scripts in several processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

__all__ = ["FINDING_TESTS", "together"]

TESTS = Path(__file__).parents[1]
FINDING_TESTS = {"PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))}
"""So that scripts find each other as tests do."""


def together(script: str, num_processes: int, *arguments: str | Path, expect: int = 0) -> list[str]:
    """Runs a script of this folder in so many processes, as ``torchrun`` does, and returns what each printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(num_processes)}
    command = [sys.executable, str(Path(__file__).with_name(script)), *map(str, arguments)]
    started = [
        subprocess.Popen(
            command,
            env={**os.environ, **FINDING_TESTS, **world, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(num_processes)
    ]
    printed = [process.communicate(timeout=600)[0] for process in started]
    assert all(process.returncode == expect for process in started), "\n".join(printed)
    return printed
