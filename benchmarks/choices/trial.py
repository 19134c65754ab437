"""One training of a recipe, and what its lists are worth to the validation users."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

from benchmarks.choices.alternatives import Change, change_text, changed
from benchmarks.quality.cells import our_code
from benchmarks.quality.judging import MAIN_METRIC, judged, rules_of_judging
from benchmarks.quality.sets import Protocol, SplitFiles
from recoder._files import atomic_write
from recoder.data import RecommendationDataset, UsersInteractions
from recoder.recipes import Recipe

__all__ = ["Outcome", "Trial", "TrialStore", "run_trial"]

_code = cache(lambda: our_code(["benchmarks/choices/trial.py"]))


@dataclass(frozen=True, eq=False)
class Trial:
    """A training.

    Attributes:
        data_set: its name; the split is that of seed 0.
        recipe: its name.
        change: of its defaults.
        seed: of the model.
    """

    data_set: str
    recipe: str
    change: Change
    seed: int

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.data_set}, {self.recipe}, {change_text(self.change) or 'default'}, seed {self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        values: the main metric of each validation user, in order: float64 ``[U]``.
        seconds: of the processor, to train.
    """

    values: npt.NDArray[np.float64]
    seconds: float


class TrialStore:
    """A file for each trial, whose name holds a hash of all that decides its result.

    Args:
        folder: of the files.
        fingerprint_of: what a data set's split holds, by name.
        protocol: how all are judged.
        threads: of each training.

    Attributes:
        protocol, threads: as passed.
    """

    def __init__(self, folder: Path, fingerprint_of: Mapping[str, str], protocol: Protocol, threads: int) -> None:
        self._folder = folder
        self._fingerprint_of = fingerprint_of
        self.protocol = protocol
        self.threads = threads

    def find(self, trial: Trial) -> Outcome | None:
        """Returns the outcome, if today's code made it."""
        path = self._path(trial)
        if not path.exists():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        return Outcome(np.array(content["values"]), content["seconds"])

    def keep(self, trial: Trial, outcome: Outcome) -> None:
        """Writes the outcome."""
        path = self._path(trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"trial": trial.name, "seconds": outcome.seconds, "values": outcome.values.tolist()}
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")

    def judges(self, data_set: str) -> dict[str, Any]:
        """Returns as JSON values by what a data set's trials are judged: split, metric, rules and protocol."""
        judges = {"split": self._fingerprint_of.get(data_set), "metric": MAIN_METRIC.metric_name}
        judges |= {"rules": rules_of_judging(), "protocol": asdict(self.protocol)}
        return dict(json.loads(json.dumps(judges)))

    def _path(self, trial: Trial) -> Path:
        judged_by = [MAIN_METRIC.metric_name, rules_of_judging(), asdict(self.protocol), self.threads]
        described = json.dumps([trial.name, self._fingerprint_of[trial.data_set], _code(), *judged_by])
        return self._folder / f"{hashlib.sha256(described.encode()).hexdigest()[:16]}.json"


def run_trial(trial: Trial, split: SplitFiles, count: int, threads: int) -> Outcome:
    """Trains a recipe, and judges what it recommends to the validation users.

    Args:
        trial: which.
        split: what it is trained and judged on.
        count: items to recommend.
        threads: to use.
    """
    torch.set_num_threads(threads)
    # torch says once, at the first sparse tensor, that it does not check them
    warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")
    train = RecommendationDataset(sparse.load_npz(split.path("train")))
    held_out = split.held_out("valid")
    recipe = changed(trial.recipe, trial.change)
    _warm_up(recipe)
    started = time.process_time()
    recoder = recipe.fit(train, seed=trial.seed)
    seconds = time.process_time() - started
    users = UsersInteractions(len(train) + np.arange(len(held_out)), held_out.interactions_matrix)
    result = judged(recoder.ranked(users, count), held_out)
    return Outcome(result[MAIN_METRIC], seconds)


def _warm_up(recipe: Recipe) -> None:
    """Trains on a few users that are made up, so that what a process does once is done."""
    tiny = sparse.csr_matrix((np.random.default_rng(0).random((300, 250)) < 0.05).astype(np.float32))
    once = {"num_epochs": 1} if "num_epochs" in recipe.train else {}
    recipe.fit(RecommendationDataset(tiny), seed=0, **once)
