"""The processes that are measured: each side has one of its own, and answers in turn."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.speed.data import DataFolder
from benchmarks.speed.environments import RIVALS, Unavailable, python_of
from benchmarks.speed.works import OURS, Side

__all__ = ["WORKERS", "Starter", "Worker", "python_and_variables", "starter"]

WORKERS = Path(__file__).parent / "workers"
PROJECT = Path(__file__).parents[2]

# older OpenBLAS builds need them on some processors; they slow down the current ones
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS")


class Worker:
    """A running process of a side.

    Args:
        command: how it is started.
        variables: its environment variables.
        log: where what it prints goes.
    """

    def __init__(self, command: list[str], variables: dict[str, str], log: Path) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env=variables,
                cwd=log.parent,  # some libraries write where they run
                start_new_session=True,  # so that an interrupt of the benchmark reaches it through us alone
            )

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Returns the answer to a command.

        Raises:
            Unavailable: if the worker could not do it.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Unavailable(f"the process ended with code {self._process.wait()}: {_last_line(self._log)}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Unavailable(answer["error"])
        return answer

    def kill(self) -> None:
        """Ends the process at once, from any thread; whoever waits for an answer gets ``Unavailable``."""
        self._process.kill()

    def stop(self) -> None:
        """Ends the process, and waits for its end."""
        self.kill()
        self._process.communicate()


def python_and_variables(
    environment: str, folder: Path, *, threads: int, may_install: bool = True
) -> tuple[str, dict[str, str]]:
    """Returns the Python that a side runs in, and the environment variables of its process.

    Args:
        environment: ``OURS``, or a rival's name.
        folder: of the rivals' environments.
        threads: of the process.
        may_install: as of ``python_of``.

    Raises:
        Unavailable: as ``python_of``.
    """
    variables = {name: value for name, value in os.environ.items() if name not in SLOWING}
    variables |= dict.fromkeys(THREADS, str(threads))
    if environment == OURS:
        return sys.executable, variables | {"PYTHONPATH": str(PROJECT / "src")}
    python = python_of(environment, folder, may_install=may_install)
    # what is on the path here, such as this library, is not the rival's
    variables.pop("PYTHONPATH", None)
    return str(python), variables | dict(RIVALS[environment].variables)


Starter = Callable[[str, Side], contextlib.AbstractContextManager[tuple[Worker, dict[str, Any]]]]
"""Starts and prepares a side: gives the worker, and what it said of itself."""


def starter(out: Path, data: DataFolder, *, environments: Path, threads: int) -> Starter:
    """Returns what starts sides.

    Args:
        out: folder of the logs.
        data: the data sets.
        environments: folder of the rivals' environments.
        threads: of each process.
    """

    @contextlib.contextmanager
    def start(label: str, side: Side) -> Iterator[tuple[Worker, dict[str, Any]]]:
        script = "ours.py" if side.environment == OURS else RIVALS[side.environment].worker
        python, variables = python_and_variables(side.environment, environments, threads=threads)
        task = asdict(side.task) | {"threads": threads}
        for key in ("data", "target"):
            if key in task:
                task[key] = str(data.path(task[key]).resolve())
        worker = Worker([python, str(WORKERS / script)], variables, out / "logs" / f"{label}.log")
        try:
            yield worker, worker.ask({"prepare": task})
        finally:
            worker.stop()

    return start


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
