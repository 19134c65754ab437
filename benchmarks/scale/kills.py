"""Training whose processes are killed at random moments, beside training that nobody disturbs."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from benchmarks.scale import kill_worker
from benchmarks.scale.running import environment_of, free_port
from benchmarks.speed.lines import markdown_table

__all__ = ["Moment", "differing", "leftovers", "measure", "moments", "started_again", "started_by_torchrun", "task_of"]

KILLS, QUICK_KILLS = 10, 1
NUM_PROCESSES = 2
EPOCHS, QUICK_EPOCHS = 2 * KILLS + 2, 2 * QUICK_KILLS + 2
"""So many that all kills come: a start that is killed gets at most two further."""

_STEPS_PER_EPOCH = 5
_FILE_OPERATIONS = {"first of items": 36, "other": 20}
"""Of a process from its start to its first checkpoint, and some of the second."""

_SECTION = """\
## Processes that are killed

An autoencoder with noise and dropout, adam, {items:,} items and {factors} factors in two processes, each under a
`torchrun` of its own, {epochs} epochs of {steps} steps with a checkpoint after each. After each start one of the two is
killed with SIGKILL: after a random step, just before a random operation on the checkpoints' files, or at a random time.
The weights, and the optimizer's state, are compared bit by bit with those of a run that nobody disturbed.

{table}"""


@dataclass(frozen=True)
class Moment:
    """When a process is killed, counted from its start.

    Attributes:
        rank: of the process.
        what: what is counted: ``'step'``, ``'file'`` operations or ``'time'``.
        at: how many of them, or seconds.
    """

    rank: int
    what: str
    at: float


def moments(seed: int, parallel: str, took_s: float) -> list[Moment]:
    """Returns ten random moments, of every kind: all of them come before an undisturbed run would end.

    Args:
        seed: of the draw.
        parallel: what is shared: where it is users, only the first process writes.
        took_s: how long a run takes that nobody disturbs.
    """
    drawn = random.Random(seed)
    kinds = ["file"] * 4 + ["step"] * 3 + ["time"] * 3
    drawn.shuffle(kinds)
    return [_moment(kind, parallel, took_s, drawn) for kind in kinds]


def _moment(kind: str, parallel: str, took_s: float, drawn: random.Random) -> Moment:
    rank = drawn.randrange(NUM_PROCESSES)
    if kind == "time":
        return Moment(rank, kind, drawn.uniform(0, took_s / 6))
    if kind == "step":
        return Moment(rank, kind, drawn.randint(1, 2 * _STEPS_PER_EPOCH - 1))
    rank = rank if parallel == "items" else 0
    number = _FILE_OPERATIONS["first of items" if parallel == "items" and rank == 0 else "other"]
    return Moment(rank, kind, drawn.randint(1, number))


def task_of(
    folder: Path, parallel: str, when: Sequence[Moment], *, users: int, items: int, factors: int, epochs: int = EPOCHS
) -> dict[str, Any]:
    """Returns the task of the worker; makes its folders."""
    for name in ("checkpoints", "marks"):
        (folder / name).mkdir(parents=True)
    return {
        "folder": str(folder / "checkpoints"),
        "marks": str(folder / "marks"),
        "took": str(folder / "took"),
        "parallel": parallel,
        "users": users,
        "items": items,
        "factors": factors,
        "batch": -(-users // _STEPS_PER_EPOCH),
        "epochs": epochs,
        "moments": [asdict(moment) for moment in when],
    }


def started_by_torchrun(task: Mapping[str, Any], *, timeout_s: float = 600.0) -> None:
    """Runs the worker under ``torchrun``, one for each process, as on as many machines.

    Raises:
        RuntimeError: if it fails.
    """
    command = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={NUM_PROCESSES}", "--nproc-per-node=1"]
    options = [f"--max-restarts={len(task['moments'])}", "--monitor-interval=0.1"]
    options += ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port()}", "--rdzv-id=kills"]
    logs = Path(task["folder"]).with_name("torchrun")  # else folders stay in the temporary one
    logs.mkdir(parents=True, exist_ok=True)
    agents: list[subprocess.Popen[str]] = []
    try:
        for number in range(NUM_PROCESSES):
            with (logs / f"{number}.log").open("w", encoding="utf-8") as log:
                whole = [*command, *options, f"--log-dir={logs / str(number)}", kill_worker.__file__, json.dumps(task)]
                agents.append(subprocess.Popen(whole, env=environment_of({}), stdout=log, stderr=log, text=True))
        end = time.monotonic() + timeout_s
        codes = [agent.wait(max(0, end - time.monotonic())) for agent in agents]
    finally:
        for agent in agents:
            agent.kill()
            agent.wait()
    if any(codes):
        said = "".join((logs / f"{number}.log").read_text(encoding="utf-8")[-4000:] for number in range(len(agents)))
        raise RuntimeError(f"torchrun failed: {said}")


def started_again(task: Mapping[str, Any], *, timeout_s: float = 120.0) -> int:
    """Runs the worker as ``torchrun`` does, but from a process that has torch imported, and returns the restarts.

    Raises:
        RuntimeError: if processes failed once more than they are killed, or hung.
    """
    start = multiprocessing.get_context("forkserver")
    # it imports the library: whoever else forks from this process's server, as the tests do, finds that there too
    start.set_forkserver_preload([kill_worker.__name__])
    for restart in range(len(task["moments"]) + 1):
        world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(NUM_PROCESSES)}
        world["TORCHELASTIC_RESTART_COUNT"] = str(restart)
        processes = [
            start.Process(target=_main_in, args=(task, {**world, "RANK": str(rank)})) for rank in range(NUM_PROCESSES)
        ]
        for process in processes:
            process.start()
        end = time.monotonic() + timeout_s
        left = {process.sentinel: process for process in processes}
        while left and not any(process.exitcode for process in processes):
            ended = wait(left, timeout=end - time.monotonic())
            if not ended:
                break
            for sentinel in ended:
                left.pop(int(sentinel)).join()
        is_hung = bool(left) and not any(process.exitcode for process in processes)
        for process in processes:
            process.terminate()
            process.join(10)
            process.kill()
            process.join()
        if is_hung:
            raise RuntimeError(f"start {restart} hung for {timeout_s} s")
        if not any(process.exitcode for process in processes):
            return restart
    raise RuntimeError(f"processes failed {len(task['moments']) + 1} times")


def _main_in(task: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    kill_worker.main(task)


def differing(task: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Returns files and tensors that differ in any bit between the last checkpoints of the runs of two tasks."""
    last = f"{kill_worker.PREFIX}_epoch_{task['epochs']}.model"
    files, files_there = (
        {path.relative_to(of["folder"]): path for path in _model_files(Path(of["folder"], last))}
        for of in (task, other)
    )
    names = sorted(map(str, files.keys() ^ files_there.keys()))
    for name in sorted(files.keys() & files_there.keys()):
        path, theirs = files[name], files_there[name]
        with safe_open(path, framework="pt") as file, safe_open(theirs, framework="pt") as file_there:
            keys, there = set(file.keys()), set(file_there.keys())
            same = {key for key in keys & there if _is_same(file.get_tensor(key), file_there.get_tensor(key))}
            names += sorted((keys | there) - same)
    return names


