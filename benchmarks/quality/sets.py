"""The data sets, split once into files that all contestants read."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.real_data_runner import read_interactions
from benchmarks.speed.store import source_hash
from benchmarks.synthetic import Shape, make_interactions
from recoder.data import Interactions, RecommendationDataset, strong_generalization

__all__ = [
    "DATA_SETS",
    "MOST_OF_THE_ACTIVE",
    "SMOKE_SETS",
    "Protocol",
    "SplitFiles",
    "SplitFolder",
    "has_set",
    "make_smoke_set",
    "read_set",
    "share_tested",
]

About = Mapping[str, Any]
"""``fingerprint`` of a split's matrices, their sizes, and ``made``: the protocol and the code that made them."""

_SOURCES = {
    "goodbooks-10k-v1": ("ratings of 4 and 5", ["interactions.parquet"], 4.0),
    "gowalla": ("all check-ins", ["train.parquet", "test.parquet"], None),
    "citeulike-a": ("all articles of users' libraries", ["interactions.parquet"], None),
    "lastfm-2k": ("all artists that a user listened to", ["interactions.parquet"], None),
    "epinions": ("all ratings, as what was rated", ["train.parquet", "test.parquet"], None),
    "msweb": ("all areas of a web site that were visited", ["interactions.parquet"], None),
    "retailrocket-small": ("all products that were seen", ["interactions.parquet"], None),
    "book-crossing": ("all books, rated or only read", ["interactions.parquet"], None),
}

DATA_SETS = {name: used for name, (used, _, _) in _SOURCES.items()}
"""What is used of each set, by name."""

SMOKE_SETS = {"made-up": "interactions that are made up"}
_SMOKE_SHAPE = Shape(num_users=900, num_items=300, mean_interactions=20, num_tastes=6)

_MADE_BY = (
    "src/recoder/data/**/*.py",
    "src/recoder/_random.py",
    *(f"benchmarks/{name}.py" for name in ("quality/sets", "real_data_runner", "synthetic")),
)
"""What reads a data set and splits it."""

MOST_OF_THE_ACTIVE = 0.25
"""The part of the users with enough interactions that is held out for validation at most: training needs them too."""

# the matrices of a split; workers read all but the targets
_PARTS = ("train", "valid", "valid_target", "test", "test_target")


@dataclass(frozen=True)
class Protocol:
    """How everyone is judged.

    Attributes:
        held_out: the part of the users that is held out for validation, and the same for the test; less where that is
            more than ``MOST_OF_THE_ACTIVE`` of those with ``min_interactions``.
        fold_in: the part of a held-out user's interactions that is given.
        min_interactions: of a user who is held out.
        count: items that are recommended to each.
    """

    held_out: float = 0.1
    fold_in: float = 0.8
    min_interactions: int = 5
    count: int = 100


@dataclass(frozen=True)
class SplitFiles:
    """A data set, split by a seed.

    Attributes:
        folder: where its files are.
        about: what they hold.
    """

    folder: Path
    about: About

    def path(self, part: str) -> Path:
        """Returns the file of a matrix: ``"train"``, the history of ``"valid"`` or ``"test"`` users."""
        return self.folder / f"{part}.npz"

    def held_out(self, part: str) -> RecommendationDataset:
        """Returns the ``"valid"`` or the ``"test"`` users, with what is to be found."""
        return RecommendationDataset(*(sparse.load_npz(self.path(name)) for name in (part, f"{part}_target")))


