"""How a worker talks to the benchmark: one JSON object a line, on standard input and output.

The benchmark starts a process per side, and asks it in turn: ``{"prepare": {...}}`` loads and warms up, and each
``{"measure": true}`` takes one more sample. So imports and warm-up are paid once, while the sides alternate.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["Measure", "Prepare", "high_water_mib", "serve", "versions"]

Measure = Callable[[], dict[str, Any]]
"""Takes one sample: ``{"value": number, ...}``, and whatever tells more about it."""

Prepare = Callable[[dict[str, Any]], Measure]
"""Makes everything ready for a task, given as JSON values."""


def serve(
    tasks: dict[str, Prepare], packages: tuple[str, ...], more: Callable[[], dict[str, str]] = lambda: {}
) -> None:
    """Answers commands until the input ends.

    The first answer tells the versions of ``packages``, and what ``more`` returns beside them.
    """
    # libraries print; only answers may go to the benchmark
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    measure: Measure | None = None
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if "prepare" in command:
                task = command["prepare"]
                measure = tasks[task["task"]](task)
                answer: dict[str, Any] = {"versions": versions(packages) | more()}
                if "torch" in sys.modules:
                    answer["torch_threads"] = sys.modules["torch"].get_num_threads()
            else:
                assert measure is not None, "prepare comes before measure"
                answer = measure()
        except Exception as error:
            traceback.print_exc()
            # a RuntimeError of ours says it all
            kind = "" if type(error) is RuntimeError else f"{type(error).__name__}: "
            answer = {"error": f"{kind}{error}"}
        print(json.dumps(answer), file=answers)


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Returns the versions of those of the packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def high_water_mib() -> float:
    """Returns the most memory that this process has held so far (Linux: ``VmHWM``), in MiB."""
    with open("/proc/self/status", encoding="ascii") as lines:  # noqa: PTH123  # nothing of Python's to start up
        kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return kib / 1024
