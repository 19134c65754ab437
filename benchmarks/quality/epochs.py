"""How good the recipe that succeeds 0.4.0's model is after each epoch, and how long that takes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.cells import SHARED_WORKER_FILES, defaults_of, our_code
from benchmarks.quality.judging import MAIN_METRIC, judged, rules_of_judging
from benchmarks.quality.running import Runner
from benchmarks.quality.sets import SplitFiles
from benchmarks.quality.summary import SUCCESSOR, TUNING_SEED
from benchmarks.speed.works import OURS
from recoder._files import atomic_write

__all__ = ["EpochStore", "Epochs", "measure_epochs", "settings_for"]

WORKER = "epochs.py"
_PARTS = ("seconds", "valid", "test")


@dataclass(frozen=True)
class Epochs:
    """A training, epoch by epoch.

    Attributes:
        seconds: of training until each epoch's end, from the matrix in memory on.
        valid: the main metric of the validation users there.
        test: likewise of the test users.
        about: versions, machine and commit.
        others_busy: processors that other processes used meanwhile, on average.
        is_of_earlier_code: whether code made it that is no longer the same.
    """

    seconds: tuple[float, ...]
    valid: tuple[float, ...]
    test: tuple[float, ...]
    about: Mapping[str, Any]
    others_busy: float = 0.0
    is_of_earlier_code: bool = False

    def first_with(self, valid: float) -> int | None:
        """Returns the first epoch, from 1, that has no less of the main metric on validation users; None: none has."""
        return next((epoch for epoch, reached in enumerate(self.valid, 1) if reached >= valid), None)


class EpochStore:
    """A JSON file for each data set, which says what it was measured with.

    Args:
        folder: of the files.
        settings_of: returns all that decides the result for a data set, as JSON values.
    """

    def __init__(self, folder: Path, settings_of: Callable[[str], dict[str, Any]]) -> None:
        self._folder = folder
        self._settings_of = settings_of

    def find(self, name: str) -> Epochs | None:
        """Returns what was measured on a data set, if anything was; by the rules and defaults of today.

        Code alone may be that of an earlier time.
        """
        path = self._path(name)
        if not path.exists():
            return None
        held = json.loads(path.read_text(encoding="utf-8"))
        settings = self._settings_of(name)
        if held["settings"] | {"code": settings["code"]} != settings:
            return None
        parts = {part: tuple(held[part]) for part in _PARTS}
        return Epochs(
            **parts,
            about=held["about"],
            others_busy=held["others_busy"],
            is_of_earlier_code=held["settings"] != settings,
        )

    def keep(self, name: str, epochs: Epochs) -> None:
        """Writes what was measured on a data set."""
        content = {"settings": self._settings_of(name)}
        content |= {part: getattr(epochs, part) for part in ("about", "others_busy", *_PARTS)}
        with atomic_write(self._path(name)) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def take_over(self, name: str, now: Epochs) -> None:
        """Keeps what today's code measured; if it is as good after each epoch, what that code made of others too."""
        before = json.loads(self._path(name).read_text(encoding="utf-8"))
        self.keep(name, now)
        if (tuple(before["valid"]), tuple(before["test"])) != (now.valid, now.test):
            return
        for path in sorted(self._folder.glob("*-epochs.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["settings"]["code"] == before["settings"]["code"]:
                settings = self._settings_of(path.name.removesuffix("-epochs.json"))
                content["settings"]["code"] = settings["code"]
                with atomic_write(path) as temporary:
                    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}-epochs.json"


def settings_for(fingerprint: str, threads: int) -> dict[str, Any]:
    """Returns all that decides the result, as JSON values."""
    worker = (f"benchmarks/quality/workers/{WORKER}", *SHARED_WORKER_FILES)
    return {
        "split": fingerprint,
        "threads": threads,
        "code": our_code(worker),
        "defaults": defaults_of(SUCCESSOR),
        "judged by": rules_of_judging(),
    }


def measure_epochs(split: SplitFiles, runner: Runner, name: str) -> Epochs:
    """Trains the recipe with its defaults in a process of its own.

    Args:
        split: of the tuning seed.
        runner: starts the process.
        name: of the data set, for the log.

    Raises:
        TimeoutError: if it took longer than the runner allows.
        Unavailable: if it failed.
    """
    with tempfile.TemporaryDirectory(prefix="recoder-epochs-") as lists:
        task = {
            "task": "epochs",
            "model": SUCCESSOR,
            "settings": {},
            "seed": TUNING_SEED,
            "count": runner.protocol.count,
            "lists": lists,
            **{part: str(split.path(part).resolve()) for part in ("train", "valid", "test")},
        }
        versions, numbers = runner.asked(OURS, WORKER, task, f"{name}-epochs")
        qualities: dict[str, list[float]] = {"valid": [], "test": []}
        for part, of_part in qualities.items():
            held_out = split.held_out(part)
            for epoch in range(1, len(numbers["seconds"]) + 1):
                ranked = np.load(Path(lists, f"{part}-{epoch}.npy")).astype(np.int64)
                of_part.append(float(judged(ranked, held_out).mean[MAIN_METRIC]))
    valid, test = (tuple(of_part) for of_part in qualities.values())
    return Epochs(tuple(numbers["seconds"]), valid, test, {**runner.about, **versions}, numbers["others_busy"])