class SplitFolder:
    """Splits data sets when they are asked for, and keeps the files.

    Args:
        folder: where to.
        read: returns the interactions of a data set by its name.
        protocol: how it is split.
        has: says whether a data set can be read.
        published: ``about`` of the splits that published results were measured on, by data set and seed.
    """

    def __init__(
        self,
        folder: Path,
        read: Callable[[str], Interactions],
        protocol: Protocol,
        *,
        has: Callable[[str], bool] = lambda name: True,
        published: Mapping[str, Mapping[int, About]] | None = None,
    ) -> None:
        self._folder = folder
        self._read = read
        self._protocol = protocol
        self._has = has
        self._published = published or {}
        # a split is made anew when the code of the data changes; what it holds decides whether results are kept
        self._made = {"protocol": asdict(protocol), "made by": source_hash(_MADE_BY)}
        self._known: dict[tuple[str, int], About] = {}

    def split(self, name: str, seed: int) -> SplitFiles:
        """Returns a data set, split by a seed."""
        folder = self._folder_of(name, seed)
        about = self._on_disk(name, seed)
        if about is None or about["made"] != self._made:
            interactions = self._read(name)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            about = {"made": self._made, **self._write(interactions, seed, folder)}
            (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        self._known[name, seed] = about
        return SplitFiles(folder, about)

    def about(self, name: str, seed: int) -> About | None:
        """Returns what a split holds; None where nobody tells and the data set is not there.

        The split is made only if neither a file nor the published results tell what the same protocol and code made of
        it. Where the data set is not there, what other code made counts as well.
        """
        if (name, seed) not in self._known:
            held = [self._on_disk(name, seed), self._published.get(name, {}).get(seed)]
            told = [about for about in held if about is not None]
            made_so = [about for about in told if about["made"] == self._made]
            if made_so:
                self._known[name, seed] = made_so[0]
            elif self._has(name):
                self.split(name, seed)
            elif told:
                self._known[name, seed] = told[-1]
        return self._known.get((name, seed))

    def fingerprint(self, name: str, seed: int) -> str | None:
        """Returns what stands for the matrices of a split; None where ``about`` returns it."""
        about = self.about(name, seed)
        return None if about is None else str(about["fingerprint"])

    def _folder_of(self, name: str, seed: int) -> Path:
        return self._folder / f"{name}-{seed}"

    def _on_disk(self, name: str, seed: int) -> About | None:
        path = self._folder_of(name, seed) / "about.json"
        if not path.exists():
            return None
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return about

    def _write(self, interactions: Interactions, seed: int, folder: Path) -> dict[str, Any]:
        num_active = int((np.diff(interactions.matrix.indptr) >= self._protocol.min_interactions).sum())
        held_out = min(
            round(self._protocol.held_out * interactions.num_users), math.floor(MOST_OF_THE_ACTIVE * num_active)
        )
        split = strong_generalization(
            interactions,
            num_valid_users=held_out,
            num_test_users=held_out,
            fold_in=self._protocol.fold_in,
            min_interactions=self._protocol.min_interactions,
            seed=seed,
        )
        datasets = [split.valid.dataset, split.test.dataset]
        matrices = [split.train.matrix]
        matrices += [part for held in datasets for part in (held.interactions_matrix, held.target_interactions_matrix)]
        digest = hashlib.sha256()
        for part, matrix in zip(_PARTS, matrices, strict=True):
            sparse.save_npz(folder / f"{part}.npz", matrix, compressed=False)
            for array in (np.array(matrix.shape), matrix.indptr, matrix.indices):
                digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
        return {
            "fingerprint": digest.hexdigest()[:16],
            "users": split.train.num_users,
            "items": split.train.num_items,
            "interactions": int(split.train.matrix.nnz),
            "held out": held_out,
            "with enough": num_active,
        }


def share_tested(about: About | None) -> float:
    """Returns the part of the users with enough interactions who are in the test of a split.

    Where nobody tells how many have enough, it is as large as it can be.
    """
    return about["held out"] / about["with enough"] if about and "with enough" in about else MOST_OF_THE_ACTIVE


def read_set(folder: Path, name: str) -> Interactions:
    """Returns the interactions of a data set, each of weight 1.

    Args:
        folder: of all the sets.
        name: a key of ``DATA_SETS``.
    """
    _, files, min_rating = _SOURCES[name]
    return read_interactions([folder / name / file for file in files], min_rating)


def has_set(folder: Path | None, name: str) -> bool:
    """Whether a folder, where there is one, has all files of a data set."""
    _, files, _ = _SOURCES[name]
    return folder is not None and all((folder / name / file).is_file() for file in files)


def make_smoke_set(name: str) -> Interactions:
    """Returns the interactions that are made up; ``name`` is the key of ``SMOKE_SETS``."""
    return Interactions.from_matrix(make_interactions(_SMOKE_SHAPE, seed=len(name)))
