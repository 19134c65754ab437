"""``recoder train``: from interactions and a configuration to a model file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from shlex import quote
from typing import Any

from recoder.api.fitted import FittedModel
from recoder.api.fitting import learn, untrained
from recoder.callbacks import CSVLog, JSONLinesLog
from recoder.cli.checkpoints import Checkpoints, check_overwritable, checkpoint_path, resume
from recoder.cli.config import Config, TrainingConfig
from recoder.cli.conversion import make
from recoder.cli.groups import interrupts_held_back
from recoder.cli.limits import LOG_ENDINGS
from recoder.cli.out_files import check_outs
from recoder.cli.output import tell
from recoder.cli.reading import resolved, to_train_on
from recoder.cli.splitting import NEEDS_TIMES, Parts, make_split
from recoder.errors import ConfigError, DivergedError, NotInitializedError
from recoder.metrics import EvaluationResult
from recoder.metrics.names import named_metric
from recoder.training.events import Callback
from recoder.training.restore import read_model_file
from recoder.training.stopping import EarlyStopping

__all__ = ["Interrupted", "config_in", "config_of_file", "effective", "train_model"]

_LOGS = dict(zip(LOG_ENDINGS, (CSVLog, JSONLinesLog), strict=True))

CONFIG_KEY = "config"
"""Under which a model file keeps the configuration that it was made by."""


class Interrupted(Exception):
    """Training was stopped from the keyboard, and what it had reached is in a file.

    Attributes:
        checkpoint: the file.
    """

    def __init__(self, checkpoint: Path, epochs: int, num_epochs: int) -> None:
        super().__init__(f"stopped after {epochs} of {num_epochs} epochs")
        self.checkpoint = checkpoint


def config_of_file(path: Path) -> Config:
    """Returns the configuration that a model file, or a checkpoint, was made by.

    Raises:
        FileFormatError: if it is no model file.
        ConfigError: if it holds no configuration.
        FileNotFoundError: if there is no such file.
    """
    about = read_model_file(path).about or {}
    config = config_in(about.get("more", {}))
    if config is None:
        raise ConfigError(f"{path} holds no configuration; it was not made by recoder train")
    return config


def config_in(more: Mapping[str, Any]) -> Config | None:
    """Returns the configuration among what is kept with a model, ``About.more``; None where there is none."""
    return make(Config, more[CONFIG_KEY]) if CONFIG_KEY in more else None


def effective(config: Config) -> Config:
    """Returns the configuration with its data's columns as they were found, where it says of any data.

    A column of times is not looked for where the split needs none.

    Raises:
        ConfigError, RecoderError, OSError: if the data cannot be read.
    """
    if not config.data.path:
        return config
    unneeded = () if config.split.kind in NEEDS_TIMES else ("time",)
    return replace(config, data=resolved(config.data, unneeded=unneeded))


def train_model(config: Config, *, resume_from: Path | None = None) -> dict[str, Any]:
    """Trains, tests and saves a model, and returns what came of it, as JSON values.

    Args:
        config: with all settings of its recipe.
        resume_from: a checkpoint to go on from.

    Raises:
        Interrupted: if it was stopped from the keyboard.
        RecoderError, OSError: as reading, splitting, training and saving.
    """
    out = config.output.model
    if out is None:
        raise ConfigError("say where the model is to go: --out movies.model")
    check_outs(inputs=[config.data.path], out=out, log=config.output.log)
    check_outs(inputs=[resume_from], log=config.output.log)
    checkpoint = checkpoint_path(out)
    check_overwritable(checkpoint, resume_from)
    config = effective(config)
    metrics = [named_metric(name) for name in config.training.metrics]
    if config.data.weight and config.data.binary and not config.data.min_weight:
        tell(f"every interaction counts 1, whatever its {config.data.weight!r}; --min-weight and --weights look at it")
    parts = make_split(to_train_on(config.data), config.split)
    if parts.valid is None and parts.test is None and tuple(config.training.metrics) != TrainingConfig.metrics:
        tell("nobody is held out to compute metrics for; --valid 0.1 or --test 0.1 holds a tenth of the users out")
    chosen, fitted = untrained(
        parts.train,
        config.model.recipe,
        seed=config.training.seed,
        device=config.training.device,
        **config.model.settings,
    )
    fitted.about.more[CONFIG_KEY] = asdict(config)
    if resume_from is not None:
        resume(fitted, resume_from)
    more: dict[str, Any] = {}
    if not fitted.recoder.model.is_solved:
        more = {
            "callbacks": [Checkpoints(fitted, checkpoint, config.output.checkpoint_every), *_logs(config.output.log)],
            "early_stopping": early_stopping(config),
        }
    try:
        learn(chosen, fitted, parts.valid, None if parts.valid is None else metrics, **more)
    except KeyboardInterrupt:
        try:
            is_left = _left(fitted, checkpoint)
        except KeyboardInterrupt:  # once more, while it was written
            is_left = checkpoint.exists()
        if not is_left:
            raise
        raise Interrupted(checkpoint, len(fitted.recoder.history), config.model.settings["num_epochs"]) from None
    # such as a log on a full disk, while there is room for the model; and one that diverged may have its best weights
    except (OSError, DivergedError):
        _leave_what_there_is(fitted, checkpoint)
        raise
    result = None
    is_saved = False
    try:
        with interrupts_held_back(f"{out} is written"):
            fitted.save(out, interactions=config.output.histories)
            is_saved = True
            checkpoint.unlink(missing_ok=True)
        if parts.test is not None:
            result = fitted.evaluate(parts.test, metrics)
            fitted.save(out, interactions=config.output.histories)
    except BaseException as error:
        if is_saved:
            untested = "" if parts.test is None else f", but was not tested; recoder evaluate {quote(out)} does that"
            tell(f"the model is in {out}{untested}")
        elif isinstance(error, OSError):
            _leave_what_there_is(fitted, checkpoint)
        raise
    return _summary(config, parts, fitted, result)


def _leave_what_there_is(fitted: FittedModel, checkpoint: Path) -> None:
    with contextlib.suppress(OSError, DivergedError):
        if _left(fitted, checkpoint):
            where = quote(str(checkpoint))
            tell(f"what was reached is in {checkpoint}; go on with: recoder train --resume {where}")


def _left(fitted: FittedModel, checkpoint: Path) -> bool:
    """Saves what was reached, and returns whether there is any: parameters, which are learnt in steps.

    Raises:
        FileWriteError: if it cannot be written.
    """
    if fitted.recoder.model.is_solved:
        return False
    try:
        with interrupts_held_back(f"{checkpoint} is written"):
            fitted.save(checkpoint, training_state=True)
    except NotInitializedError:
        return False
    return True


def _logs(path: str | None) -> list[Callback]:
    if path is None:
        return []
    return [_LOGS[Path(path).suffix](path)]


def early_stopping(config: Config) -> EarlyStopping | None:
    """Returns when training is to end before its last epoch; None: never."""
    name = config.training.early_stopping
    if name is None:
        return None
    return EarlyStopping(None if name == "loss" else name, patience=config.training.patience)


def _summary(config: Config, parts: Parts, fitted: FittedModel, result: EvaluationResult | None) -> dict[str, Any]:
    history = fitted.recoder.history
    best = history.best_epoch or len(history)
    record = history[best - 1]
    validation = {
        name: {"mean": mean, "stderr": _number(record.metric_errors[name])} for name, mean in record.metrics.items()
    }
    return {
        "model": config.output.model,
        "recipe": config.model.recipe,
        "users": parts.train.num_users,
        "items": parts.train.num_items,
        "interactions": int(parts.train.matrix.nnz),
        "epochs": len(history),
        "best_epoch": best,
        "seconds": sum(epoch.seconds for epoch in history),
        "loss": _number(record.loss),
        "validation": {"users": len(parts.valid.user_ids), "metrics": validation} if parts.valid is not None else None,
        "test": None if result is None else fitted.about.metrics[-1],
    }


def _number(value: float) -> float | None:
    """Returns a number as JSON has it: NaN, of a model that takes no steps, is none."""
    return value if value == value else None
