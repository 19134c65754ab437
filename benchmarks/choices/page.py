"""``benchmarks/CHOICES.md``, from what came of the trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.choices.trial import Outcome
from benchmarks.quality.judging import MAIN_METRIC
from benchmarks.speed.lines import markdown_table
from recoder.metrics.comparison import PairedDifference

__all__ = ["Line", "Unit", "line_of", "mean_of", "render_page"]

_CLEAR = 2
"""Standard errors."""

_INTRODUCTION = """\
# Choices

Written by `python -m benchmarks choices`; not edited by hand.

Defaults of recipes beside others, one change at a time: {metric} of the *validation* users of seed 0's split in the
comparison with rivals (`QUALITY.md`). None of that split's test users has a part in it; test users of the other
seeds' splits may be among these. The first line has the means of the defaults, the others their difference to these,
paired over users, ± its standard error. On sets with fewer than {few:,} users to train on, a user's value is the mean
of {seeds} trainings with other seeds, where seeds matter. How much another seed would move a difference is not in its
error, and of so many differences some are above two errors by chance. The variational models, which take hours, are
not here.

*higher* and *lower* count the sets where the difference is more than {clear} standard errors. *Time* is that of the
processor in training by that of the defaults, geometric mean over the sets; trainings ran side by side, so that small
differences of time mean nothing.
"""


@dataclass(frozen=True)
class Line:
    """A change on a data set: the paired difference of the main metric, its error, and the time by the defaults'."""

    change: str
    difference: float
    stderr: float
    time: float


@dataclass(frozen=True)
class Unit:
    """A recipe on a data set.

    Attributes:
        data_set, recipe: their names.
        commit: at which it was published; code that decides outcomes is as it was when they came.
        settings: the defaults.
        made_by: the split and the rules that judged.
        defaults: the mean of the main metric with them.
        lines: of the changes.
    """

    data_set: str
    recipe: str
    commit: str
    settings: Mapping[str, Any] | None
    made_by: Mapping[str, Any]
    defaults: float
    lines: Sequence[Line]


def line_of(change: str, outcomes: Sequence[Outcome], defaults: Sequence[Outcome]) -> Line:
    """Returns what a change is worth; the outcomes are those of the same seeds."""
    pair = PairedDifference.of(_over_seeds(outcomes), _over_seeds(defaults))
    return Line(change, pair.difference, pair.stderr, _seconds(outcomes) / _seconds(defaults))


def mean_of(outcomes: Sequence[Outcome]) -> float:
    """Returns the main metric's mean over users and seeds."""
    return float(_over_seeds(outcomes).mean())


def render_page(units: Sequence[Unit], changes: Mapping[str, Sequence[str]], *, few_users: int, num_seeds: int) -> str:
    """Returns the page in Markdown.

    Args:
        units: what there is.
        changes: by recipe, in the order of the page.
        few_users: sets with fewer in training have several trainings.
        num_seeds: so many.
    """
    by_commit: dict[str, list[str]] = {}
    for unit in units:
        by_commit.setdefault(unit.commit, []).append(f"{unit.recipe} on {unit.data_set}")
    commits = [f"- {commit}: {', '.join(of_commit)}\n" for commit, of_commit in by_commit.items()]
    tables = [
        f"## {name}\n\n{_table([unit for unit in units if unit.recipe == name], of_recipe)}"
        for name, of_recipe in changes.items()
        if any(unit.recipe == name for unit in units)
    ]
    introduction = _INTRODUCTION.format(metric=MAIN_METRIC.metric_name, few=few_users, seeds=num_seeds, clear=_CLEAR)
    return "\n".join([introduction, *tables, "Commits:\n", "".join(commits)])


def _table(units: Sequence[Unit], changes: Sequence[str]) -> str:
    rows = [("defaults", "", "", "", *(f"{unit.defaults:.4f}" for unit in units))]
    for change in changes:
        found = [next((line for line in unit.lines if line.change == change), None) for unit in units]
        lines = [line for line in found if line is not None]
        if lines:
            cells = ["-" if line is None else _pair_text(line) for line in found]
            higher, lower = (sum(sign * each.difference > _CLEAR * each.stderr for each in lines) for sign in (1, -1))
            time = math.exp(float(np.mean([math.log(line.time) for line in lines])))
            rows.append((change, str(higher), str(lower), f"{time:.2f}", *cells))
    return markdown_table(("", "higher", "lower", "time", *(unit.data_set for unit in units)), rows)


def _pair_text(line: Line) -> str:
    # a page breaks no line within it
    return f"{line.difference:+.4f} ± {line.stderr:.4f}".replace(" ", "\N{NO-BREAK SPACE}")


def _over_seeds(outcomes: Sequence[Outcome]) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = np.mean([outcome.values for outcome in outcomes], axis=0)
    return values


def _seconds(outcomes: Sequence[Outcome]) -> float:
    return float(np.mean([outcome.seconds for outcome in outcomes]))
