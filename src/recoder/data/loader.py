"""Loading batches: users in the order of the epoch, super-batch by super-batch."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from recoder._checks import whole_number
from recoder._random import derive_seed, epoch_order, fresh_seed
from recoder.data.batches import BatchCollator
from recoder.data.datasets import RecommendationDataset, UsersInteractions
from recoder.errors import ConfigError, DataTypeError

__all__ = ["RecommendationDataLoader"]

Pair = tuple[Any, Any]


class RecommendationDataLoader:
    """Yields ``(input, target)`` for each mini-batch of users; the target is None where the data set has none.

    Args:
        dataset: the users.
        batch_size: users per batch; the last one may have fewer.
        negative_sampling: restrict each batch to the items of its super-batch; see ``BatchCollator``.
        num_sampling_users: users of a super-batch, a multiple of ``batch_size``; 0: ``batch_size``. Only with
            ``negative_sampling``.
        num_workers: processes that prepare batches; 0: this one does.
        collate_fn: turns the ``UsersInteractions`` of a super-batch into a batch or a list of batches; by default
            ``BatchCollator.collate``. It is called for the input and, where there is one, for the target.
        shuffle: visit the users in an order that differs from pass to pass; False: in the order of the data set.
        seed: of the order. None: drawn from torch's global generator, and kept as ``seed``.
        num_uniform_negatives: items drawn uniformly from the catalogue, as candidates beside those that the users of
            a super-batch interacted with. Only with ``negative_sampling``, and without a ``collate_fn``.
        even: cut the users into as many batches of nearly equal sizes, instead of full ones and a rest, and the batches
            likewise into super-batches: a step with a handful of users would count as much as one with a full batch,
            and with ``negative_sampling`` have hardly an item that is none of theirs. Without a ``collate_fn``.

    Every pass over the loader is an epoch: its order, and the items drawn, are a function of the seed and of the number
    of the pass.

    Raises:
        ConfigError: if a size is no whole number or out of range, or ``num_sampling_users`` does not fit the other
            arguments.
        DataTypeError: if ``dataset`` is no ``RecommendationDataset``.
    """

    def __init__(
        self,
        dataset: RecommendationDataset,
        batch_size: int,
        negative_sampling: bool = False,
        num_sampling_users: int = 0,
        num_workers: int = 0,
        collate_fn: Callable[[UsersInteractions], Any] | None = None,
        *,
        shuffle: bool = True,
        seed: int | None = None,
        num_uniform_negatives: int = 0,
        even: bool = False,
    ) -> None:
        if not isinstance(dataset, RecommendationDataset):
            raise DataTypeError(
                f"dataset must be a recoder.data.RecommendationDataset, not {type(dataset).__name__}; "
                "wrap a matrix in RecommendationDataset(matrix)"
            )
        collator = BatchCollator(batch_size, negative_sampling)
        num_sampling_users = whole_number("num_sampling_users", num_sampling_users, 0)
        num_uniform_negatives = whole_number("num_uniform_negatives", num_uniform_negatives, 0)
        check_sampling(collator.batch_size, negative_sampling, num_sampling_users, num_uniform_negatives)
        if (num_uniform_negatives or even) and collate_fn is not None:
            name = "num_uniform_negatives" if num_uniform_negatives else "even"
            raise ConfigError(f"{name} needs the loader's own collate_fn; pass no other")
        self.dataset = dataset
        self.batch_size = collator.batch_size
        self.negative_sampling = negative_sampling
        self.num_sampling_users = num_sampling_users or collator.batch_size
        self.num_workers = whole_number("num_workers", num_workers, 0)
        self.num_uniform_negatives = num_uniform_negatives
        self.collate_fn = collate_fn or collator.collate
        self.even = even
        self.shuffle = shuffle
        self.seed = fresh_seed() if seed is None else seed
        self._passes = 0

    def __len__(self) -> int:
        """Returns the number of batches of a pass."""
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[Pair]:
        self._passes += 1
        return self.epoch(self._passes)

    def epoch(self, number: int, *, skip: int = 0) -> Iterator[Pair]:
        """Yields the batches of one epoch.

        Args:
            number: which epoch, from 1: its order, and the items drawn, follow from the seed and this number alone.
            skip: how many batches to leave out at the start; whole super-batches of them are not even loaded.
        """
        order = epoch_order(self.seed, number, len(self.dataset)) if self.shuffle else np.arange(len(self.dataset))
        first_batches = self._first_batches()
        whole = bisect_right(first_batches, skip) - 1
        super_batches = _SuperBatches(
            self.dataset,
            self.collate_fn,
            [order[start:stop] for start, stop in pairwise(map(self._first_user, first_batches))][whole:],
            [{"num_batches": stop - start} if self.even else {} for start, stop in pairwise(first_batches)][whole:],
            skip=whole,
            num_uniform=self.num_uniform_negatives,
            seed=derive_seed(self.seed, "uniform negatives", number),
        )
        # batch_size=None: an item of super_batches is a list of batches already. Its own generator: torch draws a seed
        # for workers at each start, which in a thread that runs ahead would come amid the draws of a model's layers
        loader = DataLoader(
            super_batches,
            batch_size=None,
            num_workers=self.num_workers,
            collate_fn=_as_it_is,
            generator=torch.Generator().manual_seed(derive_seed(self.seed, "workers", number)),
            worker_init_fn=_ignore_interrupts,
            multiprocessing_context=_start_method() if self.num_workers else None,
        )
        return islice((pair for pairs in loader for pair in pairs), skip - first_batches[whole], None)

    @property
    def mean_sampling_users(self) -> float:
        """Users of a super-batch, on average."""
        return len(self.dataset) / max(1, len(self._first_batches()) - 1)

    def _first_batches(self) -> list[int]:
        """Returns the number of the first batch of each super-batch, and last how many batches there are."""
        per_super_batch = self.num_sampling_users // self.batch_size
        num_super_batches = -(-len(self) // per_super_batch)
        if not self.even:
            return [min(number * per_super_batch, len(self)) for number in range(num_super_batches + 1)]
        return [number * len(self) // max(1, num_super_batches) for number in range(num_super_batches + 1)]

    def _first_user(self, batch: int) -> int:
        """Returns the place in the epoch's order where a batch begins."""
        users = len(self.dataset)
        return batch * users // max(1, len(self)) if self.even else min(batch * self.batch_size, users)


