"""Taking turns: A B A B, so that whatever else the machine does meets all sides alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from benchmarks.speed.environments import Unavailable
from benchmarks.speed.sides import Starter, Worker
from benchmarks.speed.works import Measurement, Side

__all__ = ["measured"]

Report = Callable[[str], None]


def measured(
    measurement: Measurement,
    start: Starter,
    *,
    rounds: int,
    why_not: Callable[[Side], str | None],
    report: Report,
) -> dict[str, Any]:
    """Returns what each side measured, by name: ``{"values": [...], "about": {...}}``, or ``{"error": "..."}``.

    Args:
        measurement: what to measure.
        start: starts and prepares a side.
        rounds: samples of each side.
        why_not: says why a side makes no sense on this machine; None: it does.
        report: is told how far it is.
    """
    results: dict[str, Any] = {}
    sides = {}
    for name, side in measurement.sides.items():
        reason = why_not(side)
        if reason is None:
            sides[name] = side
            results[name] = {"values": [], "about": {}}
        else:
            results[name] = {"error": reason}
    take = _from_new_processes if measurement.is_fresh else _from_lasting_processes
    take(measurement, sides, start, rounds, results, report)
    return {name: results[name] for name in measurement.sides}


def _from_lasting_processes(
    measurement: Measurement,
    sides: dict[str, Side],
    start: Starter,
    rounds: int,
    results: dict[str, Any],
    report: Report,
) -> None:
    with contextlib.ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name, side in sides.items():
            report(f"{name} gets ready")
            with _noting_failure(results, name):
                workers[name], about = stack.enter_context(start(f"{measurement.name}-{name}", side))
                results[name]["about"] |= about
        for number in range(1, rounds + 1):
            for name, worker in workers.items():
                if "error" not in results[name]:
                    report(f"{name}, round {number} of {rounds}")
                    with _noting_failure(results, name):
                        _take(worker, results[name])


def _from_new_processes(
    measurement: Measurement,
    sides: dict[str, Side],
    start: Starter,
    rounds: int,
    results: dict[str, Any],
    report: Report,
) -> None:
    for number in range(1, rounds + 1):
        for name, side in sides.items():
            if "error" in results[name]:
                continue
            report(f"{name}, round {number} of {rounds}")
            with _noting_failure(results, name), start(f"{measurement.name}-{name}", side) as (worker, about):
                results[name]["about"] |= about
                _take(worker, results[name])


def _take(worker: Worker, result: dict[str, Any]) -> None:
    answer = worker.ask({"measure": True})
    result["values"].append(answer.pop("value"))
    result["about"] |= answer


@contextlib.contextmanager
def _noting_failure(results: dict[str, Any], name: str) -> Any:
    try:
        yield
    except Unavailable as error:
        results[name] = {"error": str(error)}
