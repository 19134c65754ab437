"""``benchmarks/QUALITY.md``, from the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.quality.cells import DISTURBED, Outcome, machine_of
from benchmarks.quality.contestants import Contestant, settings_text
from benchmarks.quality.epochs import Epochs
from benchmarks.quality.judging import MAIN_METRIC, METRICS
from benchmarks.quality.overview import overview_text
from benchmarks.quality.sets import MOST_OF_THE_ACTIVE, Protocol
from benchmarks.quality.summary import (
    QUALITY_TOLERANCE,
    Covered,
    Entry,
    Point,
    Predecessor,
    SetResults,
    best_of_ours,
    chosen_point,
    compared,
    coverage,
    entries_of,
    kin_of,
    machine_of_most,
    num_points_run,
    points_of,
    predecessor_of,
)
from benchmarks.quality.words import (
    DISTURBED_MARK,
    EARLIER_MARK,
    ELSEWHERE_MARK,
    NO_DIFFERENCE,
    Machine,
    listed,
    marks_of,
    mean_text,
    metric_text,
    name_text,
    seconds_text,
    settings_of,
    verdict_of,
)
from benchmarks.speed.lines import markdown_table, number_text

__all__ = ["PageFacts", "render_page", "results_text"]

PageFacts = Mapping[str, Any]
"""``protocol``, ``threads``, ``seeds``, ``contestants``; by data set ``used`` (what of it), ``splits`` (what they hold)
and ``epochs``."""

_MAIN = MAIN_METRIC.metric_name

_TITLE = """\
# Quality

Written by `python -m benchmarks quality`; not edited by hand.
"""

_PROTOCOL = """\
## How it was measured

- Strong generalization (`recoder.data.strong_generalization`; Liang et al. 2018, arXiv:1802.05814): {held_out:.0%} of
  the users, each with at least {min_interactions} interactions, are held out for validation and as many for the test;
  no more than {of_active:.0%} of the users with so many, each time. A model is given {fold_in:.0%} of a held-out user's
  interactions and is judged by the rest. All interactions count 1.
- Everyone reads the same files, and writes the {count} items recommended to each user, what the user has seen left
  out; the same code judges all lists. The metrics are {metrics}; Recall is divided by the smaller of its k and
  the number of items to find, as in that paper.
- Everyone is trained with each setting of a grid of four (popularity has none) on the data of seed 0. The best by
  {main} of its *validation* users is trained with seeds {seeds}, of the split and of the model, and judged on their
  *test* users. What was not run is listed below each set; a model whose grid was not run completely is shown, but not
  compared. A setting that was run and gave no numbers, for time, memory or an error, counts as run, and is said.
- The defaults of our recipes were chosen on goodbooks-10k-v1, gowalla, citeulike-a and lastfm-2k, the other sets having
  no part in it (`docs/experiments.md` says how, and what each choice gained), but for these:
  - what `confidence_power` of least squares makes of rare items, and the autoencoder's ties: all but book-crossing;
  - how input noise scales what it keeps: all;
  - how many users ELSA takes to a batch: the four, retailrocket-small and msweb;
  - MultVAE's ties and latent factors: lastfm-2k, citeulike-a, retailrocket-small and msweb.

  The autoencoder's, but for its ties and its noise's scale, were chosen on held-out users of other splits, some of whom
  are test users here, and compared with others on validation users of four sets later (`benchmarks/CHOICES.md`); all
  others on validation users, most on those of one seed. A tenth or more of the test users of the other seeds (a
  quarter, where a quarter is held out) are validation users of seed 0, by whom everyone's setting is chosen from its
  grid. So some of those who judge had a part in the choice, which favours what was chosen.
- Grids are of equal size, not of equal settings; those of least squares go up to 400 factors on each side. They are not
  of equal effort either: behind our defaults are many trials, and points of our grids were changed after trials on
  validation users of any of these sets; behind a rival's points are its documentation, papers, or, where the table of
  grids names none, a few trials.
  And ours have more models: their best is the best of more settings than a rival's. What the same model makes of each
  set in two libraries has a table of its own.
