"""The cost model's constants, from what a process alone, and a link alone, take."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import nnls

from benchmarks.scale.model import Grid, Link, Machine, Work, costs
from benchmarks.scale.running import run_apart
from recoder.data import RecommendationDataLoader, RecommendationDataset

__all__ = ["WORKS", "fitted_link", "fitted_machine", "largest_misfit", "measured_alone", "works_of"]

WORKS: dict[str, dict[str, Any]] = {
    "logistic, sampled": {"model": "autoencoder", "loss": "logistic", "sampling": True},
    "Gram, all items": {"model": "autoencoder", "loss": "mse", "sampling": False},
}


def works_of(path: Path, batch: int) -> dict[str, Work]:
    """Returns the sizes of a step of each of ``WORKS`` on some data, but for the factors, which are one.

    Args:
        path: of the interactions.
        batch: users of a step.
    """
    dataset = RecommendationDataset(sparse.csr_matrix(sparse.load_npz(path)))
    loader = RecommendationDataLoader(dataset, batch, negative_sampling=True, seed=0)
    sizes = [(len(target.items), len(target.values)) for target, _ in loader.epoch(1)]
    candidates, interactions = (statistics.mean(numbers) for numbers in zip(*sizes, strict=True))
    num_items = dataset.num_items
    return {name: Work(batch, 1, num_items, candidates, interactions, is_gram="Gram" in name) for name in WORKS}


def measured_alone(task: Mapping[str, Any], *, number: int, rounds: int) -> list[float]:
    """Returns the seconds of a step of each of the task's tries by a process that shares nothing.

    Args:
        task: of ``worker``.
        number: so many of them run at once, as on the machine that is calibrated.
        rounds: medians are of so many.
    """
    module = "benchmarks.scale.worker"
    found = [alone for _ in range(rounds) for alone in run_apart(module, {**task, "parallel": None}, number)]
    return [
        statistics.median(tried["step_s"] for tried in tries)
        for tries in zip(*(f["tries"] for f in found), strict=True)
    ]


def fitted_machine(seconds: Sequence[tuple[Work, float]]) -> Machine:
    """Returns the machine whose steps take, as nearly as can be in relative terms, what was measured.

    Args:
        seconds: of steps of one process.
    """
    features = []
    for work, _ in seconds:
        alone = costs(work, Grid())
        features.append((alone.flops, alone.scores, alone.row_bytes, 1.0))
    matrix = np.array(features)
    scale = matrix.max(axis=0)
    measured = np.array([took for _, took in seconds])
    times, _ = nnls(matrix / scale / measured[:, None], np.ones(len(measured)))
    per_unit = times / scale
    product, score, row = (1 / time if time > 0 else np.inf for time in per_unit[:3])
    return Machine(float(product), float(score), float(row), float(per_unit[3]))


def largest_misfit(machine: Machine, seconds: Sequence[tuple[Work, float]]) -> float:
    """Returns the largest relative error of a machine on the steps of one process that it was fitted to."""
    return max(abs(costs(work, Grid()).compute_s(machine) / took - 1) for work, took in seconds)


def fitted_link(sums: Sequence[tuple[int, float]], number: int) -> Link:
    """Returns the link over which sums take, as nearly as can be in relative terms, what was measured.

    Args:
        sums: bytes of a tensor, and the seconds of its sum.
        number: of the processes that summed it.
    """
    hops = 2 * (number - 1)
    matrix = np.array([(hops, hops / number * size) for size, _ in sums])
    measured = np.array([took for _, took in sums])
    scale = matrix.max(axis=0)
    times, _ = nnls(matrix / scale / measured[:, None], np.ones(len(measured)))
    latency, per_byte = times / scale
    return Link(float(latency), float(1 / per_byte) if per_byte > 0 else np.inf)
