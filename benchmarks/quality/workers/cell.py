"""What every contestant's process does for a cell: train, rank the held-out users, write the lists.

A contestant brings one function, which fits a model to a CSR matrix of ones and returns how to rank.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from protocol import Measure, high_water_mib, serve
from scipy import sparse

__all__ = ["Rank", "Task", "in_blocks", "serve_cells", "top_unseen"]

Task = dict[str, Any]
Rank = Callable[[np.ndarray, sparse.csr_matrix], np.ndarray]
"""Users' rows in training, where they are, and histories in; ``[B, K]`` out, best first, -1 where none is left."""


def serve_cells(
    fit: Callable[[Task, sparse.csr_matrix], Rank],
    packages: tuple[str, ...],
    more: Callable[[], dict[str, str]] = lambda: {},
) -> None:
    """Answers the benchmark; see ``protocol.serve``."""
    serve({"cell": lambda task: prepare(fit, task)}, packages, more)


def prepare(fit: Callable[[Task, sparse.csr_matrix], Rank], task: Task) -> Measure:
    """Trains on a few users that are made up, so that what is imported late is there; memory counts from then on."""
    rng = np.random.default_rng(0)
    tiny = sparse.csr_matrix((rng.random((300, 250)) < 0.05).astype(np.float32))
    fit(task | {"settings": task["warm_up"]}, tiny)(np.arange(20), tiny[:20])
    before_mib = high_water_mib()

    def measure() -> dict[str, Any]:
        train, valid, test = (sparse.csr_matrix(sparse.load_npz(task[name])) for name in ("train", "valid", "test"))
        first_valid = train.shape[0]
        first_test = first_valid + valid.shape[0]
        busy_s, own_s = machine_busy_s(), time.process_time()
        started = time.perf_counter()
        rank = fit(task, train)
        trained = time.perf_counter()
        others_s = machine_busy_s() - busy_s - (time.process_time() - own_s)
        test_lists = rank(np.arange(first_test, first_test + test.shape[0]), test)
        ranked = time.perf_counter()
        valid_lists = rank(np.arange(first_valid, first_test), valid)
        for name, lists in (("valid", valid_lists), ("test", test_lists)):
            np.save(f"{task['lists']}/{name}.npy", lists.astype(np.int32))
        return {
            "train_seconds": trained - started,
            "others_busy": max(0.0, others_s / (trained - started)),
            "recommend_seconds": ranked - trained,
            "peak_mib": high_water_mib() - before_mib,
        }

    return measure


def machine_busy_s() -> float:
    """Returns the seconds that all processors were not idle since the machine started (Linux: ``/proc/stat``)."""
    of_all_processors = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    user, nice, system, _idle, _iowait, *interrupts_and_stolen = of_all_processors.split()[1:9]
    return sum(map(int, (user, nice, system, *interrupts_and_stolen))) / os.sysconf("SC_CLK_TCK")


def in_blocks(rank: Rank, size: int = 500) -> Rank:
    """Returns the same for any number of users: ``rank`` is asked for ``size`` of them at a time."""

    def rank_all(users: np.ndarray, histories: sparse.csr_matrix) -> np.ndarray:
        starts = range(0, len(users), size)
        return np.concatenate([rank(users[at : at + size], histories[at : at + size]) for at in starts])

    return rank_all


def top_unseen(scores_BN: np.ndarray, histories: sparse.csr_matrix, count: int) -> np.ndarray:
    """Returns the columns of the highest scores, best first, those of the histories left out: ``[B, count]``."""
    count = min(count, scores_BN.shape[1])
    scores_BN[histories.nonzero()] = -np.inf
    best_BK = np.argpartition(scores_BN, -count, axis=1)[:, -count:]
    of_best_BK = np.take_along_axis(scores_BN, best_BK, axis=1)
    order_BK = np.argsort(-of_best_BK, axis=1, kind="stable")
    is_left_BK = np.take_along_axis(of_best_BK, order_BK, axis=1) > -np.inf
    return np.where(is_left_BK, np.take_along_axis(best_BK, order_BK, axis=1), -1)
