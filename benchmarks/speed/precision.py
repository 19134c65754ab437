"""What bfloat16, and remembering less, cost in quality: ``python -m benchmarks precision --data DIR`` prints tables.

Products in bfloat16: the same training in both precisions, and the same model recommending in both. The optimizer's
state: the same training by optimizers that keep less of it, each with the learning rate that is best on validation
users. Exits with 1 if bfloat16 of either kind changes the NDCG@100 by more than one standard error, or if fewer than
99 % of the users get the same list.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.real_data_runner import DATA_SETS, read_data_set
from benchmarks.speed.lines import markdown_table
from benchmarks.speed.machine import measured_on
from benchmarks.speed.optimizers import OptimizerRun, is_close_to_adam, measure_optimizers, optimizers_text
from recoder.data import RecommendationDataset, strong_generalization
from recoder.metrics import NDCG
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder

__all__ = ["PrecisionRun", "is_close", "main", "measure", "same_lists", "table_text"]

METRIC = NDCG(k=100)
LEAST_SAME_LISTS = 0.99


@dataclass(frozen=True)
class PrecisionRun:
    """How the autoencoder is trained.

    Attributes:
        num_epochs: passes over the users.
        num_eval_users: held-out users that are judged, at most.
        seed: of the split and of training.
    """

    num_epochs: int = 10
    num_eval_users: int = 5000
    seed: int = 1
    factors: int = 200
    batch_size: int = 500
    lr: float = 2e-3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the table and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks precision", description="Compares bf16 with fp32, and optimizers with adam."
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("RECODER_DATA_DIR"), help="folder of the data sets")
    parser.add_argument("--only", choices=("products", "optimizers"), help="one of the two tables")
    parser.add_argument("--epochs", type=int, default=10, help="of training (default: %(default)s)")
    options = parser.parse_args(arguments)
    folder = options.data
    if folder is None or not Path(folder).is_dir():
        parser.error(f"--data (default: RECODER_DATA_DIR) is {folder}; name the folder of the data sets")
    are_close = []
    if options.only != "optimizers":
        results = measure(Path(folder), PrecisionRun(num_epochs=options.epochs))
        print(table_text(results), flush=True)
        are_close += map(is_close, results.values())
    if options.only != "products":
        of_optimizers = measure_optimizers(Path(folder), OptimizerRun(num_epochs=options.epochs))
        print(optimizers_text(of_optimizers))
        are_close += map(is_close_to_adam, of_optimizers.values())
    print(f"\n{measured_on(threads=torch.get_num_threads())}")
    return 0 if all(are_close) else 1


def is_close(result: Mapping[str, Any]) -> bool:
    """Returns True if a data set's result is what bf16 promises."""
    difference, _ = result["difference"]
    return bool(abs(difference) <= result["ndcg"]["fp32"][1] and result["same_lists"] >= LEAST_SAME_LISTS)


def table_text(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the Markdown table of the results."""
    rows = [
        (
            name,
            *("{:.4f} ± {:.4f}".format(*result["ndcg"][precision]) for precision in ("fp32", "bf16")),
            "{:+.4f} ± {:.4f}".format(*result["difference"]),
            f"{result['same_lists']:.1%}",
        )
        for name, result in results.items()
    ]
    return markdown_table(("data set", f"{METRIC}, fp32", "bf16", "paired difference", "same 100 items"), rows)


def measure(folder: Path, run: PrecisionRun | None = None) -> dict[str, dict[str, Any]]:
    """Returns, by data set, the NDCG of both precisions, their paired difference, and the share of equal lists.

    Args:
        folder: of the data sets.
        run: how to train.
    """
    return {name: _measure_one(folder, name, run or PrecisionRun()) for name in DATA_SETS}


def _measure_one(folder: Path, name: str, run: PrecisionRun) -> dict[str, Any]:
    train, held_out = _split(folder, name, run)
    trained = {precision: _trained(train, run, precision) for precision in ("fp32", "bf16")}
    results = {
        precision: recoder.evaluate(held_out, METRIC.k, [METRIC], num_users=run.num_eval_users)
        for precision, recoder in trained.items()
    }
    paired = results["bf16"].compare(results["fp32"])[METRIC]
    return {
        "ndcg": {precision: [result.mean[METRIC], result.stderr[METRIC]] for precision, result in results.items()},
        "difference": [paired.difference, paired.stderr],
        "same_lists": same_lists(trained["fp32"], held_out, METRIC.k),
    }


def same_lists(recoder: Recoder, users: RecommendationDataset, k: int) -> float:
    """Returns the share of users to whom a model recommends the same items in the same order in both precisions."""
    history, _ = users[:]
    exact = recoder.ranked(history, k)
    recoder.precision = "bf16"
    rounded = recoder.ranked(history, k)
    recoder.precision = "fp32"
    return float(np.mean((exact == rounded).all(axis=1)))


def _trained(train: RecommendationDataset, run: PrecisionRun, precision: str) -> Recoder:
    recoder = Recoder(
        DynamicAutoencoder([run.factors]), optimizer_type="adam", loss="logloss", seed=run.seed, precision=precision
    )
    recoder.train(train, lr=run.lr, num_epochs=run.num_epochs, batch_size=run.batch_size, negative_sampling=True)
    return recoder


def _split(folder: Path, name: str, run: PrecisionRun) -> tuple[RecommendationDataset, RecommendationDataset]:
    split = strong_generalization(
        read_data_set(folder, name), num_valid_users=1, num_test_users=run.num_eval_users, seed=run.seed
    )
    return RecommendationDataset(split.train.matrix), split.test.dataset
