"""What the model learnt from. Sizes: N items, U users."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from recoder.api.fitted import FittedModel
from recoder.metrics.ranking import IntArray
from recoder.report.charts import Bars, Line, bar_chart, line_chart
from recoder.report.parts import MODEL, Figure, Section, Tile, percent, plain, span
from recoder.report.popularity import BUCKETS, buckets

__all__ = ["data_section"]

_POINTS = 160
_BINS = 10


def data_section(model: FittedModel) -> Section:
    """Returns how much there was, how it spreads over items, and over users where histories are there."""
    known = model.interactions
    num_users, num_interactions = model.about.num_users, model.about.num_interactions
    tiles = [Tile("items", plain(known.num_items))]
    if num_users:
        tiles = [Tile("users", plain(num_users)), *tiles]
    if num_users and num_interactions:  # which a file of a Recoder does not count
        cells = num_users * known.num_items
        tiles += [
            Tile("interactions", plain(num_interactions), f"{num_interactions / num_users:.1f} for each user"),
            Tile("density", percent(num_interactions / cells), "of all pairs of a user and an item"),
        ]
    figures = [_long_tail(model.item_counts)] if model.item_counts.any() else []
    lengths_U = np.diff(known.matrix.indptr)
    if model.has_histories and lengths_U.any():
        figures.append(_activity(lengths_U[lengths_U > 0]))
    lead = "" if model.has_histories else "The file holds no histories, so nothing is said of single users."
    return Section("data", "Training data", lead, tiles, figures)


def _long_tail(counts_N: IntArray) -> Figure:
    popular = np.sort(counts_N[counts_N > 0])[::-1]
    ranks = np.unique(np.geomspace(1, len(popular), _POINTS).round().astype(np.int64))
    share = popular[: max(1, round(len(counts_N) / 10))].sum() / popular.sum()
    places = buckets(counts_N)
    sizes = np.bincount(places, minlength=len(BUCKETS))
    shares = np.bincount(places, weights=counts_N, minlength=len(BUCKETS)) / counts_N.sum()
    svg = line_chart(
        [Line(MODEL, ranks.tolist(), popular[ranks - 1].tolist())],
        description=f"Users of each item, most popular first: from {popular[0]:,} to {popular[-1]:,}",
        x_label="rank of the item",
        y_label="users",
        is_log=True,
    )
    note = (
        f"The most popular tenth of the items has {percent(share)} of the interactions; the head, of the size "
        f"{plain(int(sizes[0]))}, has {percent(shares[0])} and the tail, of the size {plain(int(sizes[2]))}, "
        f"{percent(shares[2])}."
    )
    return Figure("Popularity of items", svg, note)


def _activity(lengths_U: IntArray) -> Figure:
    edges = _edges(int(lengths_U.min()), int(lengths_U.max()))
    heights = np.histogram(lengths_U, bins=edges)[0]
    names = [span(low, beyond - 1) for low, beyond in pairwise(edges)]
    median = float(np.median(lengths_U))
    svg = bar_chart(
        names,
        [Bars(MODEL, "", heights.tolist())],
        description=f"Users by their number of interactions: half of them have {median:g} or fewer",
        y_label="users",
        x_label="interactions of a user",
    )
    return Figure("Activity of users", svg, f"Half of the users have {median:g} interactions or fewer.")


def _edges(low: int, high: int) -> list[int]:
    """Returns where bins begin, and where the last one ends: of about equal ratios where the range is wide."""
    if high - low < _BINS:
        return list(range(low, high + 2))
    spaced = np.geomspace(low, high + 1, _BINS + 1) if high > 8 * low else np.linspace(low, high + 1, _BINS + 1)
    return [int(edge) for edge in np.unique(spaced.round())]
