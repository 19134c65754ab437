"""Running one cell in a process of its own."""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.cells import Cell, Outcome
from benchmarks.quality.judging import judged
from benchmarks.quality.sets import Protocol, SplitFiles
from benchmarks.speed import sides
from benchmarks.speed.environments import Unavailable
from benchmarks.speed.sides import Worker, python_and_variables
from recoder._memory import available_bytes

__all__ = ["Runner", "available_mib", "needed_mib"]

WORKERS = Path(__file__).parent / "workers"

Number = Callable[[], float]


def available_mib() -> float:
    """Returns the memory that a new process can have without swapping, in MiB; infinity where nobody tells."""
    available = available_bytes()
    return math.inf if available is None else available / 2**20


def needed_mib(cell: Cell, num_items: int) -> float:
    """Returns the memory that the cell needs for its items, as far as it grows with their square, in MiB."""
    return cell.contestant.bytes_per_item_pair * num_items**2 / 2**20


_TOO_LARGE = "NotEnoughMemoryError: "
"""What a process of ours says before it tells how much it would need."""


class NotInstalledError(Unavailable):
    """The environment of a rival is not there, so that nothing was tried."""


class Runner:
    """Runs cells.

    Args:
        environments: folder of the rivals' environments.
        logs: folder of what the processes print.
        protocol: how all are judged.
        threads: of each process.
        limit_s: seconds that a cell may take, imports and reading included.
        may_install: make the environment of a rival where it is missing.
        about: returns the machine and the commit, for the record.
        available: returns the memory that is free, in MiB.
    """

    def __init__(
        self,
        *,
        environments: Path,
        logs: Path,
        protocol: Protocol,
        threads: int,
        limit_s: float,
        may_install: bool,
        about: Mapping[str, Any],
        available: Number = available_mib,
    ) -> None:
        self._environments = environments
        self._logs = logs
        self.protocol = protocol
        self._threads = threads
        self.limit_s = limit_s
        self._may_install = may_install
        self.about = about
        self._available = available

    def run(self, cell: Cell, split: SplitFiles) -> Outcome:
        """Returns what became of a cell; a failure is an outcome like others."""
        num_items = split.about["items"]
        needed, available = needed_mib(cell, num_items), self._available()
        if needed > available:
            reason = f"needs about {needed / 1024:.1f} GiB for {num_items:,} items, {available / 1024:.1f} GiB are free"
            return Outcome("no memory", self.limit_s, reason)
        try:
            with tempfile.TemporaryDirectory(prefix="recoder-quality-") as lists:
                return self._measured(cell, split, Path(lists))
        except TimeoutError:
            return Outcome("over time", self.limit_s, f"more than {self.limit_s / 60:g} minutes")
        except NotInstalledError as error:
            return Outcome("not installed", self.limit_s, str(error))
        except Unavailable as error:
            reason = str(error).removeprefix(_TOO_LARGE)
            return Outcome("failed" if reason == str(error) else "no memory", self.limit_s, reason)

    def _measured(self, cell: Cell, split: SplitFiles, lists: Path) -> Outcome:
        who = cell.contestant
        task = {
            "task": "cell",
            "model": who.model,
            "settings": dict(who.grid[cell.point]),
            "warm_up": {**who.grid[cell.point], **who.warm_up},
            "seed": cell.seed,
            "threads": self._threads,
            "count": self.protocol.count,
            "lists": str(lists),
            **{part: str(split.path(part).resolve()) for part in ("train", "valid", "test")},
        }
        versions, numbers = self.asked(who.environment_on(cell.data_set), who.worker, task, cell.name)
        ranked = {part: np.load(lists / f"{part}.npy").astype(np.int64) for part in ("valid", "test")}
        results = {part: judged(ranked[part], split.held_out(part)) for part in ranked}
        means = {
            part: {metric.metric_name: result.mean[metric] for metric in result} for part, result in results.items()
        }
        return Outcome(
            "measured",
            self.limit_s,
            numbers={**numbers, **means},
            test_values={metric.metric_name: values for metric, values in results["test"].items()},
            about={**self.about, **versions},
        )

    def asked(
        self, environment: str, script: str, task: dict[str, Any], name: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns what a new process says of itself, and what it measured.

        Args:
            environment: whose packages it has.
            script: of the workers.
            task: what it is to do.
            name: of its log.

        Raises:
            TimeoutError: if both took longer than the limit.
            Unavailable: if it could not do it.
        """
        try:
            python, variables = python_and_variables(
                environment, self._environments, threads=self._threads, may_install=self._may_install
            )
        except Unavailable as error:
            raise NotInstalledError(str(error)) from error
        variables["PYTHONPATH"] = ":".join([str(sides.WORKERS), *filter(None, [variables.get("PYTHONPATH")])])
        worker = Worker([python, str(WORKERS / script)], variables, self._logs / f"{name}.log")
        try:
            return _answers(worker, task, self.limit_s)
        finally:
            worker.stop()


def _answers(worker: Worker, task: dict[str, Any], limit_s: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what the worker says of itself, and what it measured.

    Raises:
        TimeoutError: if both took longer than the limit.
        Unavailable: if it could not do it.
    """
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        worker.kill()

    timer = threading.Timer(limit_s, end)
    timer.start()
    try:
        return worker.ask({"prepare": task}), worker.ask({"measure": True})
    except Unavailable as error:
        if is_late.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
