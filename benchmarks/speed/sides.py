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

__all__ = ["Starter", "Worker", "starter"]

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

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()


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
        python, script, extra = sys.executable, "ours.py", {"PYTHONPATH": str(PROJECT / "src")}
        if side.environment != OURS:
            rival = RIVALS[side.environment]
            python, script, extra = str(python_of(rival.name, environments)), rival.worker, dict(rival.variables)
        variables = {name: value for name, value in os.environ.items() if name not in SLOWING}
        variables |= dict.fromkeys(THREADS, str(threads)) | extra
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
