"""The command line of the choices: trains what is missing, and writes the page."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.choices.alternatives import ALTERNATIVES, change_text
from benchmarks.choices.page import Line, Unit, line_of, mean_of, render_page
from benchmarks.choices.trial import Outcome, Trial, TrialStore, run_trial
from benchmarks.quality.cells import defaults_of
from benchmarks.quality.sets import DATA_SETS, Protocol, SplitFiles, SplitFolder, has_set, read_set
from benchmarks.speed.machine import current_commit
from recoder._files import atomic_write
from recoder.recipes import RECIPES

__all__ = ["main"]

PROJECT = Path(__file__).parents[2]
SPLIT_SEED = 0
FEW_USERS = 10_000
"""Sets with fewer users in training, whose means are less certain, have a training with each of ``SEEDS``."""
SEEDS = (0, 1, 2)

_WRITTEN = ("benchmarks/CHOICES.md", "benchmarks/choices/results.json")
"""By the program itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the trials that are missing, publishes recipes of which all was run, and returns the exit status."""
    options, commit = _parser().parse_args(arguments), current_commit(_WRITTEN)
    there = [name for name in DATA_SETS if has_set(options.data, name)]
    if not there:
        said = f"--data (default: RECODER_DATA_DIR) is {options.data}; name the folder of the data sets"
        print(said, file=sys.stderr)
        return 2
    for option, names, known in (("--only", options.only, there), ("--recipes", options.recipes, ALTERNATIVES)):
        unknown = [name for name in names if name not in known]
        if unknown:
            print(f"{option} names {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
            return 2
    folder = SplitFolder(options.out / "splits", lambda name: read_set(options.data, name), Protocol())
    splits = {name: folder.split(name, SPLIT_SEED) for name in options.only or there}
    held = json.loads(options.results.read_text(encoding="utf-8")) if options.results.exists() else []
    known = {*splits, *(unit["data_set"] for unit in held)}.intersection(there)
    fingerprints = {name: str(folder.fingerprint(name, SPLIT_SEED)) for name in known}
    store = TrialStore(options.out / "choices", fingerprints, Protocol(), options.threads)
    trials = trials_of(splits, options.recipes or list(ALTERNATIVES))
    status = 0
    try:
        if not _run([trial for trial in trials if store.find(trial) is None], splits, store, options.processes):
            status = 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on with the trials that are missing", file=sys.stderr)
        status = 130
    found = {trial: store.find(trial) for trial in trials}
    _publish(units_of(found, commit, store), store, options.results, options.page)
    return status


def trials_of(splits: Mapping[str, SplitFiles], recipes: Sequence[str]) -> list[Trial]:
    """Returns all trainings, those of a data set together, defaults first."""
    trials = []
    for data_set, split in splits.items():
        for name in recipes:
            is_drawn = not RECIPES[name].make_model(**RECIPES[name].model).is_solved
            seeds = SEEDS if is_drawn and split.about["users"] < FEW_USERS else SEEDS[:1]
            trials += [Trial(data_set, name, change, seed) for change in ({}, *ALTERNATIVES[name]) for seed in seeds]
    return trials


def units_of(found: Mapping[Trial, Outcome | None], commit: str, store: TrialStore) -> list[Unit]:
    """Returns the recipes on data sets of which the defaults and every change were run, with all seeds."""
    units = []
    for data_set, name in dict.fromkeys((trial.data_set, trial.recipe) for trial in found):
        lines: dict[str, list[Outcome | None]] = {}
        for trial, outcome in found.items():
            if (trial.data_set, trial.recipe) == (data_set, name):
                lines.setdefault(change_text(trial.change), []).append(outcome)
        whole = {change: [one for one in outcomes if one] for change, outcomes in lines.items() if all(outcomes)}
        if len(whole) == len(lines):
            defaults = whole.pop("")
            compared = [line_of(change, outcomes, defaults) for change, outcomes in whole.items()]
            made_by = store.judges(data_set)
            units.append(Unit(data_set, name, commit, defaults_of(name), made_by, mean_of(defaults), compared))
    return units


def _publish(units: Sequence[Unit], store: TrialStore, results: Path, page: Path) -> None:
    """Writes units into the file of all of them, in the place of older ones, and the page of what is in it.

    Units of defaults that are no longer the recipe's are left out, and of other splits or rules than today's.
    """
    held: list[Unit] = []
    if results.exists():
        for each in json.loads(results.read_text(encoding="utf-8")):
            unit = Unit(**{**each, "lines": [Line(**line) for line in each["lines"]]})
            made_by = store.judges(unit.data_set)
            if made_by["split"] is None:  # the data set is not there
                made_by["split"] = unit.made_by["split"]
            now = {"defaults": defaults_of(unit.recipe), "split or rules of judging": made_by}
            then = {"defaults": unit.settings, "split or rules of judging": unit.made_by}
            others = [what for what in now if then[what] != now[what]]
            if not others:
                held.append(unit)
            else:
                said = f"{unit.recipe} on {unit.data_set} is left out: its {' and '.join(others)} are others now"
                print(said, file=sys.stderr)
    by_name = {(unit.data_set, unit.recipe): unit for unit in (*held, *units)}
    order = list(DATA_SETS)
    every = sorted(by_name.values(), key=lambda unit: order.index(unit.data_set))
    with atomic_write(results) as path:
        path.write_text(json.dumps([asdict(unit) for unit in every], indent=1) + "\n", encoding="utf-8")
    changes = {name: [change_text(change) for change in of_recipe] for name, of_recipe in ALTERNATIVES.items()}
    with atomic_write(page) as path:
        path.write_text(render_page(every, changes, few_users=FEW_USERS, num_seeds=len(SEEDS)), encoding="utf-8")
    print(f"wrote {page}")


def _run(trials: Sequence[Trial], splits: Mapping[str, SplitFiles], store: TrialStore, processes: int) -> bool:
    """Runs trials side by side, keeps each outcome when it comes, and returns whether there was one of each."""
    left, running, number, is_whole = list(reversed(trials)), {}, 0, True
    with _threads_of_others(store.threads), ProcessPoolExecutor(processes, _SPAWN) as pool:
        while left or running:
            # none waits in the pool: an interrupt would let it start
            while left and len(running) < processes:
                trial = left.pop()
                future = pool.submit(run_trial, trial, splits[trial.data_set], store.protocol.count, store.threads)
                running[future] = trial
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                trial = running.pop(done)
                number += 1
                try:
                    said = _kept(store, trial, done)
                except BrokenExecutor:
                    print(f"a process died, perhaps for want of memory, while it ran {trial.name}", file=sys.stderr)
                    return False
                except Exception as error:
                    said, is_whole = f"{type(error).__name__}: {error}", False
                print(f"[{number}/{len(trials)}] {trial.name}: {said}", file=sys.stderr, flush=True)
    return is_whole


def _kept(store: TrialStore, trial: Trial, done: Future[Outcome]) -> str:
    """Keeps what a process returned, and returns it in words."""
    outcome = done.result()
    store.keep(trial, outcome)
    return f"{outcome.values.mean():.4f}, {outcome.seconds:.1f} s"


_SPAWN = multiprocessing.get_context("spawn")


@contextmanager
def _threads_of_others(count: int) -> Iterator[None]:
    """Lets processes that are started meanwhile have so many threads."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks choices",
        description="Compares the defaults of the recipes with others, on validation users.",
    )
    named = os.environ.get("RECODER_DATA_DIR")
    add = parser.add_argument
    add("--data", type=Path, default=Path(named) if named else None, help="folder of the data sets")
    add("--only", type=_names, default=[], help="data sets to run, with commas between (default: all that are there)")
    add("--recipes", type=_names, default=[], help=f"of {', '.join(ALTERNATIVES)} (default: all)")
    add("--processes", type=int, default=os.cpu_count() or 1, help="trainings side by side (default: %(default)s)")
    add("--threads", type=int, default=1, help="of each (default: %(default)s)")
    add("--out", type=Path, default=PROJECT / "benchmarks" / "out" / "quality", help="folder of splits and outcomes")
    add("--results", type=Path, default=PROJECT / _WRITTEN[1], help="file of what was published, to go on from")
    add("--page", type=Path, default=PROJECT / _WRITTEN[0], help="page to write")
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
