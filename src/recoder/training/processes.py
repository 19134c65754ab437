"""The processes that train one model together, and what each of them has of it.

They stand in a grid: those of a row have the same users and other items each, those of a column the same items and
other users each.
"""

from __future__ import annotations

import atexit
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from recoder.data.datasets import RecommendationDataset
from recoder.errors import ConfigError
from recoder.losses import fused_form
from recoder.nn.base import FactorizationModel
from recoder.nn.matrix_factorization import MatrixFactorization
from recoder.nn.parts import WHOLE, Parts
from recoder.ops.collectives import ALONE, Ranks, groups_of, let_go
from recoder.ops.kernels import library
from recoder.training.meeting import agree

__all__ = [
    "PARALLEL",
    "Processes",
    "check_cut_loss",
    "check_parallel",
    "check_same_data",
    "check_same_run",
    "dealt",
]

PARALLEL = ("items", "users", "items+users")

_MAY_DIFFER = ("model_checkpoint_prefix", "num_data_workers", "eval_batch_size")
"""Of the arguments of ``Recoder.train`` between the machines that train together."""

_RESTARTS = "TORCHELASTIC_RESTART_COUNT"

_are_again: bool | None = None
"""Whether the processes that this one met first were started anew; None: it has met none."""


@dataclass(frozen=True, eq=False)
class Processes:
    """Those that train together.

    Attributes:
        all: all of them.
        items: those with the same users, which have some of the items each.
        users: those with the same items, which see some of the users of each batch.
    """

    all: Ranks = ALONE
    items: Ranks = ALONE
    users: Ranks = ALONE

    @staticmethod
    def of(parallel: str | None, device: torch.device) -> Processes:
        """Returns the processes that ``torchrun`` started, or this one if it was not started so.

        Args:
            parallel: what is cut: ``'items'``, ``'users'`` or ``'items+users'``; None: this process is alone.
            device: where they compute.

        Raises:
            ConfigError: if ``parallel`` is something else.
        """
        if parallel is None:
            return Processes()
        if parallel not in PARALLEL:
            raise ConfigError(f"parallel is {parallel!r}; choose one of {', '.join(map(repr, PARALLEL))}, or None")
        if not dist.is_initialized() and "RANK" not in os.environ:
            return Processes()
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)  # where NCCL exchanges
        if not dist.is_initialized():
            _begin("nccl" if device.type == "cuda" else "gloo")
        size, rank = dist.get_world_size(), dist.get_rank()
        width = {"items": size, "users": 1}.get(parallel, size // _largest_divisor_to_root(size))
        rows = [list(range(start, start + width)) for start in range(0, size, width)]
        columns = [list(range(start, size, width)) for start in range(width)]
        return Processes(Ranks(dist.group.WORLD), _mine_of(rows, rank), _mine_of(columns, rank))

    @property
    def was_restarted(self) -> bool:
        """Whether ``torchrun`` started them anew, after one of them had died, as far as this one knows."""
        return self.can_be_restarted and (bool(_are_again) or _num_restarts() > 0)

    @property
    def can_be_restarted(self) -> bool:
        """Whether ``torchrun`` started them, which would start them anew."""
        return self.all is not ALONE and _RESTARTS in os.environ

    def parts(self, counts_N: npt.NDArray[np.int64], num_users: int | None) -> Parts:
        """Returns what this process has of a model: items as popular, together, as those of the others, and users.

        Args:
            counts_N: interactions of each item; all processes must have the same.
            num_users: rows of a table of users; None: there is none.

        Raises:
            ConfigError: if there are more processes than items or users.
        """
        if self.items.size == 1:
            return WHOLE
        number, of = self.items.rank, self.items.size
        for kind, rows in (("items", len(counts_N)), ("users", num_users)):
            if rows is not None and rows < of:
                raise ConfigError(f"{of} processes cannot share {rows} {kind}; start at most {rows}")
        users = None
        if num_users is not None:
            users = torch.arange(num_users * number // of, num_users * (number + 1) // of)
        return Parts(self.items, torch.from_numpy(dealt(counts_N, of)[number]), users)


def dealt(counts_N: npt.NDArray[np.int64], num_parts: int) -> list[npt.NDArray[np.int64]]:
    """Returns the items of each part, ascending: dealt to and fro by popularity, so that parts have equally many.

    Args:
        counts_N: how popular each item is.
        num_parts: how many parts.
    """
    by_popularity = np.argsort(-counts_N, kind="stable")
    places = np.arange(len(counts_N))
    rounds, seats = np.divmod(places, num_parts)
    part_of = np.where(rounds % 2, num_parts - 1 - seats, seats)
    return [np.sort(by_popularity[part_of == part]) for part in range(num_parts)]


def _begin(backend: str) -> None:
    """Meets the other processes."""
    global _are_again
    store, rank, size = next(rendezvous("env://"))
    name, is_again = agree(store, rank, size, _num_restarts())
    if _are_again is None:  # or else it met the others in this start already
        _are_again = is_again
    dist.init_process_group(backend, store=PrefixStore(f"recoder/{name}", store), rank=rank, world_size=size)
    atexit.register(let_go)


def _num_restarts() -> int:
    """Returns how often ``torchrun`` has started the processes anew."""
    return int(os.environ.get(_RESTARTS, "0"))


def check_parallel(model: FactorizationModel, processes: Processes, optimizer_type: str) -> None:
    """Checks that the processes can train the model together.

    Raises:
        ConfigError: if they cannot.
    """
    name = type(model).__name__
    if processes.all.size > 1 and (model.is_solved or optimizer_type == "als"):
        raise ConfigError(
            f"{name} is not trained by steps, so {processes.all.size} processes have none to share; run one"
        )
    if processes.items.size > 1 and (not model.can_be_cut or _folds_in(model)):
        raise ConfigError(f"{name} needs all items in one place; use parallel='users'")


def check_cut_loss(model: FactorizationModel, loss: nn.Module, processes: Processes) -> None:
    """Checks that the loss of all items is a sum of what processes compute of some each.

    Raises:
        ConfigError: if it is not.
    """
    if processes.items.size == 1 or (model.is_factorized and not model.brings_loss and fused_form(loss) is not None):
        return
    what = f"the loss of {type(model).__name__}" if model.brings_loss else f"{type(loss).__name__} as it is here"
    if not model.is_factorized:
        what = f"a loss of what {type(model).__name__}.forward returns"
    raise ConfigError(
        f"{what} needs the scores of all items in one place; use parallel='users', or one of the losses 'mse', "
        "'logistic' (without loss_params) and 'logloss' of a model that scores by factors"
    )


def check_same_data(
    ranks: Ranks, seed: int, train: RecommendationDataset, validation: RecommendationDataset | None
) -> None:
    """Checks that all processes were given the same data, by its size, and the same seed.

    Raises:
        ConfigError: if they were not.
    """
    numbers = {"seed": seed, "users of train_dataset": len(train), "items of train_dataset": train.num_items}
    numbers["interactions of train_dataset"] = train.interactions_matrix.nnz
    numbers["users of val_dataset"] = 0 if validation is None else len(validation)
    _check_same(ranks, numbers)


def check_same_run(ranks: Ranks, epoch: int, step: int, arguments: Mapping[str, Any]) -> None:
    """Checks that all processes stand where the others do, and take the same steps with the same code.

    Args:
        ranks: the processes.
        epoch: whole ones.
        step: of the next one.
        arguments: of ``Recoder.train``, as JSON values.

    Raises:
        ConfigError: if they do not.
    """
    numbers = {"epochs that are done (of the files that they loaded)": epoch, "steps of the next epoch": step}
    numbers["model_checkpoint_prefix (0: there is none)"] = int(arguments["model_checkpoint_prefix"] is not None)
    for name, value in arguments.items():
        if name not in _MAY_DIFFER:
            is_number = isinstance(value, int)
            described = name if is_number else f"{name} (as a checksum)"
            numbers[described] = value if is_number else zlib.crc32(json.dumps(value).encode())
    # they decide how gradients are sent
    numbers["compiled kernels (1: there are some, see recoder doctor)"] = int(library() is not None)
    _check_same(ranks, numbers)


def _check_same(ranks: Ranks, numbers: Mapping[str, int]) -> None:
    if ranks.size == 1:
        return
    for name, number in numbers.items():
        most, least = ranks.largest(number), -ranks.largest(-number)
        if most != least:
            raise ConfigError(
                f"the processes differ in the {name}: {least} here, {most} there; all of them must be given the same"
            )


def _folds_in(model: FactorizationModel) -> bool:
    return isinstance(model, MatrixFactorization) and model.folds_in_users


def _mine_of(lines: list[list[int]], rank: int) -> Ranks:
    """Returns the line with this process; every process takes part in making the groups of all lines."""
    if len(lines[0]) == 1:
        return ALONE
    return next(Ranks(group) for ranks, group in zip(lines, groups_of(lines), strict=True) if rank in ranks)


def _largest_divisor_to_root(number: int) -> int:
    return max(divisor for divisor in range(1, int(number**0.5) + 1) if number % divisor == 0)
