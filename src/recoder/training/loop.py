"""The training loop: epochs of steps, with events around them."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice, repeat
from typing import Any

import torch
from torch import Tensor, nn

from recoder._random import derive_seed
from recoder.data.batches import Batch
from recoder.data.datasets import RecommendationDataset
from recoder.data.loader import RecommendationDataLoader
from recoder.data.prefetch import prefetched
from recoder.errors import DivergedError
from recoder.nn.base import FactorizationModel
from recoder.nn.noise import place_users, seed_step
from recoder.ops.collectives import ALONE, Ranks
from recoder.training.alternating import AlternatingLeastSquares
from recoder.training.config import TrainConfig
from recoder.training.devices import has_idle_core
from recoder.training.events import EpochReport
from recoder.training.gradients import sum_gradients
from recoder.training.interrupts import finish_step_on_interrupt
from recoder.training.optimizers import ModelOptimizer
from recoder.training.plan import Plan
from recoder.training.processes import Processes
from recoder.training.relay import Relay
from recoder.training.step import BatchLoss

__all__ = ["Progress", "alternate", "solve", "train_epochs"]

Pair = tuple[Batch, Batch | None]


@dataclass
class Progress:
    """How far a run is: ``epoch`` epochs are whole, and ``step`` steps of the next one are done."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    """Training loss of those steps, summed over users."""
    num_users: int = 0
    """Users of those steps."""
    total: Tensor | None = field(default=None, init=False, repr=False, compare=False)
    """While an epoch runs, what ``loss_sum`` will be at its end: on the device, so that no step waits for it."""

    data: str | None = None
    """What it is trained on, as ``data_mark`` tells."""

    has_diverged: bool = field(default=False, init=False, compare=False)
    """Whether the weights are of no use; such a run is not written to files."""

    num_taken: int = field(default=0, init=False, compare=False)
    """Steps that were taken since this object was made, those of epochs that were begun anew too."""

    def to_json(self, ranks: Ranks = ALONE) -> dict[str, Any]:
        """Returns it as JSON values; within an epoch all processes must ask."""
        loss_sum = self.loss_sum if self.total is None else float(ranks.sum_(self.total.clone()))
        found = {"epoch": self.epoch, "step": self.step, "loss_sum": loss_sum, "num_users": self.num_users}
        return {**found, "data": self.data}

    def begin_epoch_anew(self) -> None:
        """Forgets the steps since the last whole epoch."""
        self.step, self.loss_sum, self.num_users = 0, 0.0, 0


def train_epochs(
    model: FactorizationModel,
    loss: nn.Module,
    optimizer: ModelOptimizer,
    loader: RecommendationDataLoader,
    config: TrainConfig,
    progress: Progress,
    relay: Relay,
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype | None = None,
    lowered_by: Tensor | None = None,
    processes: Processes | None = None,
) -> None:
    """Trains until ``config.num_epochs`` epochs are whole, from where ``progress`` stands, which it moves on.

    Whatever is drawn at random follows from the seed, the epoch and the step alone. An interrupt takes effect between
    steps, so that ``progress``, model and optimizer then agree. ``dtype`` is that of the inputs of matrix products;
    None: of the parameters. ``lowered_by`` is subtracted from the items' scores. Of several ``processes`` each computes
    its part of every step.

    Raises:
        DivergedError: if an epoch's loss is not finite.
    """
    together = processes or Processes()
    plan = Plan(model, config.iters_per_epoch or len(loader))
    steps_per_epoch = plan.num_steps
    done = progress.epoch * steps_per_epoch + progress.step
    model.train()
    with (
        plan,
        _not_rounded(device),
        optimizer.row_gradients(),
        _gradients_released(optimizer),
        _own_random_state(model, device),
        finish_step_on_interrupt(together.all) as interrupt,
        relay.run(done, config.num_epochs * steps_per_epoch),
    ):
        batch_loss = BatchLoss(model, loss, dtype, lowered_by=lowered_by)
        for epoch in range(progress.epoch + 1, config.num_epochs + 1):
            started = time.perf_counter()
            first_step = (epoch - 1) * steps_per_epoch
            before = progress.loss_sum if together.all.is_first else 0.0
            total = progress.total = torch.tensor(before, dtype=torch.float64, device=device)
            batches = _shares(_epoch_batches(loader, epoch, progress.step, plan), together.users)
            try:
                for interactions, target in _prepared(batches, loader, batch_loss, device):
                    _seed_all(model, derive_seed(seed, "step", epoch, progress.step), together.users, device)
                    if together.users.size > 1:
                        place_users(model, interactions.first_user, interactions.num_users_of_all)
                    plan.prepare(progress.step)
                    optimizer.zero_grad()
                    step_loss = batch_loss.backward(
                        interactions.to(device), None if target is None else target.to(device)
                    )
                    sum_gradients(optimizer.gradients(), together.users)
                    with interrupt.unbroken():
                        optimizer.step(config.lr_at(first_step + progress.step, steps_per_epoch))
                        model.step_taken()
                        total += step_loss * interactions.num_users_of_all
                        progress.num_users += interactions.num_users_of_all
                        progress.step += 1
                        progress.num_taken += 1
                    relay.step_end()
                    if interrupt.is_agreed(together.all, progress.step):
                        together.all.sum_(total)
                        interrupt(together.all)
                together.all.sum_(total)
            finally:
                del batches  # or else its workers would live as long as a traceback that holds this frame
                # the one wait for the device in an epoch; whatever ends the steps, the loss of those done is known
                progress.loss_sum, progress.total = float(total), None
            loss_value = progress.loss_sum / progress.num_users
            lr = config.lr_at(first_step + steps_per_epoch - 1, steps_per_epoch)
            report = EpochReport(epoch, epoch == config.num_epochs, loss_value, lr, time.perf_counter() - started)
            _check_finite(report, "a lower lr")
            _end_epoch(report, progress, relay)
            interrupt(together.all)
            if report.is_last:  # a callback may have said so
                break


def _not_rounded(device: torch.device) -> torch.autocast:
    """Turns off what a caller's ``torch.autocast`` would do to matrix products: ``precision`` says what is rounded.

    What autocast keeps of parameters it would keep until the last of nested blocks ends, though each step changes them.
    """
    return torch.autocast(device.type, enabled=False, cache_enabled=False)


@contextlib.contextmanager
def _gradients_released(optimizer: ModelOptimizer) -> Iterator[None]:
    """Drops the gradients of the last step at the end: they are as large as the tables."""
    try:
        yield
    finally:
        optimizer.zero_grad()


def solve(
    model: FactorizationModel,
    dataset: RecommendationDataset,
    config: TrainConfig,
    progress: Progress,
    relay: Relay,
    device: torch.device,
) -> None:
    """Trains a model that does not learn by steps: all at once, as the run's last epoch."""
    model.eval()
    with _not_rounded(device), relay.run(0, 1):
        started = time.perf_counter()
        with torch.no_grad():
            model.solve(dataset.interactions_matrix)
        seconds = time.perf_counter() - started
        progress.step, progress.num_users, progress.num_taken = 1, len(dataset), progress.num_taken + 1
        relay.step_end()
        report = EpochReport(config.num_epochs, is_last=True, loss=math.nan, lr=0.0, seconds=seconds)
        _end_epoch(report, progress, relay)


