"""The command line of the quality benchmark."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks.quality.adopting import adopt
from benchmarks.quality.archive import pack, splits_in, unpack
from benchmarks.quality.cells import Cell, CellStore, Outcome, code_of, machine_of
from benchmarks.quality.contestants import CONTESTANTS, SMOKE_CONTESTANTS, Contestant
from benchmarks.quality.epochs import Epochs, EpochStore, measure_epochs, settings_for
from benchmarks.quality.judging import MAIN_METRIC
from benchmarks.quality.page import render_page, results_text
from benchmarks.quality.plots import draw
from benchmarks.quality.running import Runner
from benchmarks.quality.schedule import Schedule
from benchmarks.quality.sets import (
    DATA_SETS,
    SMOKE_SETS,
    Protocol,
    SplitFolder,
    has_set,
    make_smoke_set,
    read_set,
    share_tested,
)
from benchmarks.quality.summary import PREDECESSOR, SUCCESSOR, TUNING_SEED, SetResults, entries_of, points_of
from benchmarks.speed.environments import Unavailable, python_of
from benchmarks.speed.machine import current_commit, describe_machine
from recoder._files import atomic_write
from recoder.data import Interactions
from recoder.recipes import RECIPES

__all__ = ["main"]

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "benchmarks" / "QUALITY.md"
ARCHIVES = PROJECT / "benchmarks" / "quality" / "results"
IMAGES = PROJECT / "docs" / "images"
"""Where results are published: those of these seeds and threads."""
SEEDS, THREADS = [0, 1, 2], 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is missing, prints the tables, writes the page of what there is, and returns the exit status."""
    options = _parser().parse_args(arguments)
    sets, contestants, out, archives = DATA_SETS, CONTESTANTS, options.out, options.archives
    if options.smoke:
        sets, contestants, out = SMOKE_SETS, SMOKE_CONTESTANTS, options.out / "smoke"
        archives = out / "results"
    # torch says once, at the first sparse tensor, that it does not check them
    warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")
    protocol = Protocol()
    try:
        _check_seeds_and_threads(options)
        chosen_sets = _chosen(options.only, {name: name for name in sets}, "--only")
        if options.adopt:
            _chosen(options.adopt, {name: name for name in sets if _reader(options)[1](name)}, "--adopt")
        chosen_contestants = _chosen(options.contestants, {who.name: who for who in contestants}, "--contestants")
        read, has = _reader(options)
        published = {name: splits_in(archives / f"{name}.parquet") for name in sets}
        splits = SplitFolder(out / "splits", read, protocol, has=has, published=published)
        for name in chosen_sets if options.status else sets:
            if not has(name):
                _check_known(name, splits, archives / f"{name}.parquet", options)
        if not options.status:
            chosen_sets = _those_there(chosen_sets, has, options)
    except (LookupError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    for name in sets:
        unpack(archives / f"{name}.parquet", out / "cells")
    store = CellStore(
        out / "cells",
        fingerprint_of=splits.fingerprint,
        code_of=cache(lambda who, data_set: code_of(who, data_set, options.envs)),
        protocol=protocol,
        threads=options.threads,
    )
    kinds = ("failed", "no memory") if options.retry else ()
    machine = describe_machine()
    schedule = Schedule(
        store.find,
        limit_s=60 * options.limit_minutes,
        seeds=options.seeds,
        retry_kinds=kinds,
        machine=machine_of(machine) if options.here else None,
    )
    if options.status:
        print(schedule.status_text(chosen_sets, chosen_contestants, store.find_or_earlier))
        return 0
    _install_rivals(sets, contestants, options)
    runner = Runner(
        environments=options.envs,
        logs=out / "logs",
        protocol=protocol,
        threads=options.threads,
        limit_s=60 * options.limit_minutes,
        may_install=not options.no_install,
        about={"machine": machine, "commit": current_commit(_WRITTEN)},
    )
    stopped = False
    epochs = _epoch_store(archives, splits, options)
    # until a cell is run anew, what earlier code made of it stands in the tables, and is marked
    shown = Schedule(store.find_or_earlier, limit_s=60 * options.limit_minutes, seeds=options.seeds)
    try:
        if options.adopt:
            telling = partial(_telling_sets, options.adopt, list(filter(has, sets)), splits)
            adopt(telling, chosen_contestants, store, shown, partial(_run, runner, splits))
            _adopt_epochs(options.adopt[0], chosen_contestants, splits, epochs, runner)
        if not options.adopt:
            _run_missing(schedule, chosen_sets, chosen_contestants, runner, store, splits, 60 * options.budget_minutes)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on with the first cell that is missing", file=sys.stderr)
        stopped = True
    if not (stopped or options.adopt) and SUCCESSOR in {who.name for who in chosen_contestants}:
        _measure_epochs(chosen_sets, store, splits, epochs, runner)
    results = [
        SetResults(
            name,
            {who: found for who in contestants if (found := shown.outcomes(name, who))},
            share_tested(splits.about(name, TUNING_SEED)),
        )
        for name in sets
        if store.has_any(name)
    ]
    results = [of_set for of_set in results if of_set.outcomes]
    for of_set in results:
        if of_set.name in chosen_sets:
            print(f"\n## {of_set.name}\n\n{results_text(of_set, epochs.find(of_set.name))}")
        _pack(of_set, archives / f"{of_set.name}.parquet", store, splits)
    page, images = (out / "QUALITY.md", out) if options.smoke else (options.page, _images(options))
    facts = {
        "protocol": protocol,
        "threads": options.threads,
        "seeds": options.seeds,
        "contestants": contestants,
        "used": sets,
        "splits": {of_set.name: splits.about(of_set.name, TUNING_SEED) for of_set in results},
        "epochs": {of_set.name: found for of_set in results if (found := epochs.find(of_set.name)) is not None},
    }
    _write_page(results, facts, page, images)
    print(f"wrote {page}")
    return 130 if stopped else 0


def _epoch_store(archives: Path, splits: SplitFolder, options: argparse.Namespace) -> EpochStore:
    return EpochStore(archives, lambda name: settings_for(splits.fingerprint(name, TUNING_SEED), options.threads))


def _measure_epochs(
    sets: Sequence[str], store: CellStore, splits: SplitFolder, epochs: EpochStore, runner: Runner
) -> None:
    """Trains the recipe that succeeds 0.4.0's model once more, epoch by epoch, where 0.4.0 was measured."""
    predecessor = next(who for who in CONTESTANTS if who.name == PREDECESSOR)
    for name in sets:
        theirs = store.find_or_earlier(Cell(name, TUNING_SEED, predecessor, 0))
        found = epochs.find(name)
        if theirs is None or not theirs.is_measured or (found is not None and not found.is_of_earlier_code):
            continue
        now = _epochs_of(name, splits, runner)
        if now is not None:
            epochs.keep(name, now)
            print(f"{name}, epoch by epoch: {len(now.seconds)} in {now.seconds[-1]:.1f} s", file=sys.stderr, flush=True)


def _epochs_of(name: str, splits: SplitFolder, runner: Runner) -> Epochs | None:
    """Returns what a training gives epoch by epoch; None, and says why, if it failed."""
    try:
        return measure_epochs(splits.split(name, TUNING_SEED), runner, name)
    except (TimeoutError, Unavailable) as error:
        print(f"{name}, epoch by epoch: {error}", file=sys.stderr)
        return None


def _telling_sets(named: Sequence[str], there: Sequence[str], splits: SplitFolder, who: Contestant) -> list[str]:
    """Returns the data sets by which results of earlier code are judged: those named, and for a closed form another.

    It is computed over the users where there are fewer of them than items, and over the items otherwise: by code of
    its own each.
    """
    found = RECIPES.get(who.model)
    if found is None or not found.make_model(**found.model).is_solved:
        return list(named)

    known = {name: about for name in (*named, *there) if (about := splits.about(name, TUNING_SEED)) is not None}
    is_over_users = {name: about["users"] < about["items"] for name, about in known.items()}
    shapes = {is_over_users[name] for name in named}
    others = [name for name in known if is_over_users[name] not in shapes]
    return [*named, *sorted(others, key=lambda name: int(known[name]["items"]))[:1]]


def _adopt_epochs(
    name: str, contestants: Sequence[Contestant], splits: SplitFolder, epochs: EpochStore, runner: Runner
) -> None:
    """Takes over the trainings that earlier code did epoch by epoch, where today's is the same on this data set."""
    found = epochs.find(name)
    if SUCCESSOR in {who.name for who in contestants} and found is not None and found.is_of_earlier_code:
        now = _epochs_of(name, splits, runner)
        if now is not None:
            epochs.take_over(name, now)


def _install_rivals(sets: Sequence[str], contestants: Sequence[Contestant], options: argparse.Namespace) -> None:
    """Makes the environments that are missing: by the versions in them results are found, and published once more."""
    if options.no_install:
        return
    rivals = [who for who in contestants if not who.is_ours]
    for rival in dict.fromkeys(who.environment_on(name) for name in sets for who in rivals):
        # what does not install is said where it is to run
        with contextlib.suppress(Unavailable):
            python_of(rival, options.envs)


def _run_missing(
    schedule: Schedule,
    sets: Sequence[str],
    contestants: Sequence[Contestant],
    runner: Runner,
    store: CellStore,
    splits: SplitFolder,
    budget_s: float,
) -> None:
    """Runs one missing cell after the other, none after the budget is spent."""
    end = time.monotonic() + budget_s
    absent: set[str] = set()
    for cell in schedule.missing(sets, contestants):
        if time.monotonic() > end:
            print("the budget is spent; the same command goes on with the next cell", file=sys.stderr)
            return
        environment = cell.contestant.environment_on(cell.data_set)
        if environment in absent:
            continue
        outcome = _run(runner, splits, cell)
        if outcome.kind == "not installed":
            print(f"{environment} is not run: {outcome.reason}", file=sys.stderr, flush=True)
            absent.add(environment)
            continue
        is_kept = store.keep(cell, outcome)
        stays = "" if is_kept else "; the numbers of an earlier run stay"
        print(f"{cell.name}: {_summary(outcome)}{stays}", file=sys.stderr, flush=True)


def _run(runner: Runner, splits: SplitFolder, cell: Cell) -> Outcome:
    return runner.run(cell, splits.split(cell.data_set, cell.seed))


def _summary(outcome: Outcome) -> str:
    if outcome.numbers is None:
        return f"{outcome.kind}: {outcome.reason}"
    name = MAIN_METRIC.metric_name
    return (
        f"{outcome.numbers['train_seconds']:.1f} s, {outcome.numbers['peak_mib']:.0f} MiB, {name} "
        f"{outcome.numbers['valid'][name]:.4f} on validation users, {outcome.numbers['test'][name]:.4f} on test users"
    )


def _pack(results: SetResults, archive: Path, store: CellStore, splits: SplitFolder) -> None:
    """Writes the results of a data set into its archive, with what is known of the splits."""
    name = results.name
    cells = [Cell(name, seed, who, point) for who, outcomes in results.outcomes.items() for point, seed in outcomes]
    seeds = sorted({cell.seed for cell in cells})
    abouts = {seed: about for seed in seeds if (about := splits.about(name, seed)) is not None}
    pack(archive, filter(None, map(store.path_or_earlier, cells)), abouts)


def _write_page(results: Sequence[SetResults], facts: dict[str, Any], page: Path, images: Path) -> None:
    pictures = {}
    for of_set in results:
        points = points_of(of_set)
        if points:
            pictures[of_set.name] = f"quality-{of_set.name}.png"
            chosen = [(entry.contestant, entry.point) for entry in entries_of(of_set) if not entry.num_not_run]
            title = f"{of_set.name}: {MAIN_METRIC.metric_name} against training time"
            draw(title, points, chosen, images / pictures[of_set.name])
    text = render_page(results, facts, images=os.path.relpath(images, page.parent), pictures=pictures)
    with atomic_write(page) as path:
        path.write_text(text, encoding="utf-8")


def _check_seeds_and_threads(options: argparse.Namespace) -> None:
    """Refuses those that nothing can be chosen with, and those that would take the place of what is published.

    Raises:
        ValueError: with the reason.
    """
    if TUNING_SEED not in options.seeds:
        raise ValueError(f"--seeds must name {TUNING_SEED}: settings are chosen with it")
    if options.smoke or options.status or (sorted(options.seeds), options.threads) == (SEEDS, THREADS):
        return
    if _is_same(options.page, PAGE) or _is_same(options.archives, ARCHIVES):
        raise ValueError(
            f"what is published is of --seeds {','.join(map(str, SEEDS))} and --threads {THREADS}; for others name "
            "another --page and other --archives"
        )


def _is_same(path: Path, other: Path) -> bool:
    return path.resolve() == other.resolve()


def _images(options: argparse.Namespace) -> Path:
    """Returns the folder of the page's pictures."""
    named: Path | None = options.images
    beside: Path = options.page.parent
    return named or (IMAGES if _is_same(options.page, PAGE) else beside)


def _reader(options: argparse.Namespace) -> tuple[Callable[[str], Interactions], Callable[[str], bool]]:
    """Returns what reads a data set, and what says whether it is there.

    Raises:
        LookupError: if there is no folder of data sets, but where only the status is asked for.
    """
    if options.smoke:
        return make_smoke_set, lambda name: True
    if not options.status and (options.data is None or not options.data.is_dir()):
        raise LookupError(f"--data (default: RECODER_DATA_DIR) is {options.data}; name the folder of the data sets")
    return lambda name: read_set(options.data, name), lambda name: has_set(options.data, name)


def _check_known(name: str, splits: SplitFolder, archive: Path, options: argparse.Namespace) -> None:
    """Raises ``LookupError`` if the published results of a data set that is not there cannot be found without it."""
    if archive.exists() and splits.about(name, TUNING_SEED) is None:
        raise LookupError(
            f"{archive} does not tell of which splits its results are, and {name} is not there to make them; "
            f"--data (default: RECODER_DATA_DIR) is {options.data}"
        )


def _those_there(names: Sequence[str], has: Callable[[str], bool], options: argparse.Namespace) -> list[str]:
    """Returns the data sets that are there, and says which are not.

    Raises:
        LookupError: if ``--only`` names one of them.
    """
    there = [name for name in names if has(name)]
    for name in names:
        if name not in there:
            if options.only:
                raise LookupError(f"--only names {name}, whose files are not in {options.data / name}")
            print(f"{name} is not run: its files are not in {options.data / name}", file=sys.stderr)
    return there


def _chosen(names: Sequence[str], known: dict[str, Any], option: str) -> list[Any]:
    """Returns what the names mean; all if there are none.

    Raises:
        LookupError: if one is unknown.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        raise LookupError(f"{option} names {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names or known]


_WRITTEN = ("benchmarks/QUALITY.md", "benchmarks/quality/results", "docs/images")
"""By the benchmark itself."""


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    return list(dict.fromkeys(map(int, _names(text))))


def _absolute(text: str) -> Path:
    return Path(text).absolute()  # not resolved: the Python of an environment is a link to another


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks quality", description="Measures quality and training time beside the rivals."
    )
    named = os.environ.get("RECODER_DATA_DIR")
    out = PROJECT / "benchmarks" / "out"
    add = parser.add_argument
    add("--data", type=Path, default=Path(named) if named else None, help="data sets (default: RECODER_DATA_DIR)")
    add("--only", type=_names, default=[], metavar="SET,...", help=f"of {', '.join(DATA_SETS)}")
    who = ", ".join(contestant.name for contestant in CONTESTANTS)
    add("--contestants", type=_names, default=[], metavar="NAME,...", help=f"of {who}")
    add("--seeds", type=_numbers, default=SEEDS, metavar="N,...", help="that chosen settings run with (0,1,2)")
    add("--threads", type=int, default=THREADS, help="of each process (default: %(default)s)")
    add("--limit-minutes", type=float, default=60.0, help="that a cell may take (default: %(default)s)")
    add("--budget-minutes", type=float, default=float("inf"), help="start no cell after so many")
    add("--retry", action="store_true", help="run again what failed or did not fit into memory")
    add("--here", action="store_true", help="run again what ran on other processors or in company")
    add(
        "--adopt",
        type=_names,
        default=[],
        metavar="SET,...",
        help="run of ours what earlier code made on these; whose values are all the same keep all that it made",
    )
    add("--status", action="store_true", help="tell what was run and what is missing, and run nothing")
    add("--smoke", action="store_true", help="tiny data that is made up, no rivals, to try the program")
    add("--envs", type=_absolute, default=out / "envs", help="folder of the rivals' environments")
    add("--no-install", action="store_true", help="take the rivals' environments as they are")
    add("--out", type=_absolute, default=out / "quality", help="folder of results and splits")
    add("--archives", type=_absolute, default=ARCHIVES, help="folder of the published results, to go on from")
    add("--page", type=Path, default=PAGE, help="page to write")
    add("--images", type=Path, default=None, help="folder of its pictures (default: docs/images; beside another page)")
    return parser
