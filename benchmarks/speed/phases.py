"""Where a training step's time goes: ``python -m benchmarks phases`` prints a Markdown table.

The stages are timed by wrapping the functions that a step consists of, in one run each; the matrix products are those
of PyTorch, which ``torch.profiler`` counts in a second run that makes do without the library's own.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.speed.machine import measured_on
from benchmarks.synthetic import make_interactions
from recoder.data import RecommendationDataset
from recoder.data.loader import _SuperBatches
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization
from recoder.ops import fused, gram
from recoder.training.optimizers import ModelOptimizer
from recoder.training.step import BatchLoss

__all__ = ["main", "stage_times"]

STAGES: dict[str, tuple[Any, str]] = {
    "batch": (_SuperBatches, "__getitem__"),
    "by column": (BatchLoss, "prepared"),
    "encode": (BatchLoss, "_factors_and_items"),
    "loss and its gradients": (BatchLoss, "_loss_of_factors"),
    "rest of the backward pass": (torch.autograd, "backward"),
    "optimizer": (ModelOptimizer, "step"),
}
WARM_UP, STEPS = 10, 30
_PRODUCTS = {"aten::mm", "aten::addmm", "aten::addmm_"}

RUNS: dict[str, tuple[Callable[[], FactorizationModel], str, bool, str]] = {
    "autoencoder, logistic, sampled": (lambda: DynamicAutoencoder([200]), "logistic", True, "fp32"),
    "the same, bf16": (lambda: DynamicAutoencoder([200]), "logistic", True, "bf16"),
    "autoencoder, multinomial, sampled, `sparse`": (
        lambda: DynamicAutoencoder([200], sparse=True),
        "logloss",
        True,
        "fp32",
    ),
    "the same, bf16 ": (lambda: DynamicAutoencoder([200], sparse=True), "logloss", True, "bf16"),
    "factorization, logistic, sampled, `sparse`": (
        lambda: MatrixFactorization(200, sparse=True),
        "logistic",
        True,
        "fp32",
    ),
    "autoencoder, logistic, all items": (lambda: DynamicAutoencoder([200]), "logistic", False, "fp32"),
    "autoencoder, mse, all items": (lambda: DynamicAutoencoder([200]), "mse", False, "fp32"),
}


def main(arguments: Sequence[str] = ()) -> int:
    """Prints the table and returns the exit status; there are no arguments."""
    argparse.ArgumentParser(prog="python -m benchmarks phases", description="Times the stages of a step.").parse_args(
        arguments
    )
    dataset = RecommendationDataset(make_interactions())
    print("| work |", " | ".join(STAGES), "| matrix products |\n|---|" + "--:|" * (len(STAGES) + 1))
    for work, (make, loss, sampled, precision) in RUNS.items():
        times = stage_times(dataset, make(), loss, sampled, precision)
        cells = [f"{times[stage]:.1f}" for stage in (*STAGES, "matrix products")]
        print(f"| {work.strip()} | {' | '.join(cells)} |", flush=True)
    print(f"\n{measured_on(threads=torch.get_num_threads())}")
    return 0


def stage_times(
    dataset: RecommendationDataset, model: FactorizationModel, loss: str, sampled: bool, precision: str
) -> dict[str, float]:
    """Returns the median milliseconds of each stage of a step."""
    recoder = Recoder(model, optimizer_type="adam", loss=loss, seed=1, precision=precision)

    def train(num_epochs: int, steps: int) -> None:
        recoder.train(dataset, num_epochs=num_epochs, iters_per_epoch=steps, batch_size=500, negative_sampling=sampled)

    with _timed_stages() as times:
        train(1, WARM_UP + STEPS)
    without_ours = patch.object(fused, "one_pass_serves", _no), patch.object(gram._ItemPart, "is_served", _no)
    with without_ours[0], without_ours[1], profile(activities=[ProfilerActivity.CPU]) as profiled:
        train(2, WARM_UP)
    products = sum(event.self_cpu_time_total for event in profiled.key_averages() if event.key in _PRODUCTS)
    medians = {stage: statistics.median(times[stage][WARM_UP:]) for stage in STAGES}
    return medians | {"matrix products": products / WARM_UP / 1e3}


def _no(*arguments: object) -> bool:
    return False


@contextmanager
def _timed_stages() -> Iterator[dict[str, list[float]]]:
    """Yields the milliseconds of each call of each stage, while the block runs."""
    times: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        for stage, (owner, name) in STAGES.items():
            stack.enter_context(patch.object(owner, name, _timed(getattr(owner, name), times[stage])))
        yield times


def _timed(function: Callable[..., Any], times: list[float]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            times.append((time.perf_counter() - started) * 1e3)

    return timed