class _SuperBatches(Dataset[list[Pair]]):
    """Item ``i`` is the list of batches of the ``i``-th super-batch, after the first ``skip`` of them.

    Each has ``num_uniform`` more candidates, drawn with a seed of its own, where it is scored.

    Args:
        users: rows of the data set, of each super-batch.
        how: what to tell ``collate_fn`` besides, of each.
    """

    def __init__(
        self,
        dataset: RecommendationDataset,
        collate_fn: Callable[..., Any],
        users: list[npt.NDArray[np.int64]],
        how: list[dict[str, int]],
        *,
        skip: int,
        num_uniform: int,
        seed: int,
    ) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.users = users
        self.how = how
        self.skip = skip
        self.num_uniform = num_uniform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, index: int) -> list[Pair]:
        # torch's sampler never asks beyond the length
        interactions, target = self.dataset[self.users[index]]
        how, more = self.how[index], self._more_candidates(self.skip + index)
        inputs = _as_list(self.collate_fn(interactions, **how, **(more if target is None else {})))
        targets = [None] * len(inputs) if target is None else _as_list(self.collate_fn(target, **how, **more))
        if len(inputs) != len(targets):
            raise ConfigError(
                f"collate_fn made {len(inputs)} batches for the input and {len(targets)} for the target of the same "
                "users; it must cut both alike"
            )
        return list(zip(inputs, targets, strict=True))

    def _more_candidates(self, number: int) -> dict[str, npt.NDArray[np.int64]]:
        if not self.num_uniform:
            return {}
        generator = np.random.Generator(np.random.Philox(derive_seed(self.seed, "super-batch", number)))
        drawn = generator.integers(self.dataset.num_catalogue_items, size=self.num_uniform)
        if self.dataset.items is not None:
            items = self.dataset.items  # ascending
            places = np.searchsorted(items, drawn)
            drawn = places[items[np.minimum(places, len(items) - 1)] == drawn]
        return {"more_items": drawn}


def check_sampling(
    batch_size: int, negative_sampling: bool, num_sampling_users: int, num_uniform_negatives: int = 0
) -> None:
    """Checks that there is something to sample, and a super-batch can be cut into batches of ``batch_size``.

    Raises:
        ConfigError: if it cannot, or if there is no sampling to do.
    """
    if num_uniform_negatives and not negative_sampling:
        raise ConfigError(
            f"num_uniform_negatives is {num_uniform_negatives} but negative_sampling is False: all items are scored "
            "anyway; pass negative_sampling=True, or leave num_uniform_negatives at 0"
        )
    if not num_sampling_users:
        return
    if not negative_sampling:
        raise ConfigError(
            f"num_sampling_users is {num_sampling_users} but negative_sampling is False; "
            "pass negative_sampling=True, or leave num_sampling_users at 0"
        )
    if num_sampling_users < 0 or num_sampling_users % batch_size:
        below = num_sampling_users // batch_size * batch_size
        near = max(below, batch_size)
        raise ConfigError(
            f"num_sampling_users is {num_sampling_users}, no multiple of batch_size {batch_size}; "
            f"use for example {near}"
        )


def _as_list(collated: Any) -> list[Any]:
    # only a list is one of batches: a batch may itself be a tuple
    return collated if isinstance(collated, list) else [collated]


def _start_method() -> str | None:
    """Returns how workers start: forked, which copies no data set, where nobody has chosen or used another way.

    Python 3.14 would start them anew.
    """
    is_chosen = multiprocessing.get_start_method(allow_none=True) is not None
    return "fork" if sys.platform == "linux" and not is_chosen else None


def _ignore_interrupts(worker: int) -> None:
    """Leaves Ctrl-C, which a terminal sends to all processes, to the one that trains."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_it_is(item: list[Pair]) -> list[Pair]:
    return item
