"""How long an answer takes: ``python -m benchmarks latency --data DIR`` prints a table for each data set.

Models are trained by their recipes and asked as a program would ask them: in ids, answers as tables. One request is
the median of many, each for another user; of one call for many users the time is divided by their number.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recoder
from benchmarks.real_data_runner import DATA_SETS, read_data_set
from benchmarks.speed.lines import markdown_table, number_text
from benchmarks.speed.machine import measured_on
from recoder.api.fitted import FittedModel
from recoder.data import HeldOut, Interactions, strong_generalization
from recoder.errors import ConfigError, NotEnoughMemoryError
from recoder.recipes import RECIPES

__all__ = ["COLUMNS", "latencies", "main"]

K = 100
COLUMNS = (
    "a new user",
    "each of many new users",
    "a user of training",
    "the same, one item excluded",
    "each of many users of training",
    "an item",
)
NUM_SINGLE, NUM_TOGETHER, NUM_REPEATED = 50, 2000, 5
SEED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, asks, prints the tables and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks latency",
        description=f"Milliseconds of an answer with {K} items to recommend, or as many items similar to one.",
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("RECODER_DATA_DIR"), help="folder of the data sets")
    parser.add_argument("--only", choices=sorted(DATA_SETS), help="one data set")
    parser.add_argument("--recipes", type=lambda text: text.split(","), default=list(RECIPES), metavar="NAME,...")
    options = parser.parse_args(arguments)
    if options.data is None or not Path(options.data).is_dir():
        parser.error(f"--data (default: RECODER_DATA_DIR) is {options.data}; name the folder of the data sets")
    unknown = [name for name in options.recipes if name not in RECIPES]
    if unknown:
        parser.error(f"--recipes names {', '.join(unknown)}; there are {', '.join(RECIPES)}")
    for name in [options.only] if options.only else DATA_SETS:
        _print_table(name, read_data_set(Path(options.data), name), options.recipes)
    print(measured_on(threads=torch.get_num_threads()))
    return 0


def latencies(model: FittedModel, train: Interactions, new: HeldOut, seed: int = SEED) -> tuple[float | None, ...]:
    """Returns the milliseconds of each kind of request, as ``COLUMNS`` names them; None where a model has no answer.

    Args:
        model: who answers.
        train: what it was trained on.
        new: users that it does not know.
        seed: of the choice of users and items.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(new.dataset))[:NUM_TOGETHER]
    given = new.dataset.interactions_matrix[rows]
    histories = [new.item_ids.raw_ids(cols) for cols in np.split(given.indices, given.indptr[1:-1])]
    users, items = (
        ids.raw_ids(rng.permutation(len(ids))[:number])
        for ids, number in ((train.user_ids, NUM_TOGETHER), (train.item_ids, NUM_SINGLE))
    )
    requests: tuple[list[Callable[[], Any]], ...] = (
        [partial(model.recommend, histories=[history], k=K) for history in histories[:NUM_SINGLE]],
        [partial(model.recommend, histories=histories, k=K)] * NUM_REPEATED,
        [partial(model.recommend, users=[user], k=K) for user in users[:NUM_SINGLE]],
        [partial(model.recommend, users=[user], k=K, exclude=items[:1]) for user in users[:NUM_SINGLE]],
        [partial(model.recommend, users=users, k=K)] * NUM_REPEATED,
        [partial(model.similar_items, [item], k=K) for item in items],
    )
    numbers = 1, len(histories), 1, 1, len(users), 1
    times = map(_milliseconds, requests)
    return tuple(None if took is None else took / number for took, number in zip(times, numbers, strict=True))


def _milliseconds(requests: Sequence[Callable[[], Any]]) -> float | None:
    """Returns the median; the first request is answered once more before. None: the model does not answer such."""
    try:
        requests[0]()
    except ConfigError:
        return None
    times = []
    for request in requests:
        started = time.perf_counter()
        request()
        times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def _print_table(name: str, data: Interactions, recipes: Sequence[str]) -> None:
    """Prints a line for each recipe as soon as its model was trained and asked."""
    split = strong_generalization(data, num_test_users=NUM_TOGETHER, num_valid_users=1, seed=SEED)
    train = split.train
    print(f"{name}: {train.num_users:,} users in training, {train.num_items:,} items\n")
    print(markdown_table(("recipe", *COLUMNS), []), end="", flush=True)
    for model in recipes:
        try:
            fitted = recoder.fit(train, model, seed=SEED)
        except NotEnoughMemoryError as error:
            print(f"{model}: {error}", file=sys.stderr, flush=True)
            continue
        cells = ["-" if took is None else number_text(took) for took in latencies(fitted, train, split.test)]
        print(f"| {model} | {' | '.join(cells)} |", flush=True)
        del fitted  # there may not be memory for two
    print()
