"""One of the processes of a measurement: trains on made-up data, and the first of them tells what it measured."""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from scipy import sparse

from benchmarks.synthetic import Shape, make_interactions
from recoder.data import RecommendationDataset
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization
from recoder.training import Callback

WARM_UP_STEPS = 5


class StepTimes(Callback):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self._ends: list[float] = []

    def on_step_end(self) -> None:
        """Notes it."""
        self._ends.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Returns how long each step took, without those of the warm-up."""
        between = [after - before for before, after in zip(self._ends, self._ends[1:], strict=False)]
        return between[WARM_UP_STEPS:]


def make_data(path: Path, shape: Shape) -> None:
    """Writes made-up interactions, for all processes to read."""
    sparse.save_npz(path, make_interactions(shape, seed=0), compressed=False)


def model_of(task: dict[str, Any]) -> FactorizationModel:
    """Returns the model of a task."""
    if task["model"] == "factorization":
        return MatrixFactorization(task["factors"], sparse=True)
    return DynamicAutoencoder([task["factors"]], sparse=True)


def main(task: dict[str, Any]) -> None:
    """Trains for an epoch and prints, as the first process, the seconds of its steps as JSON."""
    torch.set_num_threads(task["threads"])
    matrix = sparse.csr_matrix(sparse.load_npz(task["data"]))[: task["users"]]
    recoder = Recoder(
        model_of(task),
        optimizer_type="adam",
        loss=task["loss"],
        parallel=task["parallel"],
        seed=0,
        precision=task.get("precision", "fp32"),
    )
    times = StepTimes()
    recoder.train(
        RecommendationDataset(matrix),
        batch_size=task["batch"],
        negative_sampling=task["sampling"],
        num_epochs=task.get("epochs", 1),
        callbacks=[times],
    )
    seconds = times.seconds()
    is_first = not dist.is_initialized() or dist.get_rank() == 0
    if is_first:
        found = {
            "step_s": statistics.median(seconds),
            "steps": len(seconds),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "loss": recoder.history[-1].loss,
        }
        print(json.dumps(found), flush=True)
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