def alternate(
    model: FactorizationModel,
    sweeps: AlternatingLeastSquares,
    config: TrainConfig,
    progress: Progress,
    relay: Relay,
) -> None:
    """Trains by sweeps over all users and items, one an epoch and its only step; an interrupt lets it finish.

    A second one does not: the model is then better than before the sweep, if not as good as after it.

    Raises:
        DivergedError: if the objective is not finite.
    """
    model.eval()
    done = progress.epoch + progress.step
    with _not_rounded(sweeps.device), finish_step_on_interrupt() as interrupt, relay.run(done, config.num_epochs):
        for epoch in range(progress.epoch + 1, config.num_epochs + 1):
            started = time.perf_counter()
            if not progress.step:
                sweeps.sweep(interrupt.unbroken)
                with interrupt.unbroken():
                    objective = sweeps.objective()  # first: where memory runs out, the sweep does not count
                    progress.step, progress.num_users, progress.loss_sum = 1, sweeps.num_users, objective
                    progress.num_taken += 1
                relay.step_end()
                interrupt()
            loss_value = progress.loss_sum / progress.num_users
            report = EpochReport(epoch, epoch == config.num_epochs, loss_value, 0.0, time.perf_counter() - started)
            _check_finite(report, "a larger weight_decay or a smaller confidence")
            _end_epoch(report, progress, relay)
            interrupt()
            if report.is_last:  # a callback may have said so
                break


