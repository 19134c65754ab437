"""A process of several that trains to some epoch, from a checkpoint if there is one, and saves."""

from __future__ import annotations

import os
import sys

import numpy as np
import torch

from parallel.equality_worker import EPOCHS, SAMPLED, data, deep
from recoder.model import Recoder
from recoder.nn import MatrixFactorization

ARGUMENTS = {**SAMPLED, "num_epochs": 2 * EPOCHS, "batch_size": 40, "lr": 0.01, "checkpoint_freq": 1}
MODELS = {
    "deep": (deep, {}),
    "factors": (lambda: MatrixFactorization(8, "tanh", dropout_prob=0.2, sparse=True), {}),
    "bf16": (deep, {"optimizer_state": "bf16"}),
    "rowwise": (deep, {"optimizer_type": "rowwise_adagrad"}),
}
"""Each with arguments of ``Recoder``."""


def recoder(model: str, parallel: str | None) -> Recoder:
    """A new one."""
    make, arguments = MODELS[model]
    return Recoder(make(), loss="logloss", parallel=parallel, seed=5, **{"optimizer_type": "adam", **arguments})


def main(folder: str, model: str, parallel: str, epochs: str, start: str = "") -> None:
    """Trains, saving checkpoints with the prefix ``folder/run``, and writes a single file of the weights."""
    train, _, users = data()
    made = recoder(model, parallel)
    if start:
        made.init_from_model_file(start)
    prefix = f"{folder}/run"
    made.train(train, **{**ARGUMENTS, "num_epochs": int(epochs)}, model_checkpoint_prefix=prefix)
    np.save(f"{folder}/ranked-{os.environ['RANK']}.npy", made.ranked(users, 10))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    main(*sys.argv[1:])
