"""The command line of the papers' benchmark."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.papers.files import SETS, PaperSet
from benchmarks.papers.published import PUBLISHED, Published
from benchmarks.papers.split import PaperSplit, split_as_liang
from benchmarks.papers.stand_in import scaled_down, write_stand_in
from benchmarks.quality.judging import MAIN_METRIC
from benchmarks.speed.lines import markdown_table, number_text
from benchmarks.speed.machine import measured_on
from recoder.data import RecommendationDataset
from recoder.errors import RecoderError
from recoder.metrics import NDCG, EvaluationResult, Recall
from recoder.model import Recoder
from recoder.recipes import RECIPES, recipe

__all__ = ["main"]

# most popular first: where its numbers are published, they show an error of the split or the metrics before training
RECIPE_ORDER = ("popularity", "ease", "als", "autoencoder", "multvae", "recvae")
# the papers' models, and the multinomial over all items; recipes have smaller or tied ones and sample
AS_PUBLISHED: dict[str, dict[str, Any]] = {
    "multvae": {"hidden_layers": [600, 200], "is_constrained": False},
    "recvae": {"hidden_size": 600, "latent_size": 200},
}
_OF_ALL_ITEMS = {"loss": "logloss", "negative_sampling": False, "num_uniform_negatives": 0}
# the paper chose its one number for each data set; so do the validation users here
TUNED: dict[str, tuple[dict[str, Any], ...]] = {"ease": ({"l2": 200.0}, {"l2": 500.0}, {"l2": 1000.0})}
COLUMNS = (Recall(k=20), Recall(k=50), NDCG(k=100))

_WARNING = """\
################################################################
#  A STAND-IN: SMALL FILES THAT ARE MADE UP, IN THE FORMAT OF  #
#  THE ORIGINAL ONES. THESE NUMBERS SAY NOTHING OF THE PAPERS' #
################################################################
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints our numbers beside the published ones, and returns the exit status."""
    options = _parser().parse_args(arguments)
    names = options.recipes or [name for name in RECIPE_ORDER if name in RECIPES]
    unknown = [name for name in names if name not in RECIPES]
    if unknown:
        print(f"--recipes names {', '.join(unknown)}; there are {', '.join(RECIPES)}", file=sys.stderr)
        return 2
    if not options.stand_in and options.folder is None:
        print("name the folder of the original files by --folder, or pass --stand-in", file=sys.stderr)
        return 2
    # torch says once, at the first sparse tensor, that it does not check them
    warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")
    with tempfile.TemporaryDirectory(prefix="recoder-papers-") as made:
        paper_set, folder = SETS[options.set], options.folder
        if options.stand_in:
            paper_set, folder = scaled_down(paper_set), Path(made)
            write_stand_in(options.set, folder)
        elif not list(folder.glob(paper_set.files)):
            print(f"{folder} has no {paper_set.files}; {paper_set.title} is not there", file=sys.stderr)
            return 2
        try:
            split = _read(paper_set, folder)
        except RecoderError as error:
            print(error, file=sys.stderr)
            return 2
    return _report(options.set, paper_set, split, names, is_stand_in=options.stand_in, seed=options.seed)


def _read(paper_set: PaperSet, folder: Path) -> PaperSplit:
    return split_as_liang(
        paper_set.read(folder),
        num_held_out=paper_set.num_held_out,
        min_of_user=paper_set.min_of_user,
        min_of_item=paper_set.min_of_item,
    )


def _report(
    name: str, paper_set: PaperSet, split: PaperSplit, recipes: Sequence[str], *, is_stand_in: bool, seed: int
) -> int:
    """Prints the sizes, and a line for each model as soon as it is known; returns the exit status."""
    if is_stand_in:
        print(_WARNING)
    title = f"{paper_set.title}{', a stand-in' * is_stand_in}"
    train = split.train
    print(
        f"{title}: {train.num_users:,} users in training, {train.num_items:,} items, "
        f"{train.interactions_matrix.nnz:,} interactions; {len(split.test):,} test users\n"
    )
    here = "here, on a stand-in" if is_stand_in else "here"
    print(_sizes_text(paper_set, split), end="")
    headings = ["model", "training, s"]
    headings += [f"{metric.metric_name}, {where}" for metric in COLUMNS for where in ("published", here)]
    print(markdown_table((*headings, "settings here", "published in"), []), end="", flush=True)
    status = 0
    try:
        for row in _rows(name, split, recipes, seed):
            print(f"| {' | '.join(row)} |", flush=True)
        print(f"\n{measured_on(threads=torch.get_num_threads())}")
    except KeyboardInterrupt:
        print("\nstopped; what is above holds", file=sys.stderr)
        status = 130
    if is_stand_in:
        print(f"\n{_WARNING}")
    return status


def _sizes_text(paper_set: PaperSet, split: PaperSplit) -> str:
    """Returns whether users and items are as many as the paper counts, which other files of that name have not."""
    if paper_set.sizes is None:
        return ""
    found = (split.train.num_users + len(split.valid) + len(split.test), split.train.num_items)
    words = "{:,} users and {:,} items"
    if found == paper_set.sizes:
        return f"The paper counts as many: {words.format(*found)}, held-out users included.\n\n"
    return (
        f"**THE PAPER HAS {words.format(*paper_set.sizes)}, held-out users included, these files "
        f"{words.format(*found)}: what is published is of other data.**\n\n"
    )


def _rows(name: str, split: PaperSplit, recipes: Sequence[str], seed: int) -> Iterator[tuple[str, ...]]:
    """Yields the line of each model: published numbers are the papers', the others ours."""
    published = {entry.recipe: entry for entry in PUBLISHED[name]}
    for model in recipes:
        entry = published.pop(model, None)
        try:
            seconds, settings, result = _trained(model, split, seed)
        except RecoderError as error:  # the others can be trained all the same
            print(f"{model}: {error}", file=sys.stderr, flush=True)
            yield _row(model, entry, settings=f"not trained: {type(error).__name__}")
            continue
        yield _row(model, entry, seconds, settings, result)
    for entry in published.values():
        yield _row(entry.recipe, entry)