- Training time is all that a model needs from the matrix in memory to being able to recommend, without imports and
  reading. A warm-up on a few users comes before.
- Recommending is one pass over the test users. The models of irspack answer new users with scores, and for implicit's
  BPR, which knows no new users, the benchmark makes them: of both it cuts the lists out of the scores by numpy
  (`argpartition`, 500 users at a time; 3,000 for EDLAE), and that counts as recommending. What is implicit's runs with
  OpenBLAS in one thread, as its authors advise, which for BPR's scores is less than it could have.
- Memory is the peak of a process, while it read the matrices, trained and recommended to the validation and the test
  users, minus its peak after imports and warm-up. Where imports and warm-up took more than a model needs later, part of
  what it needs is not seen.
- Each training has a process of its own, {threads} threads{limits}, one after another. Marks stand beside the
  seconds of training; what others did to the time of recommending is not marked. Those marked {mark} had not the
  machine to themselves: other processes used more than {disturbed:g} of a processor on average, and alone it may have
  been quicker. Those marked {elsewhere} ran on processors with other instruction sets than most of ours of the same
  data set; those marked {earlier} were made by earlier code of this library, or with other packages of a rival, and
  were not run anew since, or without numbers, which is said below the set. Results of earlier code of a model of ours
  have no mark, and keep their times, if today's code gave every test user of {same_on} the same values, with all
  settings and seeds (`--adopt`). The commits are at the end.
- Metrics ± standard error over the test users of all seeds; seconds and memory ± standard error over the seeds. A user
  can be in the test of several seeds: of those with enough interactions a part f is in each, which is said with each
  set. Errors and intervals over the users of three seeds are (1 + 2f)^1/2 times as large as those of as many different
  users would be, which is right for users whose value is the same each time, and too large for others.
