"""One of the processes of a training run that is killed at moments which the task names, and started again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch

from benchmarks.synthetic import Shape, make_interactions
from recoder.data import RecommendationDataset
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder
from recoder.ops.collectives import let_go
from recoder.training import Callback

PREFIX = "run"


def main(task: Mapping[str, Any]) -> None:
    """Trains with a checkpoint after every epoch.

    Args:
        task: ``folder`` of the checkpoints, ``marks``, where who dies leaves a file, and ``took``, a file for the
            seconds that the last start took; ``parallel``, ``users``, ``items``, ``factors``, ``batch`` and ``epochs``;
            and ``moments``, one for each start, of ``kills.Moment``.
    """
    began = time.perf_counter()
    with _dying(task):
        torch.set_num_threads(1)
        dataset = RecommendationDataset(make_interactions(Shape(task["users"], task["items"], 20, 8)))
        model = DynamicAutoencoder([task["factors"], 8], noise_prob=0.5, dropout_prob=0.3, sparse=True)
        recoder = Recoder(model, optimizer_type="adam", loss="logloss", parallel=task["parallel"], seed=1)
        recoder.train(
            dataset,
            lr=0.01,
            batch_size=task["batch"],
            num_epochs=task["epochs"],
            negative_sampling=True,
            model_checkpoint_prefix=f"{task['folder']}/{PREFIX}",
            checkpoint_freq=1,
            callbacks=[_Steps(task)],
        )
        let_go()
    Path(task["took"]).write_text(str(time.perf_counter() - began), encoding="ascii")


@contextlib.contextmanager
def _dying(task: Mapping[str, Any]) -> Iterator[None]:
    """Sees to it that the process dies within the block, if this start's moment is to be on this rank."""
    moment = _moment(task)
    if moment.get("what") == "file":
        _die_at_file(Path(task["folder"]), moment["at"], task)
    if moment.get("what") != "time":
        yield
        return
    process = os.getpid()
    killer = os.fork()
    if not killer:
        time.sleep(moment["at"])
        if os.getppid() == process:
            _mark(task)
            os.kill(process, signal.SIGKILL)
        os._exit(0)
    try:
        yield
    finally:
        os.kill(killer, signal.SIGKILL)
        os.waitpid(killer, 0)


class _Steps(Callback):
    def __init__(self, task: Mapping[str, Any]) -> None:
        moment = _moment(task)
        self._left = moment["at"] if moment.get("what") == "step" else 0
        self._task = task

    def on_step_end(self) -> None:
        self._left -= 1
        if self._left == 0:
            _die(self._task)


def _die_at_file(folder: Path, number: int, task: Mapping[str, Any]) -> None:
    """Kills the process just before it opens, makes, renames or removes a file in the folder for the n-th time."""
    left = number

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            return
        if any(isinstance(path, str | os.PathLike) and str(path).startswith(str(folder)) for path in arguments):
            left -= 1
            if left == 0:
                _die(task)

    sys.addaudithook(look)


def _moment(task: Mapping[str, Any]) -> Mapping[str, Any]:
    moments = task["moments"]
    start = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    mine = start < len(moments) and moments[start]["rank"] == int(os.environ["RANK"])
    found: Mapping[str, Any] = moments[start] if mine else {}
    return found


def _die(task: Mapping[str, Any]) -> NoReturn:
    _mark(task)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody outlives that")


def _mark(task: Mapping[str, Any]) -> None:
    Path(task["marks"], os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")).touch()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
