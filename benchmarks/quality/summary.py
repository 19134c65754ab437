"""What the results say: the chosen settings, means, who is better, and who is quicker at the same quality."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.quality.cells import Outcome
from benchmarks.quality.contestants import Contestant
from benchmarks.quality.judging import MAIN_METRIC
from recoder.metrics.comparison import PairedDifference, standard_error

__all__ = [
    "Covered",
    "Entry",
    "Mean",
    "Point",
    "Predecessor",
    "SetResults",
    "best_of_ours",
    "best_of_rivals",
    "chosen_point",
    "compared",
    "coverage",
    "entries_of",
    "front_of",
    "kin_of",
    "machine_of_most",
    "num_points_run",
    "points_of",
    "predecessor_of",
]

TUNING_SEED = 0
PREDECESSOR, SUCCESSOR = "recoder 0.4.0", "autoencoder"
TIME_TOLERANCE = 0.05
QUALITY_TOLERANCE = 1e-4

Outcomes = Mapping[tuple[int, int], Outcome]
"""By point of the grid and seed."""


@dataclass(frozen=True)
class SetResults:
    """All that is known of a data set.

    Attributes:
        name: of the data set.
        outcomes: by contestant.
        share_tested: the part of the users with enough interactions who are in the test of each seed.
    """

    name: str
    outcomes: Mapping[Contestant, Outcomes]
    share_tested: float = 0.0


@dataclass(frozen=True)
class Mean:
    """A mean and its standard error."""

    value: float
    stderr: float


@dataclass(frozen=True)
class Entry:
    """A contestant with the best of its settings.

    Attributes:
        contestant, point: who, and with which settings.
        outcomes: those of each seed that was measured.
        num_run: settings of the grid that were run. Before all were, the best of these is chosen for the time being.
        num_measured: those of them that have numbers.
        share_tested: as ``SetResults``.
    """

    contestant: Contestant
    point: int
    outcomes: Mapping[int, Outcome]
    num_run: int
    num_measured: int
    share_tested: float = 0.0

    @property
    def num_not_run(self) -> int:
        """Settings of the grid that were not run; while there are some, it is compared with nobody."""
        return len(self.contestant.grid) - self.num_run

    def over_users(self, metric: str) -> Mean:
        """Returns a metric's mean over the test users of all seeds, and its standard error over them."""
        values = self.values(metric, list(self.outcomes))
        widening = _widening(len(self.outcomes), self.share_tested)
        return Mean(float(values.mean()), widening * standard_error(values))

    def over_seeds(self, number: str) -> Mean:
        """Returns the mean of a number over the seeds, and its standard error; NaN of a single seed."""
        values = np.array([outcome.numbers[number] for outcome in self.outcomes.values() if outcome.numbers])
        return Mean(float(values.mean()), standard_error(values))

    def values(self, metric: str, seeds: Sequence[int]) -> npt.NDArray[np.float64]:
        """Returns the test users' values, seed after seed."""
        held = [self.outcomes[seed].test_values for seed in seeds]
        return np.concatenate([values[metric] for values in held if values is not None])

    @property
    def valid_score(self) -> float:
        """What it was chosen by: the main metric on the validation users of the tuning seed."""
        numbers = self.outcomes[TUNING_SEED].numbers
        assert numbers is not None
        return float(numbers["valid"][MAIN_METRIC.metric_name])


@dataclass(frozen=True)
class Point:
    """Settings of a contestant, as run with the tuning seed; the outcome has numbers."""

    contestant: Contestant
    point: int
    outcome: Outcome

    @property
    def seconds(self) -> float:
        """Of training."""
        return float(self._numbers["train_seconds"])

    @property
    def quality(self) -> float:
        """The main metric of the test users."""
        return float(self._numbers["test"][MAIN_METRIC.metric_name])

    @property
    def valid_quality(self) -> float:
        """The main metric of the validation users."""
        return float(self._numbers["valid"][MAIN_METRIC.metric_name])

    @property
    def _numbers(self) -> Mapping[str, Any]:
        assert self.outcome.numbers is not None
        return self.outcome.numbers


@dataclass(frozen=True)
class Covered:
    """A rival's point, and what of ours needs no more training time.

    Attributes:
        rival: the point.
        ours: of those, the best on the validation users; None: there are none.
        paired: how much higher ``ours`` is in the main metric of the test users.
        no_lower: of those, the best on the test users, if it has no less of the main metric than the rival.
    """

    rival: Point
    ours: Point | None = None
    paired: PairedDifference | None = None
    no_lower: Point | None = None


@dataclass(frozen=True)
class Predecessor:
    """Version 0.4.0 and the recipe of the same model, both with the tuning seed.

    Attributes:
        theirs: with all of its manual's settings.
        best: with the best of its grid on the validation users.
        ours: the recipe with its defaults.
    """

    theirs: Point
    best: Point
    ours: Point


def num_points_run(outcomes: Outcomes) -> int:
    """Returns how many points were run with the tuning seed; one that failed counts as well."""
    return sum(seed == TUNING_SEED for _, seed in outcomes)


def chosen_point(outcomes: Outcomes) -> int | None:
    """Returns the point that is best on the validation users of the tuning seed; None if none was measured.

    It is the contestant's choice only if all of its grid was run.
    """
    scores = {
        point: outcome.numbers["valid"][MAIN_METRIC.metric_name]
        for (point, seed), outcome in outcomes.items()
        if seed == TUNING_SEED and outcome.numbers is not None
    }
    # the first of equals, which is the nearest to the default
    return max(sorted(scores), key=scores.__getitem__) if scores else None


