"""The command line of the choices: trains what is missing, and writes the page."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from benchmarks.choices.alternatives import ALTERNATIVES
from benchmarks.choices.page import Results, render_page
from benchmarks.choices.trial import Outcome, Trial, TrialStore, run_trial
from benchmarks.quality.sets import DATA_SETS, Protocol, SplitFiles, SplitFolder, has_set, read_set
from benchmarks.speed.machine import current_commit
from recoder._files import atomic_write

__all__ = ["main"]

PROJECT = Path(__file__).parents[2]
SPLIT_SEED = 0
FEW_USERS = 10_000
"""Sets with fewer users in training, whose means are less certain, have a training with each of ``SEEDS``."""
SEEDS = (0, 1, 2)

_WRITTEN = ("benchmarks/CHOICES.md",)
"""By the program itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the trials that are missing, writes the page of what there is, and returns the exit status."""
    options = _parser().parse_args(arguments)
    named = {"--only": (options.only, DATA_SETS), "--recipes": (options.recipes, ALTERNATIVES)}
    for option, (names, known) in named.items():
        unknown = [name for name in names if name not in known]
        if unknown:
            print(f"{option} names {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
            return 2
    sets = [name for name in DATA_SETS if has_set(options.data, name)]
    if not sets:
        print(
            f"--data (default: RECODER_DATA_DIR) is {options.data}; name the folder of the data sets", file=sys.stderr
        )
        return 2
    folder = SplitFolder(options.out / "splits", lambda name: read_set(options.data, name), Protocol())
    splits = {name: folder.split(name, SPLIT_SEED) for name in sets}
    store = TrialStore(options.out / "choices", {name: split.about["fingerprint"] for name, split in splits.items()})
    trials = trials_of(splits)
    wanted_sets, wanted_recipes = options.only or sets, options.recipes or list(ALTERNATIVES)
    missing = [
        trial
        for trial in trials
        if trial.data_set in wanted_sets and trial.recipe in wanted_recipes and store.find(trial) is None
    ]
    stopped = False
    try:
        _run(missing, splits, store, options.processes, options.threads)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on with the trials that are missing", file=sys.stderr)
        stopped = True
    found = {trial: outcome for trial in trials if (outcome := store.find(trial)) is not None}
    text = render_page(results_of(found), few_users=FEW_USERS, num_seeds=len(SEEDS), commit=current_commit(_WRITTEN))
    with atomic_write(options.page) as path:
        path.write_text(text, encoding="utf-8")
    print(f"wrote {options.page}")
    return 130 if stopped else 0


def trials_of(splits: Mapping[str, SplitFiles]) -> list[Trial]:
    """Returns all trainings, those of a data set together, defaults first."""
    return [
        Trial(data_set, name, change, seed)
        for data_set, split in splits.items()
        for name, changes in ALTERNATIVES.items()
        for change in ({}, *changes)
        for seed in (SEEDS if split.about["users"] < FEW_USERS else SEEDS[:1])
    ]


def results_of(found: Mapping[Trial, Outcome]) -> Results:
    """Returns the outcomes as the page wants them; recipes without any are left out."""
    sets = list(dict.fromkeys(trial.data_set for trial in found))
    results = {}
    for name, changes in ALTERNATIVES.items():
        lines = []
        for change in ({}, *changes):
            of_change = {
                data_set: [
                    outcome
                    for trial, outcome in found.items()
                    if (trial.data_set, trial.recipe, trial.change) == (data_set, name, change)
                ]
                for data_set in sets
            }
            if any(of_change.values()):
                lines.append((change, of_change))
        if lines and not lines[0][0]:
            results[name] = lines
    return results


def _run(
    trials: Sequence[Trial], splits: Mapping[str, SplitFiles], store: TrialStore, processes: int, threads: int
) -> None:
    """Runs trials side by side, and keeps each outcome when it comes."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read where the processes start
    count = Protocol().count
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    try:
        running = {pool.submit(run_trial, trial, splits[trial.data_set], count, threads): trial for trial in trials}
        for number, done in enumerate(as_completed(running), start=1):
            trial, outcome = running[done], done.result()
            store.keep(trial, outcome)
            mean = outcome.values.mean()
            print(
                f"[{number}/{len(trials)}] {trial.name}: {mean:.4f}, {outcome.seconds:.1f} s",
                file=sys.stderr,
                flush=True,
            )
    finally:
        pool.shutdown(cancel_futures=True)


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
    add("--out", type=Path, default=PROJECT / "benchmarks" / "out" / "quality", help="folder of splits and results")
    add("--page", type=Path, default=PROJECT / "benchmarks" / "CHOICES.md", help="page to write")
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
