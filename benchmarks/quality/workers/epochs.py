"""This version of Recoder after each epoch of a training: the seconds so far, and what it would recommend."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from cell import machine_busy_s
from protocol import Measure, serve
from scipy import sparse

from recoder.data import RecommendationDataset, UsersInteractions
from recoder.ops.kernels import library
from recoder.recipes import recipe
from recoder.training import Callback, EpochReport


class Watch(Callback):
    """Ranks the held-out users after each epoch, and stops the clock meanwhile.

    Args:
        task: what is trained, and where the lists go.
        held_out: the users by part.
    """

    def __init__(self, task: dict[str, Any], held_out: dict[str, UsersInteractions]) -> None:
        self._task = task
        self._held_out = held_out
        self._paused = 0.0
        self.recoder: Any = None
        self.seconds: list[float] = []
        self._started = time.perf_counter()

    def on_epoch_end(self, report: EpochReport) -> None:
        """Notes the time, and what would be recommended."""
        now = time.perf_counter()
        self.seconds.append(now - self._started - self._paused)
        for part, users in self._held_out.items():
            lists = self.recoder.ranked(users, self._task["count"])
            np.save(f"{self._task['lists']}/{part}-{report.epoch}.npy", lists.astype(np.int32))
        self._paused += time.perf_counter() - now


def prepare(task: dict[str, Any]) -> Measure:
    """Trains on a few users that are made up, so that what is imported late is there."""
    chosen = recipe(task["model"]).but(**task["settings"])
    tiny = sparse.csr_matrix((np.random.default_rng(0).random((300, 250)) < 0.05).astype(np.float32))
    chosen.but(num_epochs=1).fit(RecommendationDataset(tiny), None, seed=task["seed"])

    def measure() -> dict[str, Any]:
        train, valid, test = (sparse.csr_matrix(sparse.load_npz(task[name])) for name in ("train", "valid", "test"))
        ids = np.arange(train.shape[0], train.shape[0] + valid.shape[0] + test.shape[0])
        parts = {"valid": (ids[: valid.shape[0]], valid), "test": (ids[valid.shape[0] :], test)}
        watch = Watch(task, {part: UsersInteractions(*users) for part, users in parts.items()})
        watch.recoder = chosen.new_recoder(seed=task["seed"])
        busy_s, own_s, started = machine_busy_s(), time.process_time(), time.perf_counter()
        chosen.train_with(watch.recoder, RecommendationDataset(train), None, callbacks=[watch])
        others_s = machine_busy_s() - busy_s - (time.process_time() - own_s)
        return {"seconds": watch.seconds, "others_busy": max(0.0, others_s / (time.perf_counter() - started))}

    return measure


if __name__ == "__main__":
    serve(
        {"epochs": prepare},
        packages=("recsys-recoder", "torch", "numpy", "scipy"),
        more=lambda: {"kernels": "none" if library() is None else "compiled"},
    )
