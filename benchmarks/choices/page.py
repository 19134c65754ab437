"""``benchmarks/CHOICES.md``, from what came of the trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.choices.alternatives import Change, change_text
from benchmarks.choices.trial import Outcome
from benchmarks.quality.judging import MAIN_METRIC
from benchmarks.speed.lines import markdown_table
from recoder.metrics.comparison import PairedDifference

__all__ = ["Results", "render_page"]

Results = Mapping[str, Sequence[tuple[Change, Mapping[str, Sequence[Outcome]]]]]
"""By recipe: each change, no change first, with the outcomes of its seeds by data set."""

_CLEAR = 2
"""Standard errors."""

_INTRODUCTION = """\
# Choices

Written by `python -m benchmarks choices`; not edited by hand.

Each default of a recipe against others, one change at a time: {metric} of the *validation* users of seed 0's split in
the comparison with rivals (`QUALITY.md`). None of that split's test users has a part in it; test users of the other
seeds' splits may be among these. The first line has the means of the defaults, the others their difference to these,
paired over users, ± its standard error; on sets with fewer than {few:,} users to train on, a user's value is the mean
of {seeds} trainings with other seeds. How much another seed would move a difference is not in its error, and of so
many differences some are above two errors by chance.

*higher* and *lower* count the sets where the difference is more than {clear} standard errors. *Time* is that of the
processor in training by that of the defaults, geometric mean over the sets; trainings ran side by side, so that it
tells large differences only.
"""


def render_page(results: Results, *, few_users: int, num_seeds: int, commit: str) -> str:
    """Returns the page in Markdown.

    Args:
        results: of each recipe.
        few_users: sets with fewer in training have several trainings.
        num_seeds: so many.
        commit: that ran.
    """
    parts = [
        _INTRODUCTION.format(metric=MAIN_METRIC.metric_name, few=few_users, seeds=num_seeds, clear=_CLEAR),
        *(f"## {name}\n\n{_table(lines)}" for name, lines in results.items()),
        f"Commit {commit}.\n",
    ]
    return "\n".join(parts)


def _table(lines: Sequence[tuple[Change, Mapping[str, Sequence[Outcome]]]]) -> str:
    (_, defaults), *others = lines
    sets = [name for name, outcomes in defaults.items() if outcomes]
    rows = [("defaults", *(f"{_over_seeds(defaults[name]).mean():.4f}" for name in sets), "", "", "")]
    for change, outcomes in others:
        pairs = {
            name: PairedDifference.of(_over_seeds(outcomes[name]), _over_seeds(defaults[name]))
            for name in sets
            if len(outcomes[name]) == len(defaults[name])
        }
        cells = [_pair_text(pairs[name]) if name in pairs else "-" for name in sets]
        in_errors = [pair.difference / pair.stderr for pair in pairs.values() if pair.stderr > 0]
        times = [_seconds(outcomes[name]) / _seconds(defaults[name]) for name in pairs]
        time = math.exp(float(np.mean(np.log(times)))) if times else math.nan
        higher, lower = (sum(sign * each > _CLEAR for each in in_errors) for sign in (1, -1))
        rows.append((change_text(change), *cells, str(higher), str(lower), f"{time:.2f}"))
    return markdown_table(("", *sets, "higher", "lower", "time"), rows)


def _pair_text(pair: PairedDifference) -> str:
    return f"{pair.difference:+.4f} ± {pair.stderr:.4f}"


def _over_seeds(outcomes: Sequence[Outcome]) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = np.mean([outcome.values for outcome in outcomes], axis=0)
    return values


def _seconds(outcomes: Sequence[Outcome]) -> float:
    return float(np.mean([outcome.seconds for outcome in outcomes]))
