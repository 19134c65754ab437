"""The file of the best model of a study, beside the study."""

from __future__ import annotations

import glob
import re
import shutil
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path

from recoder._files import move
from recoder.data.interactions import Interactions, of_nobody
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
        return next((path for _, path in self._found("")), None)

    def save(self, number: int, recoder: Recoder, train: Interactions) -> None:
        """Writes a trial's file, with the raw ids and titles of the items, and those of users if it looks users up."""
        kept = of_nobody(train) if recoder.model.folds_in_users else train
        move(recoder.save_state(self._prefix(number), interactions=kept), self.of(number))

    def remove(self, numbers: Iterable[int]) -> None:
        """Removes the files of trials, as far as they have any."""
        for number in numbers:
            self.of(number).unlink(missing_ok=True)

    def remove_unfinished(self, numbers: Container[int]) -> None:
        """Removes what is left of trials whose process was killed before their file had its name."""
        for number, path in self._found("_epoch_[0-9]+"):
            if number in numbers:
                path.unlink(missing_ok=True)
        begun = re.compile(rf"\.{re.escape(self.study.name)}_trial_([0-9]+)_epoch_[0-9]+\.model\..+")  # half written
        for path in self.study.parent.glob(f".{glob.escape(self.study.name)}_trial_*"):
            match = begun.fullmatch(path.name)
            if match and int(match[1]) in numbers:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _found(self, ending: str) -> list[tuple[int, Path]]:
        """Returns the trials' files whose names end so, with the trials' numbers and in their order."""
        pattern = re.compile(rf"{re.escape(self.study.name)}_trial_([0-9]+){ending}\.model")
        paths = self.study.parent.glob(f"{glob.escape(self.study.name)}_trial_*.model")
        return sorted((int(match[1]), path) for path in paths if (match := pattern.fullmatch(path.name)))

    def _prefix(self, number: int) -> Path:
        return self.study.with_name(f"{self.study.name}_trial_{number}")