"""

_PICTURE = """\
Seed 0: every point of the grids, the chosen settings large; the fronts are what ours and the others reach by a time of
training, by these test users themselves. Points below 0.6 of the best {main} stand at the lower edge, with their value,
and at the left edge where they took far less time than the others.
"""

_PAIRS = """\
Ours is {ours} ({settings}), the best of ours on the validation users. Paired difference of {main} over the test users
of all seeds, with its 95 % interval. The interval is of users: a seed's users share one split and one training, and how
much others would move the difference shows in those of the seeds alone.
"""

_KIN = """\
Where a rival has a model that ours have too, each with the settings that were chosen for it. The difference is ours
less theirs, as above.
"""

_PREDECESSOR = """\
The settings of the manual of 0.4.0, 100 epochs of them, the best of its grid on the validation users where that is
another, and the recipe of the same model with its defaults; seed 0. The last two columns compare each with the manual's
settings.
"""

_EPOCHS = """\
The last line is a training of its own, whose clock stands still while held-out users are judged after each epoch: the
first epoch that has no less {main} on the *validation* users than the manual's settings after all of theirs.
"""

_COVERAGE = """\
For each point of a rival, trained with seed 0: of ours that need no more training time (5 % tolerance), the best on the
validation users. Paired difference of {main} over the test users of that seed, with its 95 % interval.
"""


def render_page(results: Sequence[SetResults], facts: PageFacts, *, images: str, pictures: Mapping[str, str]) -> str:
    """Returns the page in Markdown.

    Args:
        results: of each data set.
        facts: what else it tells.
        images: the way from the page to the folder of the pictures.
        pictures: the picture's file name of each data set that has one.
    """
    protocol: Protocol = facts["protocol"]
    parts = [
        _TITLE,
        overview_text(results, facts["contestants"]),
        _PROTOCOL.format(
            held_out=protocol.held_out,
            min_interactions=protocol.min_interactions,
            of_active=MOST_OF_THE_ACTIVE,
            fold_in=protocol.fold_in,
            count=protocol.count,
            metrics=listed([metric.metric_name for metric in METRICS]),
            main=_MAIN,
            seeds=listed([str(seed) for seed in facts["seeds"]]),
            threads=facts["threads"],
            mark=DISTURBED_MARK,
            elsewhere=ELSEWHERE_MARK,
            earlier=EARLIER_MARK,
            disturbed=DISTURBED,
            limits=_limits_text(results),
            same_on=_same_on_text(results),
        ),
    ]
    contestants: Sequence[Contestant] = facts["contestants"]
    for of_set in results:
        parts.append(f"## {of_set.name}\n")
        parts.append(_about_set(facts["used"][of_set.name], facts["splits"].get(of_set.name), of_set.share_tested))
        if of_set.name in pictures:
            picture = f"{images}/{pictures[of_set.name]}"
            parts.append(f"![{of_set.name}: training time against {_MAIN}]({picture})\n")
            parts.append(_PICTURE.format(main=_MAIN))
        parts += [
            results_text(of_set, facts["epochs"].get(of_set.name)),
            _not_run_text(of_set, contestants, facts["seeds"]),
        ]
    parts += ["## Grids\n", _grids_text(contestants), "## Measured on\n", _measured_on(results, facts)]
    return "\n".join(parts)


def results_text(results: SetResults, epochs: Epochs | None = None) -> str:
    """Returns the tables of a data set.

    Args:
        results: what to show.
        epochs: the recipe that succeeds 0.4.0's model, after each epoch, if that was measured.
    """
    entries = entries_of(results)
    home = machine_of_most(results)
    parts = [_entries_text(entries, _without_numbers(results), home)]
    parts += [f"### Our best against the others, {results.name}\n", _pairs_text(entries)] if entries else []
    points = points_of(results)
    if points:
        parts += [f"### At no more training time, {results.name}\n", _coverage_text(coverage(points), home)]
    kin = kin_of(entries)
    parts += [f"### The same model, {results.name}\n", _kin_text(kin, home)] if kin else []
    predecessor = predecessor_of(points)
    if predecessor is not None:
        title = f"### In the place of {predecessor.theirs.contestant.name}, {results.name}\n"
        parts += [title, _predecessor_text(predecessor, home, epochs)]
    parts += [f"### Every point, {results.name}\n", _points_text(results, home)]
    return "\n".join(parts)


def _same_on_text(results: Sequence[SetResults]) -> str:
    """Returns on which data sets today's code was compared with that whose results were taken over."""
    outcomes = [each for of_set in results for found in of_set.outcomes.values() for each in found.values()]
    told = [set(found) for outcome in outcomes if (found := (outcome.about or {}).get("same on"))]
    of_all = set.intersection(*told) if told else set()
    of_some = set.union(*told) - of_all if told else set()
    text = listed(sorted(of_all)) if of_all else "another set"
    return text + (f" (and {listed(sorted(of_some))}, for closed forms)" if of_some else "")


def _limits_text(results: Sequence[SetResults]) -> str:
    """Returns the minutes that trainings might take, as the end of a list; nothing where there are none."""
    shown = [outcome for of_set in results for outcomes in of_set.outcomes.values() for outcome in outcomes.values()]
    minutes = [f"{limit_s / 60:g}" for limit_s in sorted({outcome.limit_s for outcome in shown})]
    return f" and {listed(minutes, 'or')} minutes" if minutes else ""


def _about_set(used: str, split: Mapping[str, Any] | None, share_tested: float) -> str:
    if split is None:
        return f"Used: {used}.\n"
    most = "" if "with enough" in split else "at most "
    return (
        f"Used: {used}. With seed 0: {split['users']:,} users in training, {split['items']:,} items, "
        f"{split['interactions']:,} interactions; {split['held out']:,} users for validation, as many for the test, "
        f"which are {most}{share_tested:.1%} of those with enough interactions.\n"
    )


def _without_numbers(results: SetResults) -> list[tuple[str, ...]]:
    """Returns the line of each contestant of whom nothing was measured, with the reasons."""
    rows = []
    for contestant, outcomes in results.outcomes.items():
        if not any(outcome.is_measured for outcome in outcomes.values()):
            reasons = dict.fromkeys(_why_not(outcome) for outcome in outcomes.values())
            rows.append((name_text(contestant), "; ".join(reasons), "0", *["-"] * (3 + len(METRICS))))
    return rows


