"""The study that keeps the trials: in memory, or in a SQLite file from which a tuning goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recoder._files import check_writable, write_errors
from recoder._locks import held_alone
from recoder._optional import imported
from recoder.errors import ConfigError, FileFormatError, FileWriteError
from recoder.tuning.pruning import NUM_RUNGS
from recoder.tuning.result import Trial
from recoder.tuning.spaces import Space

__all__ = ["ended_trials", "fail_abandoned", "has_ended_trials", "open_study"]

_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


@contextlib.contextmanager
def open_study(path: str | None) -> Iterator[Any]:
    """Yields the study of optuna in a file, a new one if there is none; None: one in memory.

    Raises:
        MissingDependencyError: if optuna is not installed.
        FileWriteError: if the file cannot be written.
        FileFormatError: if it is no study.
        ConfigError: if another process uses it, which would take the trials of this one for abandoned.
    """
    optuna = imported("optuna", "tune")
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = None
    with contextlib.ExitStack() as alone:
        try:
            if path is not None:
                _check_place(path)
                _hold_alone(path, alone)
                storage = _storage(path, optuna)
            # no trial is judged by fewer than five others, nor in the first fifth of its run
            pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=NUM_RUNGS // 5 + 1, n_min_trials=5)
            yield optuna.create_study(
                storage=storage, study_name="recoder", direction="maximize", pruner=pruner, load_if_exists=True
            )
        except optuna.exceptions.StorageInternalError as error:
            raise FileWriteError(f"cannot write the study {path}: {error.__cause__ or error}") from error
        finally:
            optuna.logging.set_verbosity(verbosity)
            if storage is not None:
                storage.remove_session()
                storage.engine.dispose()


def ended_trials(study: Any, space: Space) -> list[Trial]:
    """Returns the trials that ended, in their order; one that was interrupted failed without an error, and is none."""
    return [
        Trial(
            number=stored.number,
            state=_STATES[stored.state.name],
            value=None if stored.state.name == "FAIL" else stored.value,
            settings={name: choice.restored(stored.params[name]) for name, choice in space.items()},
            seconds=(stored.datetime_complete - stored.datetime_start).total_seconds(),
            error=stored.user_attrs.get("error"),
        )
        for stored in study.get_trials(deepcopy=False)
        if _has_ended(stored)
    ]


def has_ended_trials(study: Any) -> bool:
    """Returns whether any trial ended."""
    return any(map(_has_ended, study.get_trials(deepcopy=False)))


def _has_ended(stored: Any) -> bool:
    return stored.state.name in ("COMPLETE", "PRUNED") or (stored.state.name == "FAIL" and "error" in stored.user_attrs)


def fail_abandoned(study: Any) -> None:
    """Closes the trials of a process that was killed."""
    failed = imported("optuna", "tune").trial.TrialState.FAIL
    for stored in study.get_trials(deepcopy=False):
        if stored.state.name == "RUNNING":
            study.tell(stored.number, state=failed)


def _check_place(path: str) -> None:
    special = sorted(set(path) & set("{}?%#"))
    if special:  # optuna takes a URL, in which they mean something else
        raise ConfigError(f"study is {path!r}; the address of a database cannot hold {special[0]!r}: name it otherwise")
    check_writable(path)


def _hold_alone(path: str, until: contextlib.ExitStack) -> None:
    with write_errors(path):
        try:
            until.enter_context(held_alone(Path(path)))
        except BlockingIOError as error:
            raise ConfigError(
                f"another process tunes with the study {path}; wait until it has ended, or name another file"
            ) from error


def _storage(path: str, optuna: Any) -> Any:
    errors = imported("sqlalchemy.exc", "tune", "optuna")
    try:
        return optuna.storages.RDBStorage(f"sqlite:///{path}")
    except errors.OperationalError as error:  # a full disk, say
        raise FileWriteError(f"the study {path} cannot be written: {str(error).splitlines()[0]}") from error
    except (errors.DatabaseError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise FileFormatError(f"optuna reads no study in {path} ({reason}); choose another file") from error
