"""A catalogue of millions of items in one process: trained, saved, and loaded by another, which goes on."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse

from benchmarks.scale.memory import PeakMemory
from benchmarks.scale.worker import StepTimes
from recoder.data import RecommendationDataset
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder

USERS_PER_STEP, INTERACTIONS = 500, 40
DRAWN_FROM = 100_000


def matrix_of(num_items: int, num_steps: int) -> sparse.csr_matrix:
    """Returns interactions whose popularity falls like a power, each item's place in the catalogue at random.

    As many items are popular, whatever the catalogue, so that the steps have as many candidates.
    """
    rng = np.random.default_rng(0)
    num_users = USERS_PER_STEP * num_steps
    # the inverse of the distribution function of a density ~ x^-1.1 on [1, N]
    uniform = rng.random((num_users, INTERACTIONS))
    ranks = ((1 + uniform * (DRAWN_FROM**-0.1 - 1)) ** -10).astype(np.int64) - 1
    places = np.sort(rng.choice(num_items, DRAWN_FROM, replace=False))[rng.permutation(DRAWN_FROM)]
    cols = places[np.clip(ranks, 0, DRAWN_FROM - 1)].ravel()
    rows = np.repeat(np.arange(num_users), INTERACTIONS)
    matrix = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, cols)), shape=(num_users, num_items))
    matrix.data[:] = 1
    return matrix


def main(task: dict[str, Any]) -> None:
    """Trains an epoch, from a file if one is named, and saves it if so asked; prints times and memory as JSON.

    Args:
        task: ``items``, ``steps`` and ``threads``; ``optimizer`` and ``state``, as ``optimizer_type`` and
            ``optimizer_state`` of ``Recoder``, if not those of adam; ``load`` and ``save``, a file and a prefix.
    """
    torch.set_num_threads(task["threads"])
    dataset = RecommendationDataset(matrix_of(task["items"], task["steps"]))
    with PeakMemory() as memory:
        recoder = Recoder(
            DynamicAutoencoder([64], sparse=True),
            optimizer_type=task.get("optimizer", "adam"),
            optimizer_state=task.get("state", "fp32"),
            loss="logistic",
            seed=0,
        )
        started = time.perf_counter()
        if task.get("load"):
            recoder.init_from_model_file(task["load"])
        loaded = time.perf_counter()
        times = StepTimes()
        recoder.train(
            dataset,
            batch_size=USERS_PER_STEP,
            negative_sampling=True,
            num_epochs=len(recoder.history) + 1,
            callbacks=[times],
        )
        trained = time.perf_counter()
        saved = recoder.save_state(task["save"]) if task.get("save") else None
        done = time.perf_counter()
    found = {
        "items": task["items"],
        "step_s": statistics.median(times.seconds()),
        "load_s": loaded - started,
        "save_s": done - trained,
        "file_gib": Path(saved).stat().st_size / 2**30 if saved else None,
        "peak_gib": memory.peak_gib,
        "peak_anonymous_gib": memory.peak_anonymous_gib,
        "loss": recoder.history[-1].loss,
        "saved": saved,
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
