"""Starting scripts in several processes."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from forking import redirect

__all__ = ["together"]

TIMEOUT_S = 120.0


def together(script: str, num_processes: int, *arguments: str | Path, expect: int = 0) -> list[str]:
    """Runs a script of this folder in so many processes, as ``torchrun`` does, and returns what each printed.

    They are forked from a process that has imported what takes seconds (see conftest.py), and has started no thread.
    """
    command = [str(Path(__file__).with_name(script)), *map(str, arguments)]
    exit_codes, printed = _ended(command, num_processes)
    if _PORT_IS_TAKEN in printed[0]:
        exit_codes, printed = _ended(command, num_processes)
    assert exit_codes == [expect] * num_processes, "\n".join(printed)
    return printed


_PORT_IS_TAKEN = "EADDRINUSE"
"""What the first process says where another program took the port before it could listen."""


def _ended(command: Sequence[str], num_processes: int) -> tuple[list[int | None], list[str]]:
    """Returns the exit codes, None of those that had to be killed, and what each printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(num_processes)}
    start = multiprocessing.get_context("forkserver")
    with TemporaryDirectory() as folder:
        outputs = [Path(folder, str(rank)) for rank in range(num_processes)]
        processes = [
            start.Process(target=_run, args=(command, {**world, "RANK": str(rank)}, output))
            for rank, output in enumerate(outputs)
        ]
        for process in processes:
            process.start()
        end = time.monotonic() + TIMEOUT_S
        for process in processes:
            process.join(max(0, end - time.monotonic()))
            if _PORT_IS_TAKEN in _text(outputs[0]):  # the others would wait for it
                break
        exit_codes = [process.exitcode for process in processes]
        for process in processes:
            process.kill()
            process.join()
        return exit_codes, [_text(output) for output in outputs]


def _text(output: Path) -> str:
    return output.read_text() if output.exists() else ""


def _run(command: Sequence[str], world: Mapping[str, str], output: Path) -> None:
    for stream in (1, 2):
        redirect(stream, output)
    os.environ.update(world)
    sys.argv = list(command)
    runpy.run_path(command[0], run_name="__main__")