def _end_epoch(report: EpochReport, progress: Progress, relay: Relay) -> None:
    """Tells the callbacks, and counts the epoch in between: a run that is stopped in validation validates once more."""
    relay.epoch_end(report)
    progress.epoch, progress.step, progress.loss_sum, progress.num_users = report.epoch, 0, 0.0, 0
    relay.checkpoint(report)


def _epoch_batches(loader: RecommendationDataLoader, epoch: int, skip: int, plan: Plan) -> Iterator[Pair]:
    """Yields the batches of an epoch's passes, each in an order of its own, without the first ``skip``."""
    done, rest = divmod(skip, plan.steps_per_pass)
    for number in range(done, plan.num_passes):
        order = (epoch - 1) * plan.num_passes + number + 1
        yield from _pass_batches(loader, order, rest if number == done else 0, plan.steps_per_pass)


def _shares(pairs: Iterator[Pair], ranks: Ranks) -> Iterator[Pair]:
    """Returns the batches with this process's part of their users."""
    if ranks.size == 1:
        return pairs
    number, of = ranks.rank, ranks.size
    return (
        (interactions.share(number, of), None if target is None else target.share(number, of))
        for interactions, target in pairs
    )


def _pass_batches(loader: RecommendationDataLoader, order: int, skip: int, steps: int) -> Iterator[Pair]:
    """Yields steps ``skip`` to ``steps`` of a pass: its batches in its own order, over and over if need be."""
    first = skip % len(loader)
    passes = chain(loader.epoch(order, skip=first), chain.from_iterable(loader.epoch(order) for _ in repeat(None)))
    return islice(passes, max(0, steps - skip))


def _prepared(
    batches: Iterator[Pair], loader: RecommendationDataLoader, batch_loss: BatchLoss, device: torch.device
) -> Iterator[Pair]:
    """Yields the batches with what the loss needs of them, made while the step before is computed."""
    ready = map(batch_loss.prepared, batches)
    # worker processes run ahead by themselves, and are not to be forked from a thread
    return prefetched(ready) if loader.num_workers == 0 and has_idle_core(device) else ready


def _check_finite(report: EpochReport, instead: str) -> None:
    if not math.isfinite(report.loss):
        raise DivergedError(
            f"the training loss of epoch {report.epoch} is {report.loss} with learning rate {report.lr:g}; nothing "
            f"of this epoch was saved: load the last checkpoint, or make a new Recoder, and train it with {instead}"
        )


def _seed_all(model: nn.Module, step_seed: int, users: Ranks, device: torch.device) -> None:
    """Seeds the library's noise layers, and torch's generators for layers of the user's own.

    The library's draw by the user's place in the batch; those of torch would draw the same for each process's users.
    """
    seed_step(model, step_seed)
    if users.size > 1:
        step_seed = derive_seed(step_seed, "users", users.rank)
    # not torch.manual_seed: without a CUDA context it queues a call for later, at every step anew
    torch.default_generator.manual_seed(step_seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(step_seed)


@contextlib.contextmanager
def _own_random_state(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Leaves torch's generators as they were before, and the model in evaluation mode, its noise without a seed."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            seed_step(model, None)
            # scoring finds it so, and never changes it: predictions may run in several threads
            model.eval()