def entries_of(results: SetResults) -> list[Entry]:
    """Returns every contestant that has numbers with its best settings, best first by the main metric of the test."""
    entries = []
    for contestant, outcomes in results.outcomes.items():
        chosen = chosen_point(outcomes)
        if chosen is not None:
            of_seeds = {
                seed: outcome
                for (point, seed), outcome in sorted(outcomes.items(), key=lambda item: item[0])
                if point == chosen and outcome.is_measured
            }
            measured = {key: outcome for key, outcome in outcomes.items() if outcome.is_measured}
            num_run, num_measured = num_points_run(outcomes), num_points_run(measured)
            entries.append(Entry(contestant, chosen, of_seeds, num_run, num_measured, results.share_tested))
    return sorted(entries, key=lambda entry: -entry.over_users(MAIN_METRIC.metric_name).value)


def best_of_ours(entries: Sequence[Entry]) -> Entry | None:
    """Returns the best of ours on the validation users, of those whose whole grid was run; None if there is none."""
    own = [entry for entry in entries if entry.contestant.is_ours and not entry.num_not_run]
    return max(own, key=lambda entry: entry.valid_score, default=None)


def best_of_rivals(entries: Sequence[Entry]) -> Entry | None:
    """Returns the rival with the highest main metric of the test users, of those whose whole grid was run."""
    return next((entry for entry in entries if not entry.contestant.is_ours and not entry.num_not_run), None)


def kin_of(entries: Sequence[Entry]) -> list[tuple[Entry, Entry]]:
    """Returns each rival and that of ours which is the same model, both with their whole grids run; the best first."""
    own = {entry.contestant.name: entry for entry in entries if entry.contestant.is_ours and not entry.num_not_run}
    rivals = [entry for entry in entries if entry.contestant.kin in own and not entry.num_not_run]
    return [(own[rival.contestant.kin], rival) for rival in rivals]


def compared(ours: Entry, theirs: Entry) -> tuple[PairedDifference, list[float]]:
    """Returns how much higher ours is in the main metric, paired over the users of the shared seeds; and for each seed.

    Every seed has as many users, so the mean over all of them is the mean of the seeds' means.
    """
    seeds = [seed for seed in ours.outcomes if seed in theirs.outcomes]
    name = MAIN_METRIC.metric_name
    differences = [float((ours.values(name, [seed]) - theirs.values(name, [seed])).mean()) for seed in seeds]
    paired = PairedDifference.of(ours.values(name, seeds), theirs.values(name, seeds))
    widening = _widening(len(seeds), ours.share_tested)
    low, high = (paired.difference + widening * (end - paired.difference) for end in (paired.low, paired.high))
    return replace(paired, stderr=widening * paired.stderr, low=low, high=high), differences


def _widening(num_seeds: int, share_tested: float) -> float:
    """Returns how much a standard error over the users of all seeds grows, since some of them are the same.

    A user of one seed's test is in that of each other with this probability. It is right for users whose value is the
    same in each, and too large for others.
    """
    return math.sqrt(1 + (num_seeds - 1) * share_tested)


def points_of(results: SetResults) -> list[Point]:
    """Returns all points that were measured with the tuning seed."""
    return [
        Point(contestant, point, outcome)
        for contestant, outcomes in results.outcomes.items()
        for (point, seed), outcome in sorted(outcomes.items(), key=lambda item: item[0])
        if seed == TUNING_SEED and outcome.numbers is not None
    ]


def front_of(points: Sequence[Point]) -> list[Point]:
    """Returns the points that no other beats in both time and quality, the quickest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.seconds, -point.quality)):
        if not front or point.quality > front[-1].quality:
            front.append(point)
    return front


def coverage(points: Sequence[Point]) -> list[Covered]:
    """Returns for each rival's point what of ours is as quick, and whether it is as good.

    The tolerances are 5 % of the time and 1e-4 of the metric.
    """
    ours = [point for point in points if point.contestant.is_ours]
    covered = []
    for rival in (point for point in points if not point.contestant.is_ours):
        as_quick = [point for point in ours if point.seconds <= rival.seconds * (1 + TIME_TOLERANCE)]
        if not as_quick:
            covered.append(Covered(rival))
            continue
        chosen = max(as_quick, key=lambda point: point.valid_quality)
        best = max(as_quick, key=lambda point: point.quality)
        is_no_lower = best.quality >= rival.quality - QUALITY_TOLERANCE
        covered.append(Covered(rival, chosen, _paired(chosen, rival), best if is_no_lower else None))
    return covered


def _paired(ours: Point, theirs: Point) -> PairedDifference:
    """Returns how much higher ours is in the main metric, paired over the test users."""
    values = [(point.outcome.test_values or {})[MAIN_METRIC.metric_name] for point in (ours, theirs)]
    return PairedDifference.of(*values)


def predecessor_of(points: Sequence[Point]) -> Predecessor | None:
    """Returns 0.4.0 and the autoencoder's recipe; None if one of them was not measured with its defaults."""
    defaults = {point.contestant.name: point for point in points if point.point == 0}
    theirs, ours = defaults.get(PREDECESSOR), defaults.get(SUCCESSOR)
    if theirs is None or ours is None:
        return None
    of_grid = [point for point in points if point.contestant.name == PREDECESSOR]
    return Predecessor(theirs, max(of_grid, key=lambda point: point.valid_quality), ours)


def machine_of_most(results: SetResults) -> tuple[str, ...]:
    """Returns what most of ours were measured with (see ``Outcome.machine``), or most of all where none of ours was."""
    machines = [
        (contestant.is_ours, outcome.machine)
        for contestant, outcomes in results.outcomes.items()
        for outcome in outcomes.values()
        if outcome.machine
    ]
    own = [machine for is_ours, machine in machines if is_ours] or [machine for _, machine in machines]
    return Counter(own).most_common(1)[0][0] if own else ()
