"""``Recoder``: trains a factorization model, evaluates it, saves and loads it, and recommends with it."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from recoder import __version__
from recoder._checks import path_text, whole_number
from recoder._files import check_writable
from recoder._random import fresh_seed
from recoder.data.datasets import RecommendationDataset, UsersInteractions
from recoder.data.interactions import Interactions
from recoder.data.loader import RecommendationDataLoader, check_sampling
from recoder.data.mapped import item_counts
from recoder.errors import ConfigError, DataTypeError, DivergedError, NotInitializedError
from recoder.losses import make_loss
from recoder.metrics import EvaluationResult, Metric, RecommenderEvaluator
from recoder.metrics.judging import distinct_metrics
from recoder.nn.base import FactorizationModel, draw_parameters
from recoder.nn.tables import tables_with_row_gradients
from recoder.recommender.base import Histories, as_lists, merge_histories
from recoder.recommender.inference import InferenceRecommender
from recoder.recommender.scoring import ModelScorer
from recoder.training.alternating import AlternatingLeastSquares
from recoder.training.callbacks import make_callbacks
from recoder.training.checks import (
    check_data,
    check_interactions,
    check_known_users,
    check_model,
    check_sizes,
    warn_of_large_values,
    warn_of_unused_targets,
)
from recoder.training.config import TrainConfig
from recoder.training.devices import checked_precision, choose_device, product_dtype
from recoder.training.differences import data_mark, go_on_with, is_done, log_differences, warn_of_another_order
from recoder.training.events import Callback, TrainingRun
from recoder.training.growth import Newcomers, copy_rows, copy_without_users, drawn_anew
from recoder.training.history import History
from recoder.training.inclusion import log_inclusion_of
from recoder.training.loop import Progress, alternate, solve, train_epochs
from recoder.training.model_file import ModelFile, check_json
from recoder.training.optimizers import ModelOptimizer, OptimizerState, check_optimizer
from recoder.training.part_files import MANIFEST, SavedParts, write_together
from recoder.training.popularity import set_popularity_biases
from recoder.training.processes import Processes, check_cut_loss, check_parallel, check_same_data, check_same_run
from recoder.training.relay import Relay, checked_callbacks
from recoder.training.restarts import last_of_run
from recoder.training.restore import attributes_kept, check_fits, read_model_file, rebuild, restored_run
from recoder.training.stopping import Best, EarlyStopping, best_of, give_back

__all__ = ["Recoder"]

_log = logging.getLogger("recoder.model")


class Recoder:
    """Trains and evaluates a factorization model, and recommends with it.

    Args:
        model: the model; it is changed in place.
        num_items: size of the catalogue. None: that of the first training data.
        num_users: number of users. None: that of the first training data.
        optimizer_type: ``'sgd'``, ``'adam'``, ``'adagrad'``, ``'rmsprop'`` (sgd and rmsprop with momentum 0.9) or
            ``'rowwise_adagrad'``, which remembers one number for each row of a table (Gupta et al. 2014); or
            ``'als'``: alternating least squares, for a ``MatrixFactorization`` with ``loss='mse'``. An epoch is then a
            sweep over all users and all items, ``weight_decay`` the penalty of squared factors beside the loss summed
            over users, and the arguments of ``train`` that are about steps are not used.
        loss: ``'mse'`` (``recoder.losses.MSELoss``), ``'logistic'`` (binary cross-entropy of logits), ``'logloss'``
            (``recoder.losses.MultinomialNLLLoss``), or a module of (predictions, targets) that returns a sum.
        loss_params: keyword arguments of a loss that is given by name, such as ``{'confidence': 3}``.
        use_cuda: train and score on the current CUDA device; with ``parallel`` as ``device='cuda'``.
        user_based: the model depends on who the users are: training data with more users than it has is an error.
        item_based: the model depends on which the items are: training data with more items than it has is an error.
        seed: of everything that is drawn at random: a run with the same seed, data and arguments gives the same
            numbers on a CPU. None: drawn from torch's global generator. It is kept as ``seed`` and in the model file.
        device: where to train and score, ``'cpu'``, ``'cuda'`` or ``'cuda:1'``; instead of ``use_cuda``. With
            ``parallel``, ``'cuda'`` stands for another device in each process of a machine, if it has several.
        precision: ``'fp32'``, or ``'bf16'``: matrix products take their inputs in bfloat16, which is faster where the
            processor has instructions for it; in training, where no kernel of the library's own is for them, their
            results too. Parameters, sums, losses and the optimizer stay float32, and so do the scores that are
            returned: recommending looks for candidates in bfloat16 and ranks them in float32.
        parallel: what the processes that ``torchrun`` started share, all of them running the same program on the same
            data: ``'items'``: each has a part of the items' (and users') tables and of their optimizer state, so that
            catalogues grow with the number of machines; ``'users'``: each computes some users of every batch;
            ``'items+users'``: both, in a grid. The result is that of one process. None: this process is alone.
        optimizer_state: ``'fp32'``, or ``'bf16'``: adam keeps the two moments of tables in bfloat16, 8 bytes for each
            parameter in all instead of 12. They are rounded up or down at random, right on average; which way depends
            on the seed, the step and the place in the table alone.

    Attributes:
        model, user_based, item_based, device, precision: as given.
        num_items, num_users, optimizer_type, optimizer_state, loss, loss_params, seed: as given; after loading a file,
            as the file says.
        history: what happened in each epoch, a ``History``; it can ``plot()``.
        interactions: the ids and titles that a loaded file brought, with its histories if it holds them; else None.

    Raises:
        ConfigError: for an unknown optimizer, loss or loss parameter, a device that is not there, or
            ``optimizer_state='bf16'`` with another optimizer than adam.
        DataTypeError: if ``model`` is no ``FactorizationModel``.
    """

    def __init__(
        self,
        model: FactorizationModel,
        num_items: int | None = None,
        num_users: int | None = None,
        optimizer_type: str = "sgd",
        loss: str | nn.Module = "mse",
        loss_params: dict[str, Any] | None = None,
        use_cuda: bool = False,
        user_based: bool = True,
        item_based: bool = True,
        *,
        seed: int | None = None,
        device: str | torch.device | None = None,
        precision: str = "fp32",
        parallel: str | None = None,
        optimizer_state: str = "fp32",
    ) -> None:
        if not isinstance(model, FactorizationModel):
            raise DataTypeError(
                f"model is a {type(model).__name__}; pass a recoder.nn.FactorizationModel, such as DynamicAutoencoder"
            )
        check_optimizer(optimizer_type, optimizer_state)
        self.model = model
        self.num_items = None if num_items is None else whole_number("num_items", num_items, 1)
        self.num_users = None if num_users is None else whole_number("num_users", num_users, 1)
        self._optimizer_type, self._state_precision = optimizer_type, optimizer_state
        self._loss_module: nn.Module | None = make_loss(loss, loss_params)
        self._loss: str | nn.Module | None = loss
        # of numpy or torch they could not be held by a file; make_loss has checked them
        self._loss_params = dict(loss_params or {})
        if isinstance(loss, str):
            self._loss_params = {name: _plain(value) for name, value in self._loss_params.items()}
        self.user_based = user_based
        self.item_based = item_based
        self.device = choose_device(use_cuda, device, is_one_of_many=parallel is not None)
        self.precision = checked_precision(precision)
        self.parallel = parallel
        self._processes = Processes.of(parallel, self.device)
        check_parallel(model, self._processes, optimizer_type)
        self.seed = fresh_seed() if seed is None else whole_number("seed", seed, 0)
        if seed is None:
            self.seed = self._processes.all.largest(self.seed)  # the same for all
        self.history = History()
        self.interactions: Interactions | None = None
        self._holds_histories = False
        self._progress = Progress()
        self._best = Best()
        self._unwritten: set[Path] = set()
        self._optimizer: ModelOptimizer | None = None
        self._kept_state: OptimizerState = {}
        self._last_config: dict[str, Any] | None = None
        self._is_initialized = False
        self._has_begun = False
        self._counts_here = torch.empty(0, dtype=torch.int64)
        self._complete: Callable[[ModelFile], None] | None = None

    @property
    def optimizer_type(self) -> str:
        """The optimizer's name: that of the constructor, or of the file that was loaded."""
        return self._optimizer_type

    @property
    def optimizer_state(self) -> str:
        """How the optimizer keeps its state, likewise."""
        return self._state_precision

    @property
    def loss(self) -> str | nn.Module | None:
        """The loss, likewise; None where a file was trained with a module, which was not passed again."""
        return self._loss

    @property
    def loss_params(self) -> dict[str, Any]:
        """The loss's keyword arguments, likewise; a copy."""
        return dict(self._loss_params)

    def train(
        self,
        train_dataset: RecommendationDataset,
        val_dataset: RecommendationDataset | None = None,
        lr: float = 0.001,
        weight_decay: float = 0,
        num_epochs: int = 1,
        iters_per_epoch: int | None = None,
        batch_size: int = 64,
        lr_milestones: Sequence[int] | None = None,
        negative_sampling: bool = False,
        num_sampling_users: int = 0,
        num_data_workers: int = 0,
        model_checkpoint_prefix: str | os.PathLike[str] | None = None,
        checkpoint_freq: int = 0,
        eval_freq: int = 0,
        eval_num_recommendations: int | None = None,
        eval_num_users: int | None = None,
        metrics: Sequence[Metric | str] | None = None,
        eval_batch_size: int | None = None,
        *,
        lr_schedule: str = "constant",
        max_grad_norm: float | None = None,
        popularity_bias: bool = False,
        num_uniform_negatives: int = 0,
        logq_correction: bool = False,
        early_stopping: EarlyStopping | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> History:
        """Trains the model and returns its history, one record per epoch.

        A step's loss is the sum over the candidate items, mean over the users of the batch. After an interrupt
        (Ctrl-C) the step in hand is finished first; ``save_state`` then keeps what was reached, and a later ``train``
        with the same arguments goes on from there and ends with the same weights.

        Args:
            train_dataset: what to learn from; where it has targets, these are predicted from the interactions.
            val_dataset: validation users: their loss over the whole catalogue is computed after each epoch, against
                what is given of them and what is held out together (the targets alone if ``train_dataset`` has some).
            lr: learning rate.
            weight_decay: L2 regularisation of all parameters but biases, added to the gradient.
            num_epochs: epochs *in total*: training that goes on after epoch k starts with k + 1.
            iters_per_epoch: steps of an epoch (of each of its passes, where the model plans several); the users are
                visited in the epoch's order, again from its start if need be. None: each user once.
            batch_size: users of a step.
            lr_milestones: epochs after which the learning rate falls to a tenth.
            negative_sampling: score only the items that the users of a super-batch interacted with (mini-batch based
                negative sampling, Moussawi 2018, arXiv:1809.00999), not the whole catalogue.
            num_sampling_users: users of a super-batch, a multiple of ``batch_size``: more users, more negative items.
                0: ``batch_size``.
            num_data_workers: processes that prepare batches, and that evaluate custom metrics if they can be pickled.
            model_checkpoint_prefix: path that checkpoints start with; see ``save_state``. The last epoch is always
                saved.
            checkpoint_freq: epochs between checkpoints; 0: only the last epoch.
            eval_freq: epochs between evaluations of ``metrics``; they are evaluated after the last epoch too.
            eval_num_recommendations: items to recommend in evaluation. None: the largest ``k`` of the metrics.
            eval_num_users: evaluate the first so many validation users who have a target. None: all.
            metrics: what to evaluate on the validation users; or names, such as ``"NDCG@100"``.
            eval_batch_size: users handed to the recommender at once in evaluation; more where that is quicker.
                None: ``batch_size``.
            lr_schedule: ``'constant'``, or ``'cosine'``: the learning rate falls step by step along half a cosine,
                from ``lr`` to nearly 0 in the last of ``num_epochs``. Milestones apply besides.
            max_grad_norm: scale the gradients of a step down if their global norm is larger.
            popularity_bias: let the item biases of a new model start at what they would be without any factors, by
                the popularity of each item: for one of the library's losses by name.
            num_uniform_negatives: so many items, drawn uniformly, are candidates of negative sampling too.
            logq_correction: with negative sampling, subtract from each candidate's score, in training only, the
                logarithm of its probability of being one (Yi et al. 2019, RecSys); for the losses ``'logloss'`` and
                ``'logistic'``.
            early_stopping: end the run when validation no longer gets better; the model then has the weights of the
                best epoch, which ``history`` names, and training that is taken further goes on from them.
            callbacks: objects that are told what happens, as those of ``recoder.callbacks``; an epoch is told after its
                validation.

        Raises:
            ConfigError: if an argument is out of range or two do not go together.
            DataTypeError: if a data set, a callback or a metric is something else.
            EmptyDataError: if the training data holds no interaction.
            DataError: if the loss is not defined for these interactions.
            UnknownIdError: if the data has users or items beyond those of the model.
            DivergedError: if the loss of an epoch is not a finite number. The weights are then of no use, and are not
                trained further, but where ``early_stopping`` kept the best ones.
            FileWriteError: if a checkpoint cannot be written; said before training starts where possible.
        """
        config = TrainConfig(
            lr=lr,
            weight_decay=weight_decay,
            num_epochs=num_epochs,
            iters_per_epoch=iters_per_epoch,
            batch_size=batch_size,
            lr_milestones=lr_milestones,
            negative_sampling=bool(negative_sampling),
            num_sampling_users=num_sampling_users,
            num_data_workers=num_data_workers,
            model_checkpoint_prefix=model_checkpoint_prefix,
            checkpoint_freq=checkpoint_freq,
            eval_freq=eval_freq,
            eval_num_recommendations=eval_num_recommendations,
            eval_num_users=eval_num_users,
            metrics=distinct_metrics(metrics) if metrics else None,
            eval_batch_size=eval_batch_size,
            lr_schedule=lr_schedule,
            max_grad_norm=max_grad_norm,
            popularity_bias=bool(popularity_bias),
            num_uniform_negatives=num_uniform_negatives,
            logq_correction=bool(logq_correction),
            early_stopping=early_stopping,
        )
        if self._progress.has_diverged:
            raise DivergedError(
                f"the training of this Recoder diverged in epoch {self._progress.epoch + 1}, so its weights are of no "
                "use; load the last checkpoint, or make a new Recoder, and train it with a lower lr"
            )
        of_user = checked_callbacks(callbacks)
        loss = self._checked_loss()
        uses_loss = not (self.model.is_solved or self.model.brings_loss)
        check_data(train_dataset, val_dataset, config, loss, uses_loss=uses_loss)
        check_model(self.model, config, loss, self.optimizer_type)
        check_cut_loss(self.model, loss, self._processes)
        warn_of_large_values(train_dataset, self.model)
        warn_of_unused_targets(train_dataset, self.model)
        check_sizes(
            train_dataset,
            val_dataset,
            self.model,
            num_items=self.num_items or train_dataset.num_items,
            num_users=train_dataset.num_users if self.num_users is None else self.num_users,
            user_based=self.user_based,
            item_based=self.item_based,
        )
        check_sampling(config.batch_size, negative_sampling, config.num_sampling_users, config.num_uniform_negatives)
        check_same_data(self._processes.all, self.seed, train_dataset, val_dataset)
        if model_checkpoint_prefix is not None:
            first = Path(self._checkpoint_path(model_checkpoint_prefix))
            # a checkpoint in parts is a folder, whose place another takes
            check_writable(first.with_name(f".{first.name}.place") if (first / MANIFEST).is_file() else first)
        self._storable_params()
        with self._as_before_if_it_cannot_begin():
            return self._train(train_dataset, val_dataset, loss, config, of_user)

    def _train(
        self,
        train_dataset: RecommendationDataset,
        val_dataset: RecommendationDataset | None,
        loss: nn.Module,
        config: TrainConfig,
        of_user: Sequence[Callback],
    ) -> History:
        """Trains with arguments that were checked."""
        if config.model_checkpoint_prefix is not None and not self._has_begun:
            self._go_on_from(config.model_checkpoint_prefix, config)
        is_new = not self._is_initialized
        self._initialize(train_dataset, popularity_of=loss if config.popularity_bias else None)
        learns_from = data_mark(train_dataset)
        train_dataset = train_dataset.widened(self._known_num_items())
        if self.model.parts.items is not None:
            train_dataset = train_dataset.of_items(self.model.parts.items.cpu().numpy())
        if val_dataset is not None:
            val_dataset = val_dataset.widened(self._known_num_items())
        before = self._last_config or {}
        described = config.to_json()
        check_same_run(self._processes.all, self._progress.epoch, self._progress.step, described)
        if not is_new:  # what became of its biases when it was
            described["popularity_bias"] = bool(before.get("popularity_bias"))
        judged_by = None if val_dataset is None else data_mark(val_dataset)
        best = best_of(self._best, before.get("early_stopping"), config.early_stopping, judged_by)
        if self.model.is_solved:  # anew: nothing of an earlier solution is left
            best, self._progress = Best(data=judged_by), Progress()
        elif is_done(self._progress, config, best):
            if best.epoch or not self._best.epoch:  # or else what an earlier rule found stays
                self._best = replace(best, is_over=best.is_over or self._best.is_over)
            self._give_best_back(best)
            prefix = config.model_checkpoint_prefix
            if prefix is not None and self._checkpoint_path(prefix) in self._unwritten:  # as where the disk was full
                _log.info("saved %s", self.save_state(prefix))
            return self.history
        self._unwritten.clear()
        go_on_with(self._progress, learns_from)
        mean_interactions = train_dataset.interactions_matrix.nnz / len(train_dataset)
        self.model.learns_by(loss, self._l2_of_users(config, len(train_dataset)), mean_interactions)
        log_differences("train goes on with", before, described)
        warn_of_another_order(before, described, self._progress)
        if not self._progress.epoch and not self._progress.step:
            self.history = History()
        told = make_callbacks(
            val_dataset,
            train_dataset.target_interactions_matrix is not None,
            self.model,
            loss,
            self.scorer(),
            config,
            self.history,
            self.save_state,
            self.device,
            best=best,
            forget_optimizer=self._forget_optimizer,
            of_user=of_user,
            ranks=self._processes.all,
        )
        self._last_config, self._best, self.history.best_epoch = described, best, None
        self._has_begun = True
        relay = Relay(told, partial(self._run, config.num_epochs, val_dataset is not None))
        if self.model.is_solved:
            solve(self.model, train_dataset, config, self._progress, relay, self.device)
            return self.history
        if self.optimizer_type == "als":
            sweeps = AlternatingLeastSquares.of(self.model, loss, config.weight_decay, train_dataset)
            with self._best_if_it_diverges(best):
                alternate(self.model, sweeps, config, self._progress, relay)
            return self.history
        loader = RecommendationDataLoader(
            train_dataset,
            config.batch_size,
            negative_sampling=config.negative_sampling,
            num_sampling_users=config.num_sampling_users,
            num_workers=config.num_data_workers,
            seed=self.seed,
            num_uniform_negatives=config.num_uniform_negatives,
            even=True,
        )
        optimizer = ModelOptimizer(
            self.model,
            self.optimizer_type,
            weight_decay=config.weight_decay,
            max_norm=config.max_grad_norm,
            ranks=self._processes.items,
            state_precision=self.optimizer_state,
            seed=self.seed,
        )
        optimizer.load(self._current_optimizer_state())
        self._optimizer = optimizer  # only now: what it was told before is not lost if that fails
        with self._best_if_it_diverges(best):
            train_epochs(
                self.model,
                loss,
                self._optimizer,
                loader,
                config,
                self._progress,
                relay,
                seed=self.seed,
                device=self.device,
                dtype=product_dtype(self.precision),
                lowered_by=log_inclusion_of(loader).to(self.device) if config.logq_correction else None,
                processes=self._processes,
            )
        return self.history

    @contextlib.contextmanager
    def _as_before_if_it_cannot_begin(self) -> Iterator[None]:
        """Leaves what is known of the model as it was where a run fails before its first step: it has what it had."""
        kept = {name: vars(self)[name] for name in ("num_items", "num_users", "history", "_last_config")}
        kept |= {"_progress": copy.copy(self._progress), "_best": copy.copy(self._best)}
        was_initialized, best_epoch = self._is_initialized, self.history.best_epoch
        give_attributes_back = attributes_kept(self.model)
        before, stood_at = self._progress, (self._progress.epoch, self._progress.num_taken)
        try:
            yield
        except BaseException as error:
            progress = self._progress
            if progress is before:
                is_begun = (progress.epoch, progress.num_taken) != stood_at
            else:  # made for a model that is solved, or brought by a checkpoint
                is_begun = (progress.epoch, progress.step, progress.num_taken) != (0, 0, 0)
            # one that diverged without a step was validated anew
            if not (is_begun or (isinstance(error, DivergedError) and not self.model.is_solved)):
                vars(self).update(kept)
                self.history.best_epoch, self._is_initialized = best_epoch, was_initialized
                give_attributes_back()
                if not was_initialized:
                    self._forget_optimizer()  # which may hold what it had memory for
            raise

    @contextlib.contextmanager
    def _best_if_it_diverges(self, best: Best) -> Iterator[None]:
        self._progress.has_diverged = False
        try:
            yield
        except DivergedError:
            self._progress.has_diverged = not best.weights
            self._give_best_back(best)
            raise

    def _give_best_back(self, best: Best) -> None:
        """Gives the model the weights of the best epoch, if a run that was cut short still holds them."""
        if not best.weights:
            return
        give_back(best, self.model, self.history)
        # what came after them is of no use
        self._progress.begin_epoch_anew()
        self._forget_optimizer()
        _log.warning("the model has the weights of epoch %d, the best so far", best.epoch)

    def _forget_optimizer(self) -> None:
        self._optimizer, self._kept_state = None, {}

    def predict(self, users_interactions: Histories, return_input: bool = False) -> Any:
        """Returns the score of every item for every user, ``[B, N]``; no gradient flows through it.

        Args:
            users_interactions: the users and their interactions.
            return_input: return ``(scores, input)`` instead, with the dense input ``[B, N]``.

        Raises:
            NotInitializedError: before the model was trained or loaded.
            UnknownIdError: if there is an item that the model does not know, or, for a matrix factorization, a user.
        """
        users_interactions = merge_histories(users_interactions)
        scores = self.scorer().scores(users_interactions)
        if not return_input:
            return scores
        dense = torch.zeros_like(scores, dtype=torch.float32)
        matrix = users_interactions.interactions_matrix[:, : scores.shape[1]]  # beyond it nobody has any
        dense[:, : matrix.shape[1]] = torch.from_numpy(matrix.toarray()).to(self.device)
        return scores, dense

    def recommend(self, users_interactions: Histories, num_recommendations: int) -> list[list[int]]:
        """Returns the items with the highest scores for each user, best first, those in the interactions left out.

        Ties go to the lower item id. Where fewer items are left, the list is shorter.

        Args:
            users_interactions: the users and their interactions.
            num_recommendations: length of each list, at least 1.

        Raises:
            ConfigError: if ``num_recommendations`` is below 1.
            NotInitializedError, UnknownIdError: as ``predict``.
            DivergedError: if a score is NaN.
        """
        number = whole_number("num_recommendations", num_recommendations, 1)
        return as_lists(self.ranked(merge_histories(users_interactions), number))

    def ranked(self, users_interactions: UsersInteractions, num_recommendations: int) -> npt.NDArray[np.int64]:
        """Returns what ``recommend`` does as one int64 array ``[B, K]``; shorter lists end in -1."""
        return self.scorer().ranked(users_interactions, num_recommendations)

    def evaluate(
        self,
        eval_dataset: RecommendationDataset,
        num_recommendations: int,
        metrics: Sequence[Metric | str],
        batch_size: int = 1,
        num_users: int | None = None,
    ) -> EvaluationResult:
        """Returns the value of each metric for each user, in the order of the data set, and logs the means.

        Args:
            eval_dataset: users with interactions, and targets to find; users without a target are left out.
            num_recommendations: items to recommend to each user; no metric may look at more.
            metrics: the metrics, or their names, such as ``"NDCG@100"``.
            batch_size: users to score at once; more are taken where that is quicker. Results do not depend on it.
            num_users: evaluate the first so many users who have a target. None: all.

        Raises:
            ConfigError: if the data set has no target, a metric looks beyond ``num_recommendations``, or a number is
                out of range.
            EmptyDataError: if no user has a target.
            ShapeError: if a metric was made for a catalogue of another size than the model's.
            NotInitializedError, UnknownIdError: as ``predict``.
        """
        num_items = self._known_num_items()  # says that there is no model before anything else is looked at
        if isinstance(eval_dataset, RecommendationDataset):
            check_known_users("eval_dataset", eval_dataset, self.model)
            eval_dataset = eval_dataset.widened(num_items)
        recommender = InferenceRecommender(self, num_recommendations)
        result = RecommenderEvaluator(recommender, metrics).evaluate(
            eval_dataset, batch_size=batch_size, num_users=num_users
        )
        _log.info("evaluation\n%s", result)
        return result

    def save_state(
        self,
        model_checkpoint_prefix: str | os.PathLike[str],
        *,
        interactions: Interactions | None = None,
        histories: bool = False,
    ) -> str:
        """Writes the model and the state of its training to a file and returns its path.

        The path is ``{model_checkpoint_prefix}_epoch_{n}.model``, n the number of whole epochs. Missing folders are
        made. A previous file of that name stays whole until the new one is. Where processes share the items, it is a
        folder with a file of each; they all call this together. Any number of processes can load it, and
        ``recoder.training.join_parts`` makes one file of it.

        Args:
            model_checkpoint_prefix: where to.
            interactions: what the model was trained on: your own ids of users and items, and titles, are kept in the
                file, and stand in ``interactions`` after loading it. None: those that were loaded, if any.
            histories: keep who interacted with what too. Think of privacy before you pass such a file on.

        Raises:
            NotInitializedError: before the model was trained or loaded.
            ConfigError: if the model's hyper-parameters are not JSON values, or there are no histories to keep.
            ShapeError: if the interactions are over other items, or for a matrix factorization other users.
            DivergedError: after training diverged.
            FileWriteError: if the file cannot be written.
        """
        content = self.file_content(interactions=interactions, histories=histories)
        path = self._checkpoint_path(model_checkpoint_prefix)
        self._unwritten.add(path)
        write_together(path, content, self.model, self._counts_here, self._processes, version=__version__)
        self._unwritten.discard(path)
        return str(path)

    def file_content(self, *, interactions: Interactions | None = None, histories: bool = False) -> ModelFile:
        """Returns what ``save_state`` writes, for those who add to it.

        Args:
            interactions: as in ``save_state``.
            histories: likewise.

        Raises:
            NotInitializedError, ConfigError, ShapeError, DivergedError: as ``save_state``.
        """
        num_items = self._known_num_items()
        if interactions is not None:
            check_interactions(interactions, self.model, num_items=num_items, num_users=self.num_users)
        if histories and interactions is None and not self._holds_histories:
            raise ConfigError(
                "histories=True, but there are none to keep: pass interactions=, those that the model was trained on"
            )
        progress = self._progress.to_json(self._processes.all)
        if self._progress.has_diverged or not math.isfinite(progress["loss_sum"]):
            raise DivergedError(
                f"the training diverged in epoch {self._progress.epoch + 1}, so the weights are of no use and are not "
                "saved; load the last checkpoint, or train a new model with a lower lr"
            )
        params = self._storable_params()
        content = ModelFile(
            model_class=type(self.model).__name__,
            model_params=params,
            num_items=num_items,
            num_users=self.num_users,
            progress=progress,
            optimizer_type=self.optimizer_type,
            optimizer_state=self.optimizer_state,
            loss=self.loss if isinstance(self.loss, str) else None,
            loss_params=self.loss_params if isinstance(self.loss, str) else {},
            seed=self.seed,
            train=self._last_config,
            history=self.history.to_json(),
            weights=self.model.state_dict(),
            optimizer=self._current_optimizer_state(),
            early_stopping=self._best.to_json() if self._best.epoch or self._best.misses else None,
            best_weights=self._best.weights,
            interactions=self.interactions if interactions is None else interactions,
            with_histories=histories,
        )
        if self._complete is not None and interactions is None and not histories:
            self._complete(content)
        return content

    @contextlib.contextmanager
    def files_with(self, complete: Callable[[ModelFile], None]) -> Iterator[None]:
        """Lets files that are written within the block, such as checkpoints, hold what a program knows beside this.

        Args:
            complete: is handed the content of a file that is to be written without ``interactions``, and adds to it.
        """
        self._complete = complete
        try:
            yield
        finally:
            self._complete = None

    def init_from_model_file(self, model_file: str | os.PathLike[str]) -> None:
        """Takes over a model and the state of its training from a file of this version or of recoder 0.4.0.

        The file's loss, loss parameters, optimizer type and state, seed and sizes win over those of the constructor, a
        difference is logged. A loss that was a module is not in the file: pass it to the constructor again.

        Raises:
            FileNotFoundError: if there is no such file.
            FileFormatError: if it is no model file, is damaged, or is of a newer format or another model.
            UnsafeFileError: if it is a pickle that asks for code to be run; nothing of it is run.
            ConfigError: if the processes that train together cannot train what it holds.
        """
        model_file = path_text("model_file", model_file)
        if (Path(model_file) / MANIFEST).is_file():
            self._take_over_parts(model_file)
        else:
            content = read_model_file(model_file)
            self.take_over(model_file, content)

    def _take_over_parts(self, folder: str) -> None:
        with SavedParts(Path(folder)) as saved:
            counts_N = saved.item_counts.numpy()
            parts = self._processes.parts(counts_N, saved.num_users)
            saved.only(parts)
            saved.check()
            self.take_over(folder, saved.content(parts), counts_N)

    def take_over(
        self,
        model_file: str | os.PathLike[str],
        content: ModelFile,
        counts_N: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Does what ``init_from_model_file`` does with the content of a file that was read already.

        Args:
            model_file: the file, for messages.
            content: what it holds; of a model that processes share this process's part.
            counts_N: interactions of each item, by which that part was chosen.

        Raises:
            FileFormatError, ConfigError: as ``init_from_model_file``.
        """
        check_fits(model_file, content, self.model)
        loss_module, progress, history, best = restored_run(model_file, content)
        seed = self.seed if content.seed is None else content.seed

        def init_model() -> None:
            self._init_model(content.num_items, content.num_users, seed, counts_N)

        def check() -> None:
            check_parallel(self.model, self._processes, content.optimizer_type)

        held = rebuild(model_file, self.model, content, init_model, check, is_part=counts_N is not None)
        if best.weights:
            best.weights = held.best_weights
        # a file of 0.4.0 has no seed
        brought = {name: value for name, value in vars(content).items() if value is not None}
        log_differences(f"{model_file} brings", self._described(), brought)
        self.num_items, self.num_users, self.seed = content.num_items, content.num_users, seed
        self._optimizer_type, self._state_precision = content.optimizer_type, content.optimizer_state
        if content.loss is not None:
            self._loss, self._loss_module = content.loss, loss_module
        elif isinstance(self.loss, str):
            # a module that is in neither: predictions need none, train asks for it
            self._loss, self._loss_module = None, None
        self._loss_params = content.loss_params
        self.history, self._progress, self._best = history, progress, best
        self._optimizer, self._kept_state = None, held.optimizer
        self._last_config = content.train
        self.interactions, self._holds_histories = content.interactions, content.with_histories
        self._is_initialized = True
        self._unwritten.clear()
        self.model.eval()  # as after training

    def extended(self, dataset: RecommendationDataset, *, from_similar: bool = True) -> Recoder:
        """Returns a ``Recoder`` with room for more items and users, to train anew from what this one has learnt.

        The parameters of the items and users that are known already are copied, those of new ones drawn; biases of new
        items are set from their popularity if those of this one were. Its history is empty, and its optimizer
        remembers nothing. This one stays as it is.

        Args:
            dataset: what is to be learnt from; new items and users come after those that are known.
            from_similar: new ones start as the mean of the most similar known ones; False: as they are drawn.

        Raises:
            ConfigError: if it has fewer items or users, or a parameter of the model grows otherwise than by rows.
            NotInitializedError: before the model was trained or loaded.
        """
        known = (self._known_num_items(), self.num_users or 0)
        if dataset.num_items < known[0] or dataset.num_users < known[1]:
            raise ConfigError(
                f"{dataset.num_items} items and {dataset.num_users} users are fewer than the {known[0]} and {known[1]} "
                "of the model; pass all of them, new ones last"
            )
        larger = self.untrained(dataset.num_items, dataset.num_users)
        if (self._last_config or {}).get("popularity_bias"):
            set_popularity_biases(larger.model, larger._checked_loss(), dataset)
            larger._last_config = {"popularity_bias": True}
        interactions = dataset.interactions_matrix
        sides = (interactions.T.tocsr(), known[0]), (interactions, known[1])
        newcomers = [Newcomers(rows, n) for rows, n in sides if from_similar and rows.shape[0] > n]
        copy_rows(self.model, larger.model, *newcomers)
        return larger

    def without_users(self, rows: npt.NDArray[np.int64]) -> Recoder:
        """Returns a ``Recoder`` without the factors of these users; the others move up. This one stays as it is.

        Training that is taken further goes on after the last whole epoch; its optimizer remembers nothing.

        Args:
            rows: users of the training data, by row.

        Raises:
            ConfigError: if the model looks users up otherwise than a ``MatrixFactorization`` does.
            NotInitializedError: before the model was trained or loaded.
        """
        num_items, num_users = self._known_num_items(), self.num_users or 0
        smaller = self.untrained(num_items, num_users - len(np.unique(rows)))
        copy_without_users(self.model, smaller.model, rows)
        smaller.history, smaller._last_config = History(self.history), self._last_config
        smaller.history.best_epoch = self.history.best_epoch
        smaller._progress = Progress(epoch=self._progress.epoch)
        # of a run that was cut short, whose weights are not those of its best epoch: of these nobody is left out
        smaller._best = Best() if self._best.weights else replace(self._best)
        return smaller

    def untrained(self, num_items: int, num_users: int) -> Recoder:
        """Returns another ``Recoder`` with the same settings for so many items and users, its parameters drawn.

        Raises:
            ConfigError: if this process has a part of the items alone.
        """
        if self.model.parts.items is not None:
            raise ConfigError(
                "this process has a part of the model's items alone; make one file of a checkpoint with "
                "recoder.training.join_parts, and load that in one process"
            )
        made = Recoder(
            drawn_anew(self.model, num_items=num_items, num_users=num_users, seed=self.seed),
            num_items,
            num_users,
            self.optimizer_type,
            user_based=self.user_based,
            item_based=self.item_based,
            seed=self.seed,
            device=self.device,
            precision=self.precision,
            optimizer_state=self.optimizer_state,
        )
        made._loss, made._loss_params, made._loss_module = self._loss, self.loss_params, self._loss_module
        made.model.to(made.device).eval()
        made._is_initialized = True
        return made

    def __repr__(self) -> str:
        state = f"{self._progress.epoch} epochs" if self._is_initialized else "not trained"
        return f"Recoder({type(self.model).__name__}, {self.num_items} items, {self.num_users} users, {state})"

    def _described(self) -> dict[str, Any]:
        """Returns what was asked for, in the words of a model file, to compare with one."""
        described: dict[str, Any] = {
            "num_items": self.num_items,
            "num_users": self.num_users,
            "optimizer_type": self.optimizer_type,
            "optimizer_state": self.optimizer_state,
            "loss": self.loss,
            "loss_params": self.loss_params,
            "seed": self.seed,
        }
        return {name: value for name, value in described.items() if value is not None}

    def _run(self, num_epochs: int, has_validation: bool, first_step: int, num_steps: int) -> TrainingRun:
        """Returns what callbacks are told of the run that starts."""
        loss = self.loss if isinstance(self.loss, str) else type(self.loss).__name__
        params = {"loss_params": self.loss_params, "precision": self.precision, "device": str(self.device)}
        params["optimizer_state"] = self.optimizer_state
        return TrainingRun(
            num_epochs=num_epochs,
            num_steps=num_steps,
            first_step=first_step,
            has_validation=has_validation,
            arguments={
                "model": {"class": type(self.model).__name__, **self.model.model_params()},
                "recoder": {"optimizer_type": self.optimizer_type, "loss": loss, "seed": self.seed, **params},
                "train": self._last_config or {},
            },
            model=self.model,
            history=self.history,
            save=self.save_state,
            is_first=self._processes.all.is_first,
        )

    def _checked_loss(self) -> nn.Module:
        if self._loss_module is None:
            raise ConfigError(
                "the model was trained with a loss module, which its file does not hold; "
                "pass it again: Recoder(model, loss=...) and then init_from_model_file"
            )
        return self._loss_module.to(self.device)

    def _go_on_from(self, prefix: str | os.PathLike[str], config: TrainConfig) -> None:
        """Takes over the last checkpoint that processes wrote before one of them died and all were started anew."""
        path, epoch = path_text("model_checkpoint_prefix", prefix), self._progress.epoch
        last = last_of_run(path, config.num_epochs, self._processes, after=epoch)
        if last is not None:
            _log.warning("the processes were started anew: training goes on from %s", last)
            self.init_from_model_file(last)

    def _initialize(self, train: RecommendationDataset, *, popularity_of: nn.Module | None) -> None:
        if self._is_initialized:
            return
        num_items = self.num_items or train.num_items
        num_users = train.num_users if self.num_users is None else self.num_users
        before = list(self.model.parameters())
        counts_N = None
        if self._processes.items.size > 1:
            counts_N = item_counts(train.widened(num_items).interactions_matrix)
        self._init_model(num_items, num_users, self.seed, counts_N)
        kept = {id(parameter) for parameter in self.model.parameters()}
        if any(id(parameter) not in kept for parameter in before):
            _log.warning(
                "this %s had parameters already, and they are drawn anew; to train it further, load a file "
                "that save_state wrote, or go on with the Recoder that trained it",
                type(self.model).__name__,
            )
        if popularity_of is not None:
            set_popularity_biases(self.model, popularity_of, train.widened(num_items))
        self.num_items, self.num_users, self._is_initialized = num_items, num_users, True

    def _init_model(
        self, num_items: int, num_users: int | None, seed: int, counts_N: npt.NDArray[np.int64] | None = None
    ) -> None:
        """Creates the model's parameters on the device; those of its part of the items, by their counts."""
        if self._processes.items.size > 1:
            counts_N = np.zeros(num_items, dtype=np.int64) if counts_N is None else counts_N
            parts = self._processes.parts(counts_N, None if self.model.folds_in_users else num_users)
            self.model.parts, self._counts_here = parts.to(self.device), torch.from_numpy(counts_N)[parts.items]
        draw_parameters(self.model, num_items=num_items, num_users=num_users, seed=seed)
        self.model.to(self.device)

    def _l2_of_users(self, config: TrainConfig, num_users: int) -> float:
        """Returns how the squares of a user's factors weigh beside that user's loss in an epoch."""
        if self.optimizer_type == "als":
            return config.weight_decay
        # a step's loss is a mean over its users, nearly as many in each; it decays their rows alone, or those of all
        users_of_step = num_users / math.ceil(num_users / config.batch_size)
        return config.weight_decay / 2 * (users_of_step if tables_with_row_gradients(self.model) else num_users)

    def _storable_params(self) -> dict[str, Any]:
        """Returns the model's hyper-parameters, once they and those of the loss are known to fit a model file."""
        params = self.model.model_params()
        check_json(f"{type(self.model).__name__}.model_params()", params)
        if isinstance(self.loss, str):
            check_json("loss_params", self.loss_params)
        return params

    def scorer(self) -> ModelScorer:
        """Returns what scores and ranks with the model as it is.

        Raises:
            NotInitializedError: before the model was trained or loaded.
        """
        looked_up = None if self.model.folds_in_users else self.num_users
        return ModelScorer(
            self.model,
            num_items=self._known_num_items(),
            num_users=looked_up,
            device=self.device,
            precision=self.precision,
        )

    def _known_num_items(self) -> int:
        if not self._is_initialized or self.num_items is None:
            raise NotInitializedError(
                f"this {type(self.model).__name__} was neither trained nor loaded; "
                "call train or init_from_model_file first"
            )
        return self.num_items

    def _current_optimizer_state(self) -> OptimizerState:
        return self._kept_state if self._optimizer is None else self._optimizer.state()

    def _checkpoint_path(self, prefix: str | os.PathLike[str]) -> Path:
        return Path(f"{path_text('model_checkpoint_prefix', prefix)}_epoch_{self._progress.epoch}.model")


def _plain(number: Any) -> Any:
    return number if isinstance(number, int) else float(number)
