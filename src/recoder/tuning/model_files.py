"""The file of the best model of a study, beside the study."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from recoder._files import move
from recoder.data.interactions import Interactions
from recoder.model import Recoder

__all__ = ["ModelFiles"]


@dataclass(frozen=True)
class ModelFiles:
    """The files of a study's trials.

    Args:
        study: the study's path.
    """

    study: Path

    def of(self, number: int) -> Path:
        """Returns the path of a trial's file."""
        prefix = self._prefix(number)
        return prefix.with_name(f"{prefix.name}.model")

    def present(self) -> Path | None:
        """Returns the file of the best trial so far; None where none was completed."""
        return next(iter(sorted(self.study.parent.glob(f"{glob.escape(self.study.name)}_trial_*.model"))), None)

    def save(self, number: int, recoder: Recoder, train: Interactions) -> None:
        """Writes a trial's file, with the raw ids and the titles of the training interactions."""
        move(recoder.save_state(self._prefix(number), interactions=train), self.of(number))

    def remove(self, numbers: Iterable[int]) -> None:
        """Removes the files of trials, as far as they have any."""
        for number in numbers:
            self.of(number).unlink(missing_ok=True)

    def _prefix(self, number: int) -> Path:
        return self.study.with_name(f"{self.study.name}_trial_{number}")
