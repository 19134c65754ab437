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
    name: str,
    contestants: Sequence[Contestant],
    store: CellStore,
    schedule: Schedule,
    run: Callable[[Cell], Outcome],
) -> None:
    """Runs what earlier code made on a data set once more; of whom each user's values are the same, all is taken over.

    The times of what is taken over stay those of then.

    Args:
        name: of the data set.
        contestants: of ours and others, who are left alone.
        store: of the results.
        schedule: which knows results of earlier code too.
        run: returns what today's code makes of a cell.
    """
    for who in contestants:
        held = {cell: schedule.find(cell) for cell in schedule.cells(name, who)} if who.is_ours else {}
        earlier = {cell: made for cell, made in held.items() if made and made.is_measured and made.is_of_earlier_code}
        if not earlier:
            continue
        codes = [store.code(cell) for cell in earlier]
        now = {cell: run(cell) for cell in earlier}
        differing = [cell.name for cell, outcome in now.items() if not _has_same_values(earlier[cell], outcome)]
        for cell, outcome in now.items():
            store.keep(cell, outcome)
        if differing:
            _say(f"{who.name}: {', '.join(differing)} differ, so what earlier code made stays marked")
        else:
            number = store.take_over(who, codes)
            _say(f"{who.name}: {len(now)} cells of {name} are the same; {number} others are taken over")


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
