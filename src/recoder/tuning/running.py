"""Trial after trial, and the best model kept."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from recoder._optional import imported
from recoder._progress import progress_bar
from recoder._random import derive_seed
from recoder.errors import ConfigError, DivergedError
from recoder.model import Recoder
from recoder.recipes import Recipe
from recoder.tuning.model_files import ModelFiles
from recoder.tuning.pruning import Prunes
from recoder.tuning.result import Trial, TuningResult, value_of
from recoder.tuning.spaces import Space, defaults_of, settings_of
from recoder.tuning.study import ended_trials

__all__ = ["Tuning"]

_log = logging.getLogger("recoder.tuning")

_FAILURES = (
    DivergedError,
    MemoryError,
    torch.OutOfMemoryError,
    torch.linalg.LinAlgError,  # type: ignore[attr-defined]  # documented, but not declared
)
_NO_MEMORY = ("DefaultCPUAllocator: ", "CUBLAS_STATUS_ALLOC_FAILED")
"""In a plain ``RuntimeError`` of torch: there the processor's memory, or a card's, does not suffice."""


@dataclass
class Tuning:
    """The trials of one call, and the best model of the study.

    Args:
        study: of optuna.
        base: the recipe as it is.
        space: what is tuned of it.
        metric: the name of what is made large.
        seed: of the trials and of their training.
        fit: trains a recipe, with what prunes it.
        save: writes the file of a trial's model.
        files: where they are; None where the study is in memory.
    """

    study: Any
    base: Recipe
    space: Space
    metric: str
    seed: int
    fit: Callable[[Recipe, list[Prunes]], Recoder]
    save: Callable[[int, Recoder], None]
    files: ModelFiles | None
    trials: list[Trial] = field(default_factory=list)
    best: Trial | None = None
    recoder: Recoder | None = None
    """That of the best trial, if it was of this call."""

    def run(self, num_trials: int, end: float) -> None:
        """Runs trials until there are so many in the study, or that time has come."""
        self._look_up()
        with progress_bar("tuning", total=num_trials, done=min(len(self.trials), num_trials), unit="trial") as bar:
            while len(self.trials) < num_trials and time.monotonic() < end:
                self._run_trial(self._next())
                self._look_up()
                bar.update()
                if self.best is not None:
                    bar.set_postfix({self.metric: f"{self.best.value:.4f}"})

    def result(self, load: Callable[[Recipe, str], Recoder]) -> TuningResult:
        """Returns the best trial with its model.

        Args:
            load: returns the model of a file, of a recipe.
        """
        if self.best is None:
            reasons = [f"trial {trial.number}: {trial.error}" for trial in self.trials if trial.error]
            raise ConfigError(
                f"none of {len(self.trials)} trials was completed; {'; '.join(reasons[-1:]) or 'allow for more time'}"
            )
        settings = settings_of(self.base, self.best.settings)
        recipe = self.base.but(**settings)
        model_file = None if self.files is None else self.files.of(self.best.number)
        if self.recoder is None:
            if model_file is not None and model_file.exists():
                self.recoder = load(recipe, str(model_file))
            else:
                _log.warning("the file of the best model, %s, is gone: it is trained once more", model_file)
                self.recoder = self.fit(recipe, [])
                self.save(self.best.number, self.recoder)
        return TuningResult(
            self.metric, tuple(self.trials), self.best, settings, recipe, self.recoder, self.seed, model_file
        )

    def _next(self) -> Any:
        """Returns a new trial; what it tries follows from the seed and the trials that ended before."""
        is_waiting = any(stored.state.name == "WAITING" for stored in self.study.get_trials(deepcopy=False))
        if not self.trials and not is_waiting:
            defaults = defaults_of(self.base, self.space)
            self.study.enqueue_trial({name: self.space[name].stored(value) for name, value in defaults.items()})
        draws = derive_seed(self.seed, "trial", len(self.trials)) % 2**32
        self.study.sampler = imported("optuna", "tune").samplers.TPESampler(seed=draws)
        return self.study.ask({name: choice.distribution() for name, choice in self.space.items()})

    def _run_trial(self, trial: Any) -> None:
        failed = imported("optuna", "tune").trial.TrialState.FAIL
        values = {name: choice.restored(trial.params[name]) for name, choice in self.space.items()}
        trial.set_user_attr("seed", self.seed)
        try:
            self._train(trial, self.base.but(**settings_of(self.base, values)))
        except BaseException as error:
            is_by_settings = isinstance(error, _FAILURES) or any(sign in str(error) for sign in _NO_MEMORY)
            # settings that do not go together; those of the first trial are what was asked for
            is_by_settings = is_by_settings or (bool(self.trials) and isinstance(error, ConfigError))
            if is_by_settings:  # without an error it is of no account: it is run once more when the tuning goes on
                trial.set_user_attr("error", str(error) or type(error).__name__)
            self.study.tell(trial, state=failed, skip_if_finished=True)
            if not is_by_settings:
                raise
            _log.warning("trial %d with %s failed: %s", trial.number, values, error)

    def _train(self, trial: Any, recipe: Recipe) -> None:
        prunes = Prunes(trial, self.metric)
        recoder = self.fit(recipe, [prunes])
        value = recoder.history.of_weights.metrics[self.metric]
        if not math.isfinite(value):
            raise DivergedError(f"{self.metric} is {value}")
        if prunes.has_pruned:
            self.study.tell(trial, state=imported("optuna", "tune").trial.TrialState.PRUNED)
        elif self.best is None or value > value_of(self.best):
            # before the study knows of it, so that the best trial of a study always has its file
            self.save(trial.number, recoder)
            self.study.tell(trial, value)
            self.recoder = recoder
        else:
            self.study.tell(trial, value)
        _log.info("trial %d: %s %.4f%s", trial.number, self.metric, value, " (pruned)" * prunes.has_pruned)

    def _look_up(self) -> None:
        """Learns which trials there are and which is the best; only that keeps its file."""
        self.trials = ended_trials(self.study, self.space)
        complete = [trial for trial in self.trials if trial.state == "complete"]
        self.best = max(complete, key=value_of, default=None)
        if self.files is not None:
            numbers = {stored.number for stored in self.study.get_trials(deepcopy=False)}
            self.files.remove(numbers - {-1 if self.best is None else self.best.number})
            self.files.remove_unfinished(numbers)
