"""One of the processes of a measurement: trains on made-up data, and the first of them tells what it measured."""

from __future__ import annotations

import json
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
from recoder.ops.collectives import let_go
from recoder.training import Callback

WARM_UP_STEPS = 5
SUMMED_BYTES = (4, 4 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20)
SUMS_OF_A_SIZE = 7


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


def measured(task: dict[str, Any]) -> dict[str, Any]:
    """Trains for an epoch and returns the seconds of its steps, and the numbers that each sent."""
    matrix = sparse.csr_matrix(sparse.load_npz(task["data"]))[: task["users"]]
    recoder = Recoder(
        model_of(task),
        optimizer_type="adam",
        loss=task["loss"],
        parallel=task["parallel"],
        seed=0,
    )
    times = StepTimes()
    recoder.train(
        RecommendationDataset(matrix),
        batch_size=task["batch"],
        negative_sampling=task["sampling"],
        callbacks=[times],
    )
    seconds = times.seconds()
    together = recoder._processes
    sent = sum(ranks.numbers_sent for ranks in (together.items, together.users))
    return {
        "step_s": statistics.median(seconds),
        "steps": len(seconds),
        "sent": sent / (len(seconds) + WARM_UP_STEPS + 1),
        "held_mib": held_bytes(recoder) / 2**20,
    }


def held_bytes(recoder: Recoder) -> int:
    """Returns how many bytes this process's part of the parameters and of the optimizer's state is."""
    parameters = {tensor.data_ptr(): tensor.nbytes for tensor in recoder.model.state_dict().values()}
    state = recoder.file_content().optimizer
    return sum(parameters.values()) + sum(value.nbytes for entries in state.values() for value in entries.values())


def main(task: dict[str, Any]) -> None:
    """Measures the task, or several that change it, and prints as the first process what was found as JSON."""
    torch.set_num_threads(task["threads"])
    found: dict[str, Any]
    if "tries" in task:
        found = {"tries": [measured({**task, **changes}) for changes in task["tries"]]}
        if dist.is_initialized():
            found["link"] = sum_times()
    else:
        found = measured(task)
    if not dist.is_initialized() or dist.get_rank() == 0:
        print(json.dumps(found), flush=True)
    let_go()


def sum_times() -> list[tuple[int, float]]:
    """Returns how long sums over all processes take: bytes of a tensor, and the median of the seconds."""
    found = []
    for size in SUMMED_BYTES:
        tensor, times = torch.zeros(size // 4), []
        dist.barrier()
        for _ in range(SUMS_OF_A_SIZE):
            began = time.perf_counter()
            dist.all_reduce(tensor)
            times.append(time.perf_counter() - began)
        found.append((size, statistics.median(times)))
    return found


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
