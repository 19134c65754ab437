"""How the page calls contestants, numbers and differences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from benchmarks.quality.cells import Outcome
from benchmarks.quality.contestants import Contestant, settings_text
from benchmarks.quality.summary import Entry, Mean
from benchmarks.speed.lines import number_text
from recoder.metrics.comparison import PairedDifference

__all__ = [
    "DISTURBED_MARK",
    "EARLIER_MARK",
    "ELSEWHERE_MARK",
    "NO_DIFFERENCE",
    "Machine",
    "listed",
    "marks_of",
    "mean_text",
    "metric_text",
    "name_text",
    "seconds_text",
    "settings_of",
    "verdict_of",
]

Machine = tuple[str, ...]

DISTURBED_MARK = "†"
ELSEWHERE_MARK = "‡"
EARLIER_MARK = "§"
NO_DIFFERENCE = "no difference shown"


def settings_of(entry: Entry) -> str:
    """Returns the settings in words, and of how many they are the best where that is not the whole grid."""
    settings = settings_text(entry.contestant, entry.point)
    of = len(entry.contestant.grid)
    if entry.num_measured == of:
        return settings
    without = entry.num_run - entry.num_measured
    return (
        f"best of {entry.num_measured} of {of} settings{f', {without} without numbers' if without else ''}: {settings}"
    )


def name_text(contestant: Contestant) -> str:
    """Returns the name, in bold where it is one of ours."""
    return f"**{contestant.name}**" if contestant.is_ours else contestant.name


def marks_of(outcomes: Iterable[Outcome], home: Machine) -> str:
    """Returns what a reader must know of these outcomes' seconds."""
    outcomes = list(outcomes)
    disturbed = DISTURBED_MARK if any(outcome.was_disturbed for outcome in outcomes) else ""
    elsewhere = ELSEWHERE_MARK if any(outcome.machine != home for outcome in outcomes) else ""
    earlier = EARLIER_MARK if any(outcome.is_of_earlier_code for outcome in outcomes) else ""
    return disturbed + elsewhere + earlier


def seconds_text(entry: Entry, home: Machine) -> str:
    """Returns the seconds of training in the mean of the seeds, with what a reader must know of them."""
    return number_text(entry.over_seeds("train_seconds").value) + marks_of(entry.outcomes.values(), home)


def mean_text(mean: Mean) -> str:
    """Returns a number of the seeds with its standard error, where there are several."""
    return number_text(mean.value) if math.isnan(mean.stderr) else f"{number_text(mean.value)} ± {mean.stderr:.2g}"


def metric_text(mean: Mean) -> str:
    """Returns a metric with its standard error."""
    return f"{mean.value:.4f} ± {mean.stderr:.4f}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Returns the words as a sentence lists them, ``last`` before the last one."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def verdict_of(paired: PairedDifference) -> str:
    """Returns what ours is, by the interval."""
    return "higher" if paired.low > 0 else "**lower**" if paired.high < 0 else NO_DIFFERENCE