def _entries_text(entries: Sequence[Entry], without_numbers: Sequence[tuple[str, ...]], home: Machine) -> str:
    headings = ("who", "settings", "seeds", "training, s", "recommending, s", "memory, MiB")
    headings += tuple(metric.metric_name for metric in METRICS)
    rows = [
        (
            name_text(entry.contestant),
            settings_of(entry),
            str(len(entry.outcomes)),
            mean_text(entry.over_seeds("train_seconds")) + marks_of(entry.outcomes.values(), home),
            *(mean_text(entry.over_seeds(number)) for number in ("recommend_seconds", "peak_mib")),
            *(metric_text(entry.over_users(metric.metric_name)) for metric in METRICS),
        )
        for entry in entries
    ]
    return markdown_table(headings, [*rows, *without_numbers], num_text_columns=2)


def _pairs_text(entries: Sequence[Entry]) -> str:
    ours = best_of_ours(entries)
    rivals = [entry for entry in entries if not entry.contestant.is_ours]
    if ours is None or not rivals:
        return "Nothing to compare.\n"
    rows: list[tuple[str, ...]] = []
    for rival in rivals:
        who = (rival.contestant.name, settings_of(rival))
        if rival.num_not_run:
            are = "is" if rival.num_not_run == 1 else "are"
            reason = f"{rival.num_not_run} of its {len(rival.contestant.grid)} settings {are} not run"
            rows.append((*who, "-", "-", "-", f"not compared: {reason}"))
            continue
        paired, of_seeds = compared(ours, rival)
        verdict = verdict_of(paired)
        if verdict == NO_DIFFERENCE and rival.contestant.is_twin and rival.contestant.kin == ours.contestant.name:
            verdict += ", the same closed form"
        rows.append(
            (
                *who,
                f"{paired.difference:+.4f}",
                f"{paired.low:+.4f} to {paired.high:+.4f}",
                ", ".join(f"{difference:+.4f}" for difference in of_seeds),
                verdict,
            )
        )
    settings = settings_text(ours.contestant, ours.point)
    intro = _PAIRS.format(ours=name_text(ours.contestant), settings=settings, main=_MAIN)
    headings = ("against", "settings", "difference", "95 % interval", "of each seed", "ours is")
    return f"{intro}\n{markdown_table(headings, rows, num_text_columns=2)}"


def _kin_text(kin: Sequence[tuple[Entry, Entry]], home: Machine) -> str:
    rows = []
    for ours, rival in kin:
        paired, _ = compared(ours, rival)
        cells = [
            (
                name_text(entry.contestant),
                settings_of(entry),
                seconds_text(entry, home),
                f"{entry.over_users(_MAIN).value:.4f}",
            )
            for entry in (rival, ours)
        ]
        faster = rival.over_seeds("train_seconds").value / ours.over_seeds("train_seconds").value
        interval = f"{paired.low:+.4f} to {paired.high:+.4f}"
        rows.append((*cells[0], *cells[1], f"{faster:.1f}", interval, verdict_of(paired)))
    headings = ("rival", "settings", "training, s", _MAIN, "ours", "settings", "training, s", _MAIN)
    headings += ("times as fast", "difference, 95 % interval", "ours is")
    return f"{_KIN}\n{markdown_table(headings, rows, num_text_columns=2)}"


def _coverage_text(covered: Sequence[Covered], home: Machine) -> str:
    if not covered:
        return "No rival was measured.\n"
    rows = [
        (*_point_cells(item.rival, home), *_covering_cells(item, home))
        for item in sorted(covered, key=lambda item: (item.ours is not None, -item.rival.quality))
    ]
    headings = ("rival", "settings", "training, s", _MAIN, "ours", "settings", "training, s", _MAIN)
    headings += ("difference", "95 % interval", "ours is")
    table = markdown_table(headings, rows, num_text_columns=2)
    return f"{_COVERAGE.format(main=_MAIN)}\n{_coverage_in_words(covered, home)}\n\n{table}"


