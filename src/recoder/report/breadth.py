"""Popular and rare items: what is recommended, and what is found. Sizes: U users, K recommendations, N items."""

from __future__ import annotations

import math

import numpy as np

from recoder.metrics import Recall
from recoder.metrics.hits import hits_of_rows
from recoder.metrics.ranking import FloatArray, IntArray
from recoder.report.charts import Bars, bar_chart
from recoder.report.judged import LIST_LENGTH, Interval, Judged
from recoder.report.parts import MODEL, POPULAR, Cell, Figure, Section, Table, Tile, percent, plain
from recoder.report.popularity import BUCKETS, buckets

__all__ = ["breadth_section"]

_DATA = 2
"""The colour of the training data."""


def breadth_section(judged: Judged, item_counts_N: IntArray) -> Section:
    """Returns how the recommendations spread over the catalogue, and how many items of each popularity are found."""
    tiles = _tiles(judged)
    lead = f"The first {LIST_LENGTH} recommendations of each test user, all together."
    if not item_counts_N.any():
        return Section("breadth", "Popular and rare items", lead, tiles)
    places_N = buckets(item_counts_N)
    lists = [(MODEL, "this model", judged.ranked_UK)]
    if judged.popular_UK is not None:
        lists.append((POPULAR, "most popular", judged.popular_UK))
    shares = [_shares(places_N, items) for *_, items in lists]
    recalls = [_recalls(judged, places_N, items) for *_, items in lists]
    of_data = np.bincount(places_N, weights=item_counts_N, minlength=len(BUCKETS)) / item_counts_N.sum()
    lead += (
        " The head are the most popular items that together have a fifth of the interactions in training, as nearly as "
        "whole items can, the tail the rarest that have a fifth."
    )
    figures = [_share_figure(lists, shares, of_data), _recall_figure(lists, recalls)]
    head = ["items", "in the catalogue", "of interactions"]
    head += [f"recommended by {name}" for _, name, _ in lists] + [
        f"{_recall().metric_name}, {name}" for _, name, _ in lists
    ]
    sizes = np.bincount(places_N, minlength=len(BUCKETS))
    rows = [
        (
            name,
            [
                Cell(plain(int(sizes[place]))),
                *(Cell(percent(share[place])) for share in (of_data, *shares)),
                *(Cell(f"{of_list[place].mean:.4f}", of_list[place].text) for of_list in recalls),
            ],
        )
        for place, name in enumerate(BUCKETS)
    ]
    return Section("breadth", "Popular and rare items", lead, tiles, figures, [Table("By popularity", head, rows)])


def _tiles(judged: Judged) -> list[Tile]:
    explained = {
        f"Coverage@{LIST_LENGTH}": ("of the catalogue is recommended to somebody", percent),
        f"Gini@{LIST_LENGTH}": ("0: all items equally often, 1: always the same", lambda value: f"{value:.3f}"),
        f"Novelty@{LIST_LENGTH}": ("bits; the rarer the items, the more", lambda value: f"{value:.2f}"),
        f"ARP@{LIST_LENGTH}": ("users of a recommended item, on average", lambda value: f"{value:,.1f}"),
    }
    tiles = []
    for metric, mean in judged.result.mean.items():
        if metric.metric_name in explained:
            note, written = explained[metric.metric_name]
            other = "" if judged.popular is None else f"; most popular: {written(judged.popular.mean[metric])}"
            tiles.append(Tile(metric.metric_name, written(mean), note + other))
    return tiles


def _shares(places_N: IntArray, ranked_UK: IntArray) -> FloatArray:
    """Returns the share of all recommendations that each bucket has."""
    counts = np.bincount(places_N[ranked_UK[ranked_UK >= 0]], minlength=len(BUCKETS))
    shares: FloatArray = counts / max(1, counts.sum())
    return shares


def _recalls(judged: Judged, places_N: IntArray, ranked_UK: IntArray) -> list[Interval]:
    """Returns the recall of each bucket's items, over the users with such an item to find."""
    target = judged.held_out.dataset.target_interactions_matrix
    assert target is not None  # or else nobody would have been judged
    wanted = target[judged.result.users]
    offsets, cols = wanted.indptr.astype(np.int64), wanted.indices.astype(np.int64)
    hits_UK = hits_of_rows(ranked_UK, offsets, cols, len(places_N))
    found = []
    for place in range(len(BUCKETS)):
        is_here_UK = (places_N[np.maximum(ranked_UK, 0)] == place) & hits_UK
        num_wanted_U = np.add.reduceat(np.append(places_N[cols] == place, False).astype(np.int64), offsets[:-1])
        found.append(Interval.of(_recall().from_hits(is_here_UK, num_wanted_U)))
    return found


def _recall() -> Recall:
    return Recall(LIST_LENGTH)


def _share_figure(lists: list[tuple[int, str, IntArray]], shares: list[FloatArray], of_data: FloatArray) -> Figure:
    series = [Bars(_DATA, "interactions in training", of_data.tolist())]
    series += [Bars(colour, name, share.tolist()) for (colour, name, _), share in zip(lists, shares, strict=True)]
    said = ", ".join(f"{name} {percent(share)}" for name, share in zip(BUCKETS, shares[0], strict=True))
    svg = bar_chart(
        BUCKETS,
        series,
        description=f"Share of the recommendations of this model: {said}",
        y_label="share",
        as_percent=True,
    )
    return Figure("What is recommended", svg, legend=[(bars.colour, bars.name) for bars in series])


def _recall_figure(lists: list[tuple[int, str, IntArray]], recalls: list[list[Interval]]) -> Figure:
    series = [
        Bars(
            colour,
            name,
            [i.mean for i in intervals],
            [i.low for i in intervals],
            [i.mean if math.isnan(i.high) else i.high for i in intervals],
        )
        for (colour, name, _), intervals in zip(lists, recalls, strict=True)
    ]
    name = _recall().metric_name
    said = ", ".join(f"{bucket} {interval.mean:.4f}" for bucket, interval in zip(BUCKETS, recalls[0], strict=True))
    svg = bar_chart(BUCKETS, series, description=f"{name} of this model by popularity: {said}", y_label=name)
    note = "Of the held-back items of each kind; lines are 95 % intervals."
    return Figure("What is found", svg, note, [(bars.colour, bars.name) for bars in series])
