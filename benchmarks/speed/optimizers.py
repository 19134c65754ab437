"""What an optimizer that remembers less costs in quality, beside adam with all of its state in float32."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.real_data_runner import DATA_SETS, read_data_set
from benchmarks.speed.lines import markdown_table
from recoder.data import RecommendationDataset, strong_generalization
from recoder.metrics import NDCG
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder

__all__ = ["OPTIMIZERS", "OptimizerRun", "best_rate", "is_close_to_adam", "measure_optimizers", "optimizers_text"]

METRIC = NDCG(k=100)
ADAM = "adam"
ROUNDED = "adam, bf16 state"
OPTIMIZERS: Mapping[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    ADAM: ({"optimizer_type": "adam"}, (5e-4, 1e-3, 2e-3, 5e-3)),
    ROUNDED: ({"optimizer_type": "adam", "optimizer_state": "bf16"}, ()),
    "rowwise_adagrad": ({"optimizer_type": "rowwise_adagrad"}, (3e-3, 1e-2, 3e-2, 1e-1)),
}
"""Arguments of ``Recoder``, and the learning rates to choose from; none: that of adam."""


@dataclass(frozen=True)
class OptimizerRun:
    """How the autoencoder is trained.

    Attributes:
        num_epochs: passes over the users.
        num_valid_users: held-out users on whom the learning rate is chosen.
        num_test_users: others on whom the results are compared.
        seed: of the split and of training.
    """

    num_epochs: int = 10
    num_valid_users: int = 2000
    num_test_users: int = 5000
    seed: int = 1
    factors: int = 200
    batch_size: int = 500


def measure_optimizers(folder: Path, run: OptimizerRun | None = None) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns, by data set and optimizer, the learning rate, the NDCG and the paired difference from adam's."""
    return {name: _measure_one(folder, name, run or OptimizerRun()) for name in DATA_SETS}


def _measure_one(folder: Path, name: str, run: OptimizerRun) -> dict[str, dict[str, Any]]:
    split = strong_generalization(
        read_data_set(folder, name),
        num_valid_users=run.num_valid_users,
        num_test_users=run.num_test_users,
        seed=run.seed,
    )
    train = RecommendationDataset(split.train.matrix)
    found: dict[str, dict[str, Any]] = {}
    results = {}
    for optimizer, (arguments, rates) in OPTIMIZERS.items():
        models = {rate: _trained(train, run, arguments, rate) for rate in rates or (found[ADAM]["lr"],)}
        rate = best_rate(models, lambda model: _judged(model, split.valid.dataset).mean[METRIC])
        result = results[optimizer] = _judged(models[rate], split.test.dataset)
        paired = result.compare(results[ADAM])[METRIC]
        found[optimizer] = {
            "lr": rate,
            "is_edge": len(rates) > 1 and rate in (rates[0], rates[-1]),
            "ndcg": [result.mean[METRIC], result.stderr[METRIC]],
            "difference": [paired.difference, paired.stderr],
        }
        print(name, optimizer, found[optimizer], file=sys.stderr, flush=True)
    return found


def best_rate(models: Mapping[float, Recoder], quality: Callable[[Recoder], float]) -> float:
    """Returns the learning rate of the model with the highest quality."""
    if len(models) == 1:
        return next(iter(models))
    return max(models, key=lambda rate: quality(models[rate]))


def _trained(train: RecommendationDataset, run: OptimizerRun, arguments: Mapping[str, Any], rate: float) -> Recoder:
    recoder = Recoder(DynamicAutoencoder([run.factors], sparse=True), loss="logloss", seed=run.seed, **arguments)
    recoder.train(train, lr=rate, num_epochs=run.num_epochs, batch_size=run.batch_size, negative_sampling=True)
    return recoder


def _judged(recoder: Recoder, users: RecommendationDataset) -> Any:
    return recoder.evaluate(users, METRIC.k, [METRIC])


def is_close_to_adam(results: Mapping[str, Mapping[str, Any]]) -> bool:
    """Returns True if on a data set rounded moments cost at most a standard error of the NDCG."""
    return bool(abs(results[ROUNDED]["difference"][0]) <= results[ADAM]["ndcg"][1])


def optimizers_text(results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Returns the Markdown table of the results; a learning rate at the edge of its grid is marked."""
    rows = [
        (
            name,
            optimizer,
            f"{found['lr']:g}{'*' if found['is_edge'] else ''}",
            "{:.4f} ± {:.4f}".format(*found["ndcg"]),
            "-" if optimizer == ADAM else "{:+.5f} ± {:.5f}".format(*found["difference"]),
        )
        for name, by_optimizer in results.items()
        for optimizer, found in by_optimizer.items()
    ]
    headings = ("data set", "optimizer", "lr", str(METRIC), "paired difference from adam")
    return markdown_table(headings, rows, num_text_columns=2)
