"""Results of ours that earlier code made, taken over where today's code computes the same."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.quality.cells import Cell, CellStore, Outcome
from benchmarks.quality.contestants import Contestant
from benchmarks.quality.schedule import Schedule

__all__ = ["adopt"]


def adopt(
    sets_of: Callable[[Contestant], Sequence[str]],
    contestants: Sequence[Contestant],
    store: CellStore,
    schedule: Schedule,
    run: Callable[[Cell], Outcome],
) -> None:
    """Runs what earlier code made on some data sets once more; of whom all is the same, all of every set is taken over.

    The times of what is taken over stay those of then. Whoever was run in part with today's code on one of these sets
    is left alone: what it has there of earlier code does not tell of the rest.

    Args:
        sets_of: returns the data sets that tell of a contestant.
        contestants: of ours and others, who are left alone.
        store: of the results.
        schedule: which knows results of earlier code too.
        run: returns what today's code makes of a cell.
    """
    for who in contestants:
        if not who.is_ours:
            continue
        names = sets_of(who)
        known = [cell for name in names for cell in schedule.cells(name, who)]
        held = {cell: made for cell in known if (made := schedule.find(cell)) is not None and made.is_measured}
        earlier = {cell: made for cell, made in held.items() if made.is_of_earlier_code}
        if not earlier:
            continue
        if len(earlier) < len(known):
            _say(
                f"{who.name}: {len(known) - len(earlier)} of {len(known)} cells of {', '.join(names)} have no numbers "
                "of earlier code, so nothing can be taken over; run all of its cells anew"
            )
            continue
        codes = [store.code(cell) for cell in earlier]
        now = {cell: run(cell) for cell in earlier}  # kept when all are there: an interrupt leaves all to be compared
        differing = [cell.name for cell, outcome in now.items() if not _has_same_values(earlier[cell], outcome)]
        for cell, outcome in now.items():
            store.keep(cell, outcome)
        if differing:
            _say(f"{who.name}: {', '.join(differing)} differ, so what earlier code made stays marked")
        else:
            number = store.take_over(who, codes, names)
            _say(f"{who.name}: {len(now)} cells of {', '.join(names)} are the same; {number} others are taken over")


def _has_same_values(before: Outcome, now: Outcome) -> bool:
    """Returns whether each test user has the same value of each metric, as far as the archives keep it."""
    if before.test_values is None or now.test_values is None:
        return False
    return before.test_values.keys() == now.test_values.keys() and all(
        np.array_equal(values.astype(np.float32), now.test_values[metric].astype(np.float32))
        for metric, values in before.test_values.items()
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
