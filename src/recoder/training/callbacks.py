"""What the library does around the training loop: progress, validation, history, checkpoints."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from recoder._progress import progress_bar
from recoder.data.batches import full_batch
from recoder.data.datasets import RecommendationDataset
from recoder.metrics import RecommenderEvaluator
from recoder.metrics.judging import check_can_judge, workers_for
from recoder.metrics.metric import list_length
from recoder.nn.base import FactorizationModel
from recoder.ops.collectives import ALONE, Ranks
from recoder.recommender.inference import InferenceRecommender
from recoder.recommender.scoring import BLOCK_SCORES, ModelScorer, evaluation_mode
from recoder.training.config import TrainConfig
from recoder.training.events import Callback, EpochReport, TrainingRun
from recoder.training.history import History
from recoder.training.step import BatchLoss
from recoder.training.stopping import Best, GivesBestBack, StopsEarly

__all__ = ["Agreement", "Checkpoints", "ProgressBar", "Recorder", "Validation", "make_callbacks"]

_log = logging.getLogger("recoder.training")


class ProgressBar(Callback):
    """A bar over all steps of the run; on a terminal or in a notebook only."""

    def __init__(self) -> None:
        self._num_epochs = 0
        self._bar: Any = None

    def on_train_start(self, run: TrainingRun) -> None:
        """Shows the bar."""
        self._num_epochs = run.num_epochs
        self._bar = progress_bar("training", total=run.num_steps, done=run.first_step, unit="step")

    def on_step_end(self) -> None:
        """Moves the bar on."""
        if self._bar is not None:
            self._bar.update()

    def on_epoch_end(self, report: EpochReport) -> None:
        """Shows the epoch's loss and metrics."""
        if self._bar is not None:
            self._bar.set_description(f"epoch {report.epoch}/{self._num_epochs}", refresh=False)
            shown = {"loss": report.loss, **report.metrics}
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items()})

    def on_train_end(self, error: BaseException | None) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.close()


