"""The page's first table: on each data set the best of ours beside the best of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmarks.quality.contestants import Contestant
from benchmarks.quality.judging import MAIN_METRIC
from benchmarks.quality.summary import (
    Entry,
    SetResults,
    best_of_ours,
    best_of_rivals,
    compared,
    entries_of,
    machine_of_most,
    num_points_run,
)
from benchmarks.quality.words import NO_DIFFERENCE, Machine, listed, seconds_text, settings_of, verdict_of
from benchmarks.speed.lines import markdown_table

__all__ = ["overview_text"]

_MAIN = MAIN_METRIC.metric_name

_INTRODUCTION = """\
Of ours the best on the validation users, beside the rival that is best on the test users, means of all seeds. The
difference is paired over the test users; ours is higher where its 95 % interval lies above 0.
"""


def overview_text(results: Sequence[SetResults], contestants: Sequence[Contestant]) -> str:
    """Returns the table and what it comes to; empty where nothing can be compared.

    Args:
        results: of each data set.
        contestants: who takes part, run or not.
    """
    rows, verdicts = [], Counter[str]()
    for of_set in results:
        entries, home = entries_of(of_set), machine_of_most(of_set)
        ours, rival = best_of_ours(entries), best_of_rivals(entries)
        if ours is None or rival is None:
            continue
        paired, _ = compared(ours, rival)
        verdict = verdict_of(paired)
        verdicts[verdict] += 1
        interval = f"{paired.low:+.4f} to {paired.high:+.4f}"
        rows.append((of_set.name, *_cells(ours, home), *_cells(rival, home), interval, verdict))
    if not rows:
        return ""
    headings = ("data set", "ours", "training, s", _MAIN, "best rival", "training, s", _MAIN)
    headings += ("difference, 95 % interval", "ours is")
    text = f"Ours is higher than the best rival on {verdicts['higher']} of {len(rows)} data sets"
    text += f"; on {verdicts[NO_DIFFERENCE]} no difference is shown" if verdicts[NO_DIFFERENCE] else ""
    text += f"; **on {verdicts['**lower**']} it is lower**.\n" if verdicts["**lower**"] else "; on none it is lower.\n"
    text += _missing_text(results, [who for who in contestants if not who.is_ours])
    return f"{text}\n{_INTRODUCTION}\n{markdown_table(headings, rows, num_text_columns=2)}"


def _missing_text(results: Sequence[SetResults], rivals: Sequence[Contestant]) -> str:
    """Returns the rivals that have not run their whole grid on a data set, and are none of its best; empty if none."""
    missing = {
        of_set.name: [who.name for who in rivals if num_points_run(of_set.outcomes.get(who, {})) < len(who.grid)]
        for of_set in results
    }
    told = [f"{listed(names)} on {name}" for name, names in missing.items() if names]
    return f"Rivals that have not run their whole grid, and are not counted: {'; '.join(told)}.\n" if told else ""


def _cells(entry: Entry, home: Machine) -> tuple[str, str, str]:
    who = f"{entry.contestant.name} ({settings_of(entry)})"
    return who, seconds_text(entry, home), f"{entry.over_users(_MAIN).value:.4f}"
