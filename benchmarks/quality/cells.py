"""Cells of the table, and the files that their results are kept in, so that an interrupted run goes on."""

from __future__ import annotations

import glob
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.quality.contestants import Contestant
from benchmarks.quality.judging import METRICS, rules_of_judging
from benchmarks.quality.sets import Protocol
from benchmarks.speed.environments import versions_in
from benchmarks.speed.store import source_hash
from recoder._files import atomic_write
from recoder.ops.kernels import library
from recoder.recipes import RECIPES

__all__ = ["Cell", "CellStore", "Outcome", "code_of", "defaults_of", "machine_of", "our_code"]

FORMAT = 2
DISTURBED = 0.1
"""Processors that others may use on average while a training counts as undisturbed."""

_SHORT_S = 0.2  # the system counts in hundredths of a second

OUR_CODE = (
    *(f"src/recoder/{folder}/**/*.py" for folder in ("nn", "ops", "recommender", "training")),
    "src/recoder/ops/**/*.[ch]",
    *(f"src/recoder/data/{name}.py" for name in ("batches", "datasets", "loader", "mapped", "matrices", "prefetch")),
    *(f"src/recoder/{name}.py" for name in ("_random", "losses", "model", "recipes")),
    "hatch_build.py",
)
"""What training and recommending run; splits and the rules of judging have hashes of their own."""

NOT_OF_A_CELL = tuple(
    f"src/recoder/training/{name}.py"
    for name in (
        *("gradients", "growth", "restarts"),
        *("file_sections", "legacy", "model_file", "part_files", "restore"),
        *("history", "history_html"),
    )
)
"""What there is for processes that train together, for learning what is new, for files, and for showing."""

SHARED_WORKER_FILES = ("benchmarks/quality/workers/cell.py", "benchmarks/speed/workers/protocol.py")