class Validation(Callback):
    """Computes the validation loss after each epoch, and metrics every ``eval_freq`` epochs and after the last.

    Args:
        dataset: the validation users.
        learns_targets: whether training is against targets of their own. If not, it is to give back what it is given,
            and the loss on these users is that of what is given of them and what is held out together: what is given
            does not count as something to be scored low.
        model: the model.
        loss: the loss module.
        scorer: ranks with the model.
        config: the run's arguments.
        device: where the model is.
        ranks: the processes that train together: what the first one finds is what all go by.

    Raises:
        ConfigError: if a metric needs ``eval_num_recommendations``, or looks beyond it.
        ShapeError: if a metric knows of a catalogue of another size.
    """

    def __init__(
        self,
        dataset: RecommendationDataset,
        learns_targets: bool,
        model: FactorizationModel,
        loss: nn.Module,
        scorer: ModelScorer,
        config: TrainConfig,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        self._dataset = dataset
        parts = model.parts
        self._ranks, self._all = parts.ranks, ranks
        judged = dataset if learns_targets else dataset.with_all_as_target()
        self._judged_here = judged if parts.items is None else judged.of_items(parts.items.cpu().numpy())
        self._users = _users_with_any(judged)
        self._model = model
        with evaluation_mode(model):
            self._loss = BatchLoss(model, loss)
        self._device = device
        self._config = config
        self._evaluator = None
        if config.metrics:
            # the evaluator says so too, but only when the first epochs are over
            check_can_judge(config.metrics, dataset.num_items)
            self._num_workers = workers_for(config.metrics, config.num_data_workers)
            length = list_length(config.metrics, config.eval_num_recommendations, "eval_num_recommendations")
            recommender = InferenceRecommender(scorer, length)
            self._evaluator = RecommenderEvaluator(recommender, config.metrics)

    def on_epoch_end(self, report: EpochReport) -> None:
        """Adds ``val_loss`` and, where it is their turn, metrics to the report."""
        report.val_loss = self._mean_loss()
        if self._evaluator and (report.epoch % self._config.eval_freq == 0 or report.is_last):
            result = self._evaluator.evaluate(
                self._dataset,
                batch_size=self._config.eval_batch_size or self._config.batch_size,
                num_users=self._config.eval_num_users,
                num_workers=self._num_workers,
            )
            report.metrics = {str(metric): mean for metric, mean in result.mean.items()}
            report.metric_errors = {str(metric): error for metric, error in result.stderr.items()}
        if self._all.size > 1:
            self._agree(report)

    def _agree(self, report: EpochReport) -> None:
        """Gives all processes the numbers of the first: on unlike machines the last bits may differ, and decide."""
        names = list(report.metrics)
        mine = [report.val_loss, *(part[name] for part in (report.metrics, report.metric_errors) for name in names)]
        numbers = torch.tensor(mine, dtype=torch.float64, device=self._all.device)
        report.val_loss, *rest = self._all.sum_(numbers if self._all.is_first else torch.zeros_like(numbers)).tolist()
        report.metrics = dict(zip(names, rest[: len(names)], strict=True))
        report.metric_errors = dict(zip(names, rest[len(names) :], strict=True))

    def _mean_loss(self) -> float:
        """Returns the loss over the whole catalogue, mean per user, so that it compares across settings."""
        block = max(1, BLOCK_SCORES // self._dataset.num_items)
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        with evaluation_mode(self._model):
            for start in range(0, len(self._users), block):
                interactions, target = self._judged_here[self._users[start : start + block]]
                given = full_batch(interactions)
                wanted = given if target is None else full_batch(target)
                self._loss.prepared((wanted, None))
                total += self._loss.value(given.to(self._device), wanted.to(self._device))
        return float(self._ranks.sum_(total)) / len(self._users)


def _users_with_any(dataset: RecommendationDataset) -> npt.NDArray[np.int64]:
    """Returns the users who have something given or held out, int64; all if none has.

    Where users are looked up by their row, those who do not validate are there too, without any.
    """
    matrices = dataset.interactions_matrix, dataset.target_interactions_matrix
    counts_U = sum(np.diff(matrix.indptr) for matrix in matrices if matrix is not None)
    users = np.flatnonzero(counts_U)
    return users if len(users) else np.arange(len(dataset))


class Checkpoints(Callback):
    """Saves the model every ``freq`` epochs, and after the last.

    Args:
        save: writes the file of the epoch that just ended and returns its path.
        freq: epochs between files; 0: only after the last epoch.
    """

    def __init__(self, save: Callable[[], str], freq: int) -> None:
        self._save = save
        self._freq = freq

    def on_checkpoint(self, report: EpochReport) -> None:
        """Saves, where it is the epoch's turn."""
        if report.is_last or (self._freq and report.epoch % self._freq == 0):
            _log.info("saved %s", self._save())


class Agreement(Callback):
    """Ends the run in all processes where a callback ends it in one.

    Args:
        ranks: the processes.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def on_epoch_end(self, report: EpochReport) -> None:
        """Agrees on whether the epoch is the last."""
        report.is_last = bool(self._ranks.largest(int(report.is_last)))

    def on_checkpoint(self, report: EpochReport) -> None:
        """Agrees once more: it may be known only here."""
        self.on_epoch_end(report)


class Recorder(Callback):
    """Adds each epoch to the history, and to the log."""

    def __init__(self, history: History) -> None:
        self._history = history

    def on_epoch_end(self, report: EpochReport) -> None:
        """Records the epoch."""
        record = report.to_record()
        self._history.append(record)
        _log.info("%s", record)


def make_callbacks(
    validation: RecommendationDataset | None,
    learns_targets: bool,
    model: FactorizationModel,
    loss: nn.Module,
    scorer: ModelScorer,
    config: TrainConfig,
    history: History,
    save_state: Callable[[str | os.PathLike[str]], str],
    device: torch.device,
    *,
    best: Best | None = None,
    forget_optimizer: Callable[[], None] = lambda: None,
    of_user: Sequence[Callback] = (),
    ranks: Ranks = ALONE,
) -> list[Callback]:
    """Returns the callbacks of a run, in the order in which an epoch's report passes through them.

    Those of the user come when it is validated and judged, and before it is recorded, so that what they add is kept.
    """
    rule, best = config.early_stopping, best or Best()
    callbacks: list[Callback] = []
    if validation is not None:
        callbacks.append(Validation(validation, learns_targets, model, loss, scorer, config, device, ranks))
    if rule is not None:
        callbacks.append(StopsEarly(rule, best, model))
    callbacks += of_user
    if ranks.size > 1:
        callbacks.append(Agreement(ranks))
    callbacks += [*([ProgressBar()] if ranks.is_first else []), Recorder(history)]
    if rule is not None:
        callbacks.append(GivesBestBack(rule, best, model, history, forget_optimizer))
    prefix = config.model_checkpoint_prefix
    if prefix is not None:
        callbacks.append(Checkpoints(lambda: save_state(prefix), config.checkpoint_freq))
    return callbacks
