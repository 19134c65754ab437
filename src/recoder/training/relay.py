"""Telling all callbacks of a run what happens."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from recoder.errors import DataTypeError
from recoder.training.events import Callback, EpochReport, TrainingRun

__all__ = ["Relay", "checked_callbacks"]

_log = logging.getLogger("recoder.training")


@dataclass(frozen=True)
class Relay:
    """Passes each event on to all callbacks, in their order.

    Args:
        callbacks: who is told.
        make_run: returns what they are told at the start, of ``first_step`` and ``num_steps``.
    """

    callbacks: Iterable[Callback]
    make_run: Callable[[int, int], TrainingRun]

    @contextlib.contextmanager
    def run(self, first_step: int, num_steps: int) -> Iterator[None]:
        """Tells the start, and after the block, whatever happened in it, the end."""
        try:
            run = self.make_run(first_step, num_steps)
            for callback in self.callbacks:
                callback.on_train_start(run)
            yield
        except BaseException as error:
            try:
                self._end(error)
            except Exception as another:  # what ended the run is what its caller looks for
                _log.warning("a callback could not end with the run: %s: %s", type(another).__name__, another)
            raise
        self._end(None)

    def step_end(self) -> None:
        """Tells that a step was done."""
        for callback in self.callbacks:
            callback.on_step_end()

    def epoch_end(self, report: EpochReport) -> None:
        """Tells that the steps of an epoch are done; who comes later is not told if one raises."""
        for callback in self.callbacks:
            callback.on_epoch_end(report)

    def checkpoint(self, report: EpochReport) -> None:
        """Tells that an epoch is whole; everyone is told, even if one raises."""
        with contextlib.ExitStack() as all_of_them:
            for callback in reversed(list(self.callbacks)):
                all_of_them.callback(callback.on_checkpoint, report)

    def _end(self, error: BaseException | None) -> None:
        with contextlib.ExitStack() as all_of_them:
            for callback in reversed(list(self.callbacks)):
                all_of_them.callback(callback.on_train_end, error)


def checked_callbacks(callbacks: Any) -> list[Callback]:
    """Returns the callbacks that a user passed.

    Raises:
        DataTypeError: if they are no list, or one of them is no callback.
    """
    if callbacks is None:
        return []
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        raise DataTypeError(f"callbacks is {callbacks!r}; pass a list of recoder.training.Callback, if need be of one")
    listed = list(callbacks)
    for one in listed:
        if isinstance(one, type) and issubclass(one, Callback):
            raise DataTypeError(f"callbacks has the class {one.__name__}; pass an object, as in {one.__name__}(...)")
        if not isinstance(one, Callback):
            raise DataTypeError(
                f"callbacks has a {type(one).__name__}, no recoder.training.Callback; derive its class from that"
            )
    return listed