def leftovers(task: Mapping[str, Any]) -> list[str]:
    """Returns what is in the folder of a task's checkpoints and is none."""
    folder, prefix = Path(task["folder"]), kill_worker.PREFIX
    known = {f".{prefix}.begun", *(f"{prefix}_epoch_{n}.model" for n in range(1, task["epochs"] + 1))}
    hidden = (str(path.relative_to(folder)) for path in folder.glob("*/.*"))
    return sorted([*({path.name for path in folder.iterdir()} - known), *hidden])


def _model_files(path: Path) -> Iterator[Path]:
    yield from path.glob("*.safetensors") if path.is_dir() else [path]


def _is_same(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    return tensor.dtype == other.dtype and torch.equal(tensor, other)


def measure(folder: Path, quick: bool) -> str:
    """Returns the section on killed processes."""
    sizes = {"users": 5_000, "items": 20_000, "factors": 64, "epochs": EPOCHS}
    if quick:
        sizes = {"users": 200, "items": 150, "factors": 16, "epochs": QUICK_EPOCHS}
    rows = [_row(folder, parallel, quick, sizes) for parallel in ("items", "users")]
    headings = ("parallel", "killed, times", "tensors that differ", "files left over", "undisturbed, s", "killed, s")
    table = markdown_table(headings, rows, num_text_columns=1)
    return _SECTION.format(table=table, steps=_STEPS_PER_EPOCH, **sizes)


def _row(folder: Path, parallel: str, quick: bool, sizes: Mapping[str, int]) -> tuple[str, ...]:
    run = started_again if quick else started_by_torchrun
    undisturbed = task_of(folder / f"{parallel}-undisturbed", parallel, [], **sizes)
    began = time.perf_counter()
    run(undisturbed)
    between = time.perf_counter()
    when = moments(0, parallel, float(Path(undisturbed["took"]).read_text(encoding="ascii")))
    task = task_of(folder / parallel, parallel, when[:QUICK_KILLS] if quick else when, **sizes)
    run(task)
    seconds = (f"{between - began:.1f}", f"{time.perf_counter() - between:.1f}")
    of_folders = differing(task, undisturbed), leftovers(task)
    row = (parallel, str(len(list(Path(task["marks"]).iterdir()))), *(", ".join(f) or "none" for f in of_folders))
    print(row, *seconds, file=sys.stderr, flush=True)
    return *row, *seconds