@dataclass(frozen=True)
class Cell:
    """One training and judgement.

    Attributes:
        data_set: its name.
        seed: of the split and of the model.
        contestant: who.
        point: of the contestant's grid.
    """

    data_set: str
    seed: int
    contestant: Contestant
    point: int

    @property
    def name(self) -> str:
        """In words, fit for a file name."""
        who = re.sub(r"[^a-z0-9.]+", "-", self.contestant.name.lower())
        return f"{self.data_set}-{who}-{self.point}-seed{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        kind: ``"measured"``, ``"over time"``, ``"no memory"`` or ``"failed"``; ``"not installed"`` is not kept.
        reason: why there are no numbers.
        limit_s: the time limit that it ran under.
        numbers: ``train_seconds``, ``recommend_seconds``, ``peak_mib``; ``others_busy``, the processors that other
            processes used while it trained; ``valid`` and ``test``: means by metric.
        test_values: each test user's value by metric.
        about: versions, machine and commit.
        is_of_earlier_code: whether code, or packages of a rival, made it that are no longer the same.
        since: what became of it when later code ran it, which gave no numbers.
    """

    kind: str
    limit_s: float
    reason: str = ""
    numbers: Mapping[str, Any] | None = None
    test_values: Mapping[str, npt.NDArray[np.float64]] | None = None
    about: Mapping[str, Any] | None = None
    is_of_earlier_code: bool = False
    since: str = ""

    @property
    def is_measured(self) -> bool:
        """Whether there are numbers."""
        return self.kind == "measured"

    @property
    def machine(self) -> tuple[str, ...]:
        """Processor and instruction sets that it was measured with; empty where nothing was."""
        return machine_of((self.about or {}).get("machine", {}))

    @property
    def was_disturbed(self) -> bool:
        """Whether other processes took so much of the machine that its training may have been quicker alone."""
        if self.numbers is None or self.numbers["train_seconds"] < _SHORT_S:
            return False
        return bool(self.numbers["others_busy"] > DISTURBED)


class CellStore:
    """A JSON file for each cell, and beside it the users' values; the names hold a hash of all that decides a result.

    Args:
        folder: of the files.
        fingerprint_of: returns that of a data set's split by a seed; None: nobody knows it, so nothing is kept of it.
        code_of: returns what stands for the code of a contestant on a data set.
        protocol: how all are judged.
        threads: of each process.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fingerprint_of: Callable[[str, int], str | None],
        code_of: Callable[[Contestant, str], Any],
        protocol: Protocol,
        threads: int,
    ) -> None:
        self._folder = folder
        self._fingerprint_of = fingerprint_of
        self._code_of = code_of
        self._protocol = protocol
        self._threads = threads

    def settings(self, cell: Cell) -> dict[str, Any]:
        """Returns all that decides a cell's result, as JSON values."""
        who = cell.contestant
        return {
            "format": FORMAT,
            "data set": cell.data_set,
            "split": self._fingerprint_of(cell.data_set, cell.seed),
            "seed": cell.seed,
            "environment": who.environment_on(cell.data_set),
            "worker": who.worker,
            "model": who.model,
            "settings": dict(who.grid[cell.point]),
            **({"defaults": defaults_of(who.model)} if who.is_ours else {}),
            "code": self._code_of(who, cell.data_set),
            "judged by": rules_of_judging(),
            "protocol": asdict(self._protocol),
            "threads": self._threads,
        }

    def path(self, cell: Cell) -> Path:
        """Returns the cell's file."""
        return self._path(cell.name, self.settings(cell))

    def _path(self, name: str, settings: Mapping[str, Any]) -> Path:
        described = json.dumps(settings, sort_keys=True)
        return self._folder / f"{name}-{hashlib.sha256(described.encode()).hexdigest()[:12]}.json"

    def find(self, cell: Cell) -> Outcome | None:
        """Returns what became of the cell, or None if it was not tried with these settings and this code."""
        path = self.path(cell)
        if path.exists():
            return _read(path)
        again = (_content(earlier).get("again", {}) for earlier in self._earlier(cell))
        return next((Outcome(**each["outcome"]) for each in again if each.get("cell") == path.stem), None)

    def path_or_earlier(self, cell: Cell) -> Path | None:
        """Returns the cell's file; if there is none, that of the same settings with code of an earlier time."""
        return self.path(cell) if self.path(cell).exists() else next(self._earlier(cell), None)

    def find_or_earlier(self, cell: Cell) -> Outcome | None:
        """Returns what became of the cell; if it was not tried with this code, what earlier code made of it."""
        path = self.path_or_earlier(cell)
        if path is None:
            return None
        outcome = _read(path)
        return outcome if path == self.path(cell) else replace(outcome, is_of_earlier_code=True)

    def _earlier(self, cell: Cell) -> Iterator[Path]:
        """Yields the cell's files that differ in their code alone, the last one written first."""
        settings = self.settings(cell)
        paths = self._folder.glob(f"{glob.escape(cell.name)}-*.json")
        for path in sorted(paths, key=lambda path: (-path.stat().st_mtime, path.name)):
            held = _content(path)["settings"]
            if path != self.path(cell) and held | {"code": settings["code"]} == settings:
                yield path

    def code(self, cell: Cell) -> Any:
        """Returns what stands for the code that made what is kept of the cell; None where nothing is."""
        path = self.path_or_earlier(cell)
        return None if path is None else _content(path)["settings"]["code"]

    def take_over(self, contestant: Contestant, codes: Sequence[Any], same_on: Sequence[str]) -> int:
        """Gives what these codes made of a contestant, on any data set, the code of today; returns how much it was.

        Args:
            contestant: whose results.
            codes: of earlier times.
            same_on: data sets on which today's code gives what they gave, for the record.
        """
        taken = 0
        for path in sorted(self._folder.glob("*.json")):
            content = _content(path)
            settings = content["settings"]
            who = (settings["environment"], settings["worker"], settings["model"])
            if who != (contestant.environment, contestant.worker, contestant.model) or settings["code"] not in codes:
                continue
            content["settings"] = settings | {"code": self._code_of(contestant, settings["data set"])}
            if content["about"] is not None:
                content["about"]["same on"] = list(same_on)
            target = self._path(path.stem.rpartition("-")[0], content["settings"])
            if not target.exists():
                if path.with_suffix(".npz").exists():
                    shutil.copyfile(path.with_suffix(".npz"), target.with_suffix(".npz"))
                _write(target, content)
                taken += 1
            path.unlink()
            path.with_suffix(".npz").unlink(missing_ok=True)
        return taken

    def has_any(self, data_set: str) -> bool:
        """Whether a cell of the data set was ever kept."""
        return any(self._folder.glob(f"{data_set}-*.json"))

    def keep(self, cell: Cell, outcome: Outcome) -> bool:
        """Writes what became of the cell in the place of what was there, of earlier code too; returns whether it did.

        Where there are numbers they stay, if the outcome has none, and beside them what became of it, for ``find``. The
        JSON file comes last, so that where it is all is there.
        """
        path = self.path(cell)
        held = [*([path] if path.exists() else []), *self._earlier(cell)]
        measured = next((each for each in held if _content(each)["kind"] == "measured"), None)
        if not outcome.is_measured and measured is not None:
            again = {name: getattr(outcome, name) for name in ("kind", "limit_s", "reason")}
            _write(measured, _content(measured) | {"again": {"cell": path.stem, "outcome": again}})
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        if outcome.test_values is not None:
            with atomic_write(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
                np.savez(file, **outcome.test_values)  # type: ignore[arg-type]  # its stubs take the flag for one of them
        content = {"settings": self.settings(cell)}
        content |= {name: getattr(outcome, name) for name in ("kind", "limit_s", "reason", "numbers", "about")}
        _write(path, content)
        for earlier in list(self._earlier(cell)):
            earlier.unlink()
            earlier.with_suffix(".npz").unlink(missing_ok=True)
        return True


def _content(path: Path) -> dict[str, Any]:
    """Returns what the JSON file of a cell holds."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _read(path: Path) -> Outcome:
    """Returns the outcome that a file of a cell holds."""
    content = _content(path)
    values = None
    if content["kind"] == "measured":
        with np.load(path.with_suffix(".npz")) as arrays:
            values = {metric.metric_name: arrays[metric.metric_name] for metric in METRICS}
    return Outcome(
        kind=content["kind"],
        limit_s=content["limit_s"],
        reason=content["reason"],
        numbers=content["numbers"],
        test_values=values,
        about=content["about"],
        since="{kind}: {reason}".format(**content["again"]["outcome"]) if "again" in content else "",
    )


def machine_of(described: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the processor and the instruction sets of a machine's description; empty for an empty one."""
    return (described.get("processor", "?"), *described.get("flags", ())) if described else ()


def code_of(contestant: Contestant, data_set: str, environments: Path) -> Any:
    """Returns what stands for the code that a contestant's results on a data set depend on.

    Of ours the sources and the worker, and what they compute with; of a rival the worker and the versions of the
    packages that are asked for: what else they bring has a new version every week, and computes nothing.
    """
    worker = (f"benchmarks/quality/workers/{contestant.worker}", *SHARED_WORKER_FILES)
    if contestant.is_ours:
        return our_code(worker)
    if contestant.environment == "recoder-0.4.0":
        worker = (*worker, "benchmarks/speed/workers/recoder_040.py")
    return [source_hash(worker), versions_in(contestant.environment_on(data_set), environments)]


def defaults_of(name: str) -> dict[str, Any] | None:
    """Returns all settings of a recipe, as JSON values: what others gave is none of its results. None: no recipe."""
    found = RECIPES.get(name)
    if found is None:
        return None
    settings = {**found.model, **found.recoder, **found.train, "users_per_batch": asdict(found.users_per_batch)}
    whole: dict[str, Any] = json.loads(json.dumps(settings))
    return whole


def our_code(worker: Sequence[str]) -> list[Any]:
    """Returns what stands for the code of ours that these files of a worker run, and for what it computes with."""
    with_versions = {name: version(name) for name in ("torch", "numpy", "scipy")}
    kernels = {"kernels": "none" if library() is None else "compiled"}
    return [source_hash((*OUR_CODE, *worker), without=NOT_OF_A_CELL), with_versions | kernels]