def _covering_cells(item: Covered, home: Machine) -> tuple[str, ...]:
    """Returns ours, the difference, its interval and the verdict, as a row of the table has them."""
    if item.ours is None or item.paired is None:
        return ("**none**", *["-"] * 6)
    paired = item.paired
    interval = f"{paired.low:+.4f} to {paired.high:+.4f}"
    return (*_point_cells(item.ours, home), f"{paired.difference:+.4f}", interval, verdict_of(paired))


def _coverage_in_words(covered: Sequence[Covered], home: Machine) -> str:
    counts = Counter("without" if item.paired is None else verdict_of(item.paired) for item in covered)
    marked = sum(
        item.ours is not None and _point_marks(item.rival, home) + _point_marks(item.ours, home) != ""
        for item in covered
    )
    text = f"Ours is higher than {counts['higher']} of {len(covered)} points"
    text += f"; for {counts[NO_DIFFERENCE]} no difference is shown" if counts[NO_DIFFERENCE] else ""
    text += f"; **{counts['**lower**']} are higher than ours**" if counts["**lower**"] else "; none is higher than ours"
    text += f"; **for {counts['without']} none of ours is as quick**." if counts["without"] else "."
    if marked:
        text += f" {marked} {'rests' if marked == 1 else 'rest'} on a time that is marked."
    reached = [item for item in covered if item.no_lower is not None]
    text += (
        "\nChosen by these test users themselves, one of ours that is as quick has no less in the mean "
        f"(1e-4 tolerance) than {len(reached)} of the {len(covered)}"
    )
    others = [
        f"for {item.rival.contestant.name} ({settings_text(item.rival.contestant, item.rival.point)}) it is "
        f"{item.no_lower.contestant.name} ({settings_text(item.no_lower.contestant, item.no_lower.point)})"
        for item in reached
        if item.no_lower is not None and item.paired is not None and item.paired.difference < -QUALITY_TOLERANCE
    ]
    return text + (f", not always the one below: {listed(others)}." if others else ".")


def _predecessor_text(predecessor: Predecessor, home: Machine, epochs: Epochs | None) -> str:
    headings = ("who", "settings", "training, s", _MAIN, "times as fast", "reaches it")
    theirs = predecessor.theirs

    def against(seconds: float, quality: float) -> tuple[str, str]:
        return f"{theirs.seconds / seconds:.1f}", "yes" if quality >= theirs.quality else "**no**"

    rows = [(*_point_cells(theirs, home), "1", "-")]
    for point in (*([predecessor.best] if predecessor.best != theirs else []), predecessor.ours):
        rows.append((*_point_cells(point, home), *against(point.seconds, point.quality)))
    text = _PREDECESSOR
    epoch = None if epochs is None else epochs.first_with(theirs.valid_quality)
    if epochs is not None and epoch is not None:
        who, settings = _point_cells(predecessor.ours, home)[:2]
        seconds, quality = epochs.seconds[epoch - 1], epochs.test[epoch - 1]
        marks = DISTURBED_MARK * (epochs.others_busy > DISTURBED) + EARLIER_MARK * epochs.is_of_earlier_code
        marks += ELSEWHERE_MARK * (machine_of(epochs.about.get("machine", {})) not in ((), home))
        after = f"{settings}, after epoch {epoch} of {len(epochs.seconds)}"
        rows.append((who, after, number_text(seconds) + marks, f"{quality:.4f}", *against(seconds, quality)))
        text += _EPOCHS.format(main=_MAIN)
    return text + "\n" + markdown_table(headings, rows, num_text_columns=2)


def _point_cells(point: Point, home: Machine) -> tuple[str, ...]:
    settings = settings_text(point.contestant, point.point)
    return (
        name_text(point.contestant),
        settings,
        number_text(point.seconds) + _point_marks(point, home),
        f"{point.quality:.4f}",
    )


def _point_marks(point: Point, home: Machine) -> str:
    return marks_of([point.outcome], home)