def _trained(model: str, split: PaperSplit, seed: int) -> tuple[float, str, EvaluationResult]:
    """Returns the seconds of training, the settings in words and what the test users say of a model.

    Of several settings those are taken that are best on the validation users; the seconds are theirs alone.
    """
    chosen: tuple[float, tuple[float, str, EvaluationResult]] | None = None
    for tried in TUNED.get(model, ({},)):
        changed = tried | (AS_PUBLISHED[model] | _OF_ALL_ITEMS if model in AS_PUBLISHED else {})
        started = time.perf_counter()
        recoder = recipe(model).but(**changed).fit(split.train, None, seed=seed)
        seconds = time.perf_counter() - started
        settings = ", ".join(f"{argument}={value}" for argument, value in changed.items()) or "the recipe"
        score = _judged(recoder, split.valid).mean[MAIN_METRIC]
        if chosen is None or score > chosen[0]:
            chosen = score, (seconds, settings, _judged(recoder, split.test))
        del recoder  # there may not be memory for two
    assert chosen is not None
    return chosen[1]


def _judged(recoder: Recoder, users: RecommendationDataset) -> EvaluationResult:
    return recoder.evaluate(users, max(metric.k for metric in COLUMNS), COLUMNS, batch_size=500)


def _row(
    model: str,
    entry: Published | None,
    seconds: float | None = None,
    settings: str = "-",
    result: EvaluationResult | None = None,
) -> tuple[str, ...]:
    cells = [model if entry is None else f"{model} ({entry.model})", "-" if seconds is None else number_text(seconds)]
    for column, metric in enumerate(COLUMNS):
        value = None if entry is None else entry.values[column]
        cells.append("-" if value is None else f"{value:.3f}")
        cells.append("-" if result is None else f"{result.mean[metric]:.4f} ± {result.stderr[metric]:.4f}")
    return (*cells, settings, "-" if entry is None else entry.source)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks papers",
        description="Prints our numbers beside the published ones, on the split of Liang et al. 2018.",
    )
    parser.add_argument("set", choices=sorted(SETS))
    parser.add_argument("--folder", type=Path, help="of the original files; nothing is downloaded")
    parser.add_argument("--stand-in", action="store_true", help="make small files in its format, to try the program")
    parser.add_argument(
        "--recipes", type=lambda text: text.split(","), metavar="NAME,...", help=f"of {', '.join(RECIPES)}"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the models (default: %(default)s)")
    return parser
