"""Starting a measurement in one process, or in several that train together."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["PROJECT", "environment_of", "free_port", "run", "run_apart"]

PROJECT = Path(__file__).parents[2]


def run(
    module: str,
    task: Mapping[str, Any],
    number: int = 1,
    *,
    address: str = "127.0.0.1",
    places: Sequence[Sequence[str]] | None = None,
    settings: Sequence[Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Returns what the first of so many processes, which train together, measured.

    Args:
        module: what each runs.
        task: its argument, as JSON.
        number: how many processes.
        address: where the first is found by the others.
        places: for each process the command that runs a command in its place; None: all run here.
        settings: for each process more environment variables.

    Raises:
        RuntimeError: if one of them failed.
    """
    world = {}
    if number > 1:
        world = {"MASTER_ADDR": address, "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(number)}
        world["LOCAL_WORLD_SIZE"] = str(number)  # hosts share this machine too: a thread of each has no core to itself
    started = []
    for rank in range(number):
        mine = {**world, **(settings[rank] if settings else {}), **({"RANK": str(rank)} if world else {})}
        started.append(_start(module, task, mine, places[rank] if places else ()))
    return _printed(module, task, started)[0]


def run_apart(module: str, task: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    """Returns what so many processes measured, each alone, all at once.

    Raises:
        RuntimeError: if one of them failed.
    """
    shared = {"LOCAL_WORLD_SIZE": str(number)}
    return _printed(module, task, [_start(module, task, shared, ()) for _ in range(number)])


def environment_of(settings: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of a process of ours: it finds the library and the benchmarks of this checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return environment | {"PYTHONPATH": os.pathsep.join([str(PROJECT / "src"), str(PROJECT)]), **settings}


def free_port() -> int:
    """Returns a port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _start(
    module: str, task: Mapping[str, Any], settings: Mapping[str, str], place: Sequence[str]
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*place, sys.executable, "-m", module, json.dumps(task)],
        cwd=PROJECT,
        env=environment_of(settings),
        stdout=subprocess.PIPE,
        text=True,
    )


def _printed(module: str, task: Mapping[str, Any], started: list[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """Returns what each process printed last; those that others' failure leaves waiting are ended."""
    try:
        printed = [process.communicate()[0] for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    if any(process.returncode for process in started):
        raise RuntimeError(f"{module} failed for {task}")
    return [json.loads(lines.splitlines()[-1]) if lines.strip() else {} for lines in printed]