def _points_text(results: SetResults, home: Machine) -> str:
    headings = ("who", "settings", "seed", "training, s", f"{_MAIN}, validation", f"{_MAIN}, test", "")
    rows = []
    for contestant, outcomes in results.outcomes.items():
        chosen = chosen_point(outcomes) if num_points_run(outcomes) == len(contestant.grid) else None
        for (point, seed), outcome in sorted(outcomes.items(), key=lambda item: item[0]):
            numbers = outcome.numbers
            cells = (name_text(contestant), settings_text(contestant, point), str(seed))
            if numbers is None:
                rows.append((*cells, "-", "-", "-", _why_not(outcome)))
                continue
            quality = (f"{numbers[part][_MAIN]:.4f}" for part in ("valid", "test"))
            is_chosen = "chosen" if point == chosen and seed == 0 else ""
            seconds = number_text(numbers["train_seconds"]) + marks_of([outcome], home)
            rows.append((*cells, seconds, *quality, is_chosen))
    return markdown_table(headings, rows, num_text_columns=2)


def _not_run_text(results: SetResults, contestants: Sequence[Contestant], seeds: Sequence[int]) -> str:
    """Returns who was not run on a data set with the whole grid, or with each seed; empty where all were."""
    missing = []
    for contestant in contestants:
        tried = {point for point, _ in results.outcomes.get(contestant, {})}
        of = len(contestant.grid)
        if len(tried) < of:
            missing.append(f"{name_text(contestant)} ({'all' if not tried else of - len(tried)} of its {of} settings)")
        else:
            chosen = chosen_point(results.outcomes[contestant])
            of_chosen = {seed for point, seed in results.outcomes[contestant] if point == chosen}
            left = [f"{seed}" for seed in seeds if seed not in of_chosen]
            if chosen is not None and left:
                missing.append(f"{name_text(contestant)} ({'seed' if len(left) == 1 else 'seeds'} {listed(left)})")
    text = f"Not run on {results.name}: {', '.join(missing)}.\n" if missing else ""
    again = [
        f"{name_text(contestant)} ({settings_text(contestant, point)}, seed {seed}) {outcome.since}"
        for contestant, outcomes in results.outcomes.items()
        for (point, seed), outcome in outcomes.items()
        if outcome.since
    ]
    return text + (
        f"\nRun anew without numbers, so that those of earlier code stand: {'; '.join(again)}.\n" if again else ""
    )


def _grids_text(contestants: Sequence[Contestant]) -> str:
    rows = [
        (
            name_text(contestant),
            "; ".join(settings_text(contestant, point) for point in range(len(contestant.grid))),
            contestant.source,
            contestant.note or "-",
        )
        for contestant in contestants
    ]
    return markdown_table(("who", "grid", "source", "note"), rows, num_text_columns=4)


def _measured_on(results: Sequence[SetResults], facts: PageFacts) -> str:
    """Returns machines, commits and versions; several of them stand side by side."""
    found: dict[str, list[str]] = {"threads of each process": [str(facts["threads"])]}
    for of_set in results:
        for contestant, outcomes in of_set.outcomes.items():
            for outcome in outcomes.values():
                if outcome.about is None:
                    continue
                about = dict(outcome.about)
                machine = {key.replace("_", " "): value for key, value in about["machine"].items()}
                if contestant.is_ours:
                    machine["commit"] = about["commit"]
                machine[f"versions: {contestant.environment}"] = ", ".join(
                    f"{name} {number}" for name, number in sorted(about["versions"].items())
                )
                for key, value in machine.items():
                    text = ", ".join(value) if isinstance(value, list) else str(value)
                    if text not in found.setdefault(key, []):
                        found[key].append(text)
    rows = [(key, " / ".join(values)) for key, values in found.items()]
    return markdown_table(("what", "value"), rows, num_text_columns=2)


def _why_not(outcome: Outcome) -> str:
    """Returns why there are no numbers, in one line that fits a table."""
    return " ".join(f"{outcome.kind}: {outcome.reason}".replace("|", "/").split())
