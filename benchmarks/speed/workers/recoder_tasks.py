"""What is measured of Recoder, this version and 0.4.0 alike: both have the documented classes and arguments."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from protocol import Measure, Prepare, high_water_mib

__all__ = ["SHARED_TASKS", "Task", "fit", "make_model", "timed"]

Task = dict[str, Any]


class StepClock:
    """Notes when a model is called; the time between two calls is a step: data, forward, loss, backward, optimizer.

    Args:
        model: the model; ``method`` of it is called once in a step.
        method: that method.
    """

    def __init__(self, model: Any, method: str) -> None:
        self.times: list[float] = []
        called = getattr(model, method)

        def noted(*args: Any, **kwargs: Any) -> Any:
            self.times.append(time.perf_counter())
            return called(*args, **kwargs)

        setattr(model, method, noted)

    def median_step(self, warm_up: int) -> float:
        """Returns the median seconds of a step after the first ``warm_up``."""
        steps = [after - before for before, after in zip(self.times, self.times[1:])]  # noqa: B905  # RecBole's Python may be older
        return statistics.median(steps[warm_up:])


def prepare_step(task: Task) -> Measure:
    """A training step: each sample is the median step of a new training run, its first steps left out."""
    from scipy import sparse

    from recoder.data import RecommendationDataset

    dataset = RecommendationDataset(sparse.load_npz(task["data"]))

    def measure() -> dict[str, Any]:
        model = make_model(task)
        clock = StepClock(model, "user_factors" if is_current() else "forward")
        fit(task, model, dataset, steps=task["warm_up"] + task["steps"] + 1)
        return {"value": clock.median_step(task["warm_up"])}

    measure()
    return measure


def prepare_memory(task: Task) -> Measure:
    """The most memory of a training run, above what the process held after ``import torch``; once in a process."""
    before_mib = high_water_mib()

    def measure() -> dict[str, Any]:
        from scipy import sparse

        from recoder.data import RecommendationDataset

        dataset = RecommendationDataset(sparse.load_npz(task["data"]))
        fit(task, make_model(task), dataset, steps=task["steps"])
        return {"value": high_water_mib() - before_mib, "after_import_mib": before_mib}

    return measure


def prepare_evaluate(task: Task) -> Measure:
    """Evaluation of Recall@20, Recall@50 and NDCG@100 over all users who have a target."""
    from scipy import sparse

    from recoder.data import RecommendationDataset
    from recoder.metrics import NDCG, Recall

    inputs, targets = sparse.load_npz(task["data"]), sparse.load_npz(task["target"])
    metrics = [Recall(k=20, normalize=True), Recall(k=50, normalize=True), NDCG(k=100)]
    training = task | {
        "model": "autoencoder",
        "sparse": False,
        "loss": "logistic",
        "precision": "fp32",
        "candidates": "sampled",
    }
    recoder = fit(training, make_model(training), RecommendationDataset(inputs), steps=30)
    dataset = RecommendationDataset(inputs, targets)

    def measure() -> dict[str, Any]:
        return timed(lambda: recoder.evaluate(dataset, 100, metrics, batch_size=task["batch_size"]))

    measure()
    return measure


def prepare_frame(task: Task) -> Measure:
    """``dataframe_to_csr_matrix`` of a frame of string ids, from pandas or polars, its rows in random order."""
    import numpy as np
    from scipy import sparse

    from recoder.utils import dataframe_to_csr_matrix

    matrix = sparse.load_npz(task["data"]).tocoo()
    order = np.random.default_rng(0).permutation(matrix.nnz)[: task["rows"]]
    columns = {
        "user": [f"user-{number:07d}" for number in matrix.row[order].tolist()],
        "item": [f"item-{number:07d}" for number in matrix.col[order].tolist()],
        "score": np.ones(len(order), dtype=np.float32),
    }
    if task["frame"] == "polars":
        import polars

        frame: Any = polars.DataFrame(columns)
    else:
        import pandas

        frame = pandas.DataFrame(columns)
    columns.clear()

    def measure() -> dict[str, Any]:
        return timed(lambda: dataframe_to_csr_matrix(frame, "user", "item", "score")) | {"rows": len(frame)}

    return measure


def is_current() -> bool:
    """Whether the package is this version, not 0.4.0."""
    from recoder.nn import FactorizationModel

    return hasattr(FactorizationModel, "user_factors")


def make_model(task: Task) -> Any:
    """Returns the model that the task names, without parameters."""
    from recoder.nn import DynamicAutoencoder, MatrixFactorization

    if task["model"] == "matrix factorization":
        return MatrixFactorization(embedding_size=task["factors"], sparse=task["sparse"])
    return DynamicAutoencoder([task["factors"]], activation_type="tanh", sparse=task["sparse"])


def fit(task: Task, model: Any, dataset: Any, *, steps: int | None = None, epochs: int = 1) -> Any:
    """Returns a ``Recoder`` of the model, trained for so many steps of an epoch, or for whole epochs."""
    import torch

    from recoder.model import Recoder

    torch.manual_seed(0)
    # 0.4.0 knows neither; so only what differs from its ways is passed
    options: Task = {}
    if task["precision"] != "fp32":
        options["precision"] = task["precision"]
    if task.get("device", "cpu") != "cpu":
        options["device"] = task["device"]
    recoder = Recoder(model, optimizer_type="adam", loss=task["loss"], **options)
    sampled = task["candidates"] == "sampled"
    recoder.train(
        dataset,
        lr=1e-3,
        num_epochs=epochs,
        iters_per_epoch=steps,
        batch_size=task["batch_size"],
        negative_sampling=sampled,
        num_sampling_users=task["batch_size"] if sampled else 0,
    )
    return recoder


def timed(call: Callable[[], object]) -> dict[str, Any]:
    """Returns the seconds of a call, as a sample."""
    started = time.perf_counter()
    call()
    return {"value": time.perf_counter() - started}


SHARED_TASKS: dict[str, Prepare] = {
    "step": prepare_step,
    "memory": prepare_memory,
    "evaluate": prepare_evaluate,
    "frame": prepare_frame,
}
