"""Judging lists in a data frame, whoever made them.

Sizes: U users who are judged, C ranks, L rows of recommendations, T relevant pairs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from narwhals.typing import IntoFrame

from recoder.data.frames import Numbers, csr_from_pairs, number_columns, read_columns
from recoder.data.id_map import IdMap
from recoder.data.interactions import Interactions
from recoder.data.splits.results import HeldOut
from recoder.errors import ConfigError, DataError, DataTypeError, EmptyDataError, UnknownIdError
from recoder.metrics.custom import UserLists
from recoder.metrics.judging import distinct_metrics, judging
from recoder.metrics.lists import without_repeats
from recoder.metrics.metric import CatalogueMetric, ListMetric, Metric, MetricAtK
from recoder.metrics.ranking import IntArray
from recoder.metrics.result import EvaluationResult

__all__ = ["evaluate_frame"]

_log = logging.getLogger("recoder.metrics")

_USERS_AT_ONCE = 4096  # what is made for each user, such as sums of embeddings, stays small


def evaluate_frame(
    recommendations: IntoFrame,
    test: IntoFrame | Interactions | HeldOut,
    metrics: Iterable[Metric | str],
    *,
    user: str = "user_id",
    item: str = "item_id",
    rank: str | None = None,
    score: str | None = None,
    item_ids: IdMap | None = None,
) -> EvaluationResult:
    """Returns each metric's value for each user in ``test``, of lists that any library has made.

    Users in ``test`` without recommendations count with an empty list, which finds nothing. Users with recommendations
    who are not in ``test`` are left out. A log message counts both. Lists may be shorter than a metric's ``k``; if all
    are, a warning says so. An item that a list holds twice counts once, where it first stands, and its repeat takes up
    a rank; a warning counts them.

    Args:
        recommendations: a row for each user and item recommended; any data frame that narwhals reads (pandas, polars,
            pyarrow, ...). A lazy one is collected.
        test: a row for each user and relevant item, in columns of the same names; or ``Interactions``; or held-out
            users, as from ``interactions.split``, whose targets are relevant. A pair that is repeated counts once;
            weights are not looked at.
        metrics: the metrics, or their names, such as ``"NDCG@100"``. Custom ones are called with numbers of items, from
            0.
        user: the column of user ids: whole numbers or strings.
        item: the column of item ids, likewise.
        rank: the column that orders a user's list, the lowest first.
        score: the column that orders a user's list, the highest first. Without ``rank`` and ``score``, and where they
            are equal, the order is that of the rows.
        item_ids: the raw ids of the whole catalogue, by index. Metrics of lists and of the catalogue need it: it
            says what their arrays are about, and how many items there are.

    Returns:
        The values, in the order of ``Interactions``' rows, or of the users' first appearance in ``test``; ``users``
        are these rows, and ``user_ids`` the raw ids.

    Raises:
        ConfigError: if a column does not exist, both ``rank`` and ``score`` are given, metrics need ``item_ids``, or
            there are no metrics.
        DataTypeError: if it is no data frame, or a column is of the wrong type or another than in ``test``.
        DataError: if a value is missing, or no user is in both frames.
        EmptyDataError: if there are no recommendations, or nothing is relevant to anybody.
        UnknownIdError: if an item is not among ``item_ids``.
        ShapeError: if a metric was made for a catalogue of another size.
    """
    listed = distinct_metrics(metrics)
    order_by = _order_column(rank, score)
    _check_catalogue(item_ids, listed)
    given = _Pairs.of_frame(recommendations, user, item, order_by)
    if isinstance(test, HeldOut):
        test = test.target
    relevant = _Pairs.of_interactions(test) if isinstance(test, Interactions) else _Pairs.of_frame(test, user, item)
    rows_U: IntArray = np.unique(relevant.users).astype(np.int64)
    if not len(rows_U):
        raise EmptyDataError("test holds no interactions; pass those that the lists should find")

    users_L, users_T = _rows_of_users(given, relevant, rows_U)
    items_L, items_T, num_items = _numbers_of_items(given, relevant, item_ids, users_L >= 0)
    order_L = _order_of_rows(users_L, given, highest_first=score is not None, name=order_by)
    ranked_UC = _ranked(users_L[order_L], items_L[order_L], len(rows_U), _ranks_that_count(listed))
    _log_lists(ranked_UC, listed)
    target = csr_from_pairs(users_T, items_T, np.ones(len(users_T), np.float32), (len(rows_U), num_items))
    lists = UserLists(ranked_UC, target.indptr.astype(np.int64), target.indices.astype(np.int64))
    with judging(listed, num_items) as judge:
        for part in lists.split(_USERS_AT_ONCE):
            judge.add(part)
        return judge.result(rows_U, IdMap(relevant.user_ids.take(pa.array(rows_U))))


@dataclass(frozen=True)
class _Pairs:
    """Pairs of a user and an item: their numbers, the raw ids by number, and what orders the pairs, if anything."""

    users: Numbers
    items: Numbers
    user_ids: pa.Array
    item_ids: pa.Array
    order: pa.ChunkedArray | None = None

    @staticmethod
    def of_frame(frame: IntoFrame, user: str, item: str, order_by: str | None = None) -> _Pairs:
        columns = read_columns(frame, [name for name in (user, item, order_by) if name is not None])
        (users, user_ids), (items, item_ids) = number_columns(columns, [user, item])
        return _Pairs(users, items, user_ids, item_ids, None if order_by is None else columns[order_by])

    @staticmethod
    def of_interactions(interactions: Interactions) -> _Pairs:
        pairs = interactions.matrix.tocoo()
        return _Pairs(pairs.row, pairs.col, interactions.user_ids.ids, interactions.item_ids.ids)


def _order_column(rank: str | None, score: str | None) -> str | None:
    if rank is not None and score is not None:
        raise ConfigError(f"rank is {rank!r} and score is {score!r}; pass the one that orders the lists")
    return rank if score is None else score


def _check_catalogue(item_ids: IdMap | None, metrics: Sequence[Metric]) -> None:
    if item_ids is not None and not isinstance(item_ids, IdMap):
        raise DataTypeError(
            f"item_ids is a {type(item_ids).__name__}; pass the item_ids of Interactions, or IdMap of a list"
        )
    for metric in metrics:
        if item_ids is None and isinstance(metric, ListMetric | CatalogueMetric):
            raise ConfigError(
                f"{metric} is about a catalogue, which the data frames do not tell; pass item_ids, its raw ids by index"
            )


def _rows_of_users(given: _Pairs, relevant: _Pairs, rows_U: IntArray) -> tuple[IntArray, IntArray]:
    """Returns who of the U users each row of recommendations and each relevant pair belongs to; -1 for nobody."""
    number_of = np.full(len(relevant.user_ids) + 1, -1)  # the last one is for those who are not in test
    number_of[rows_U] = np.arange(len(rows_U))
    users = number_of[_places(given.user_ids, relevant.user_ids, "user", "test")]
    num_known = np.count_nonzero(users >= 0)
    if not num_known:
        raise DataError(
            f"none of the {len(users)} users with recommendations is among the {len(rows_U)} in test "
            f"(such as {given.user_ids[0].as_py()!r} and {relevant.user_ids[int(rows_U[0])].as_py()!r}); "
            "pass lists for the users in test, under the same ids"
        )
    if num_known < len(users):
        _log.info("%d of %d users with recommendations are not in test; left out", len(users) - num_known, len(users))
    if num_known < len(rows_U):
        _log.info("%d of %d users in test have no recommendations", len(rows_U) - num_known, len(rows_U))
    return users[given.users], number_of[relevant.users]


def _numbers_of_items(
    given: _Pairs, relevant: _Pairs, item_ids: IdMap | None, counts_L: npt.NDArray[np.bool_]
) -> tuple[IntArray, IntArray, int]:
    """Returns the items of both, by one numbering, and how many there are in all; only rows that count are checked."""
    if item_ids is not None:
        items_L = _places_in_catalogue(given, "recommended", item_ids, counts_L)
        return items_L, _places_in_catalogue(relevant, "in test", item_ids, True), len(item_ids)
    known = _places(given.item_ids, relevant.item_ids, "item", "test")
    # what is relevant to nobody is no hit, but repeats of it are told from other items
    strange = np.flatnonzero(known < 0)
    known[strange] = len(relevant.item_ids) + np.arange(len(strange))
    return known[given.items], relevant.items.astype(np.int64), len(relevant.item_ids) + len(strange)


def _places_in_catalogue(pairs: _Pairs, where: str, item_ids: IdMap, counts: npt.NDArray[np.bool_] | bool) -> IntArray:
    places = _places(pairs.item_ids, item_ids.ids, "item", "item_ids")[pairs.items]
    unknown = np.unique(pairs.items[(places < 0) & counts])
    if len(unknown):
        raise UnknownIdError(
            f"{len(unknown)} items that are {where} (such as {pairs.item_ids[int(unknown[0])].as_py()!r}) are not "
            f"among the {len(item_ids)} of item_ids; leave them out or pass the ids of the whole catalogue"
        )
    return places


def _places(ids: pa.Array, known: pa.Array, what: str, where: str) -> IntArray:
    """Returns where each id stands among the known ones, -1 for the others."""
    if ids.type != known.type:
        raise DataTypeError(f"{what} ids are {ids.type}, but {known.type} in {where}; cast one to the other's type")
    places: IntArray = pc.fill_null(pc.index_in(ids, value_set=known), -1).to_numpy().astype(np.int64)
    return places


def _order_of_rows(users_L: IntArray, given: _Pairs, *, highest_first: bool, name: str | None) -> npt.NDArray[Any]:
    """Returns the rows by user, and for each user from the top of the list on."""
    columns: dict[str, Any] = {"user": pa.array(users_L)}
    keys = [("user", "ascending")]
    if given.order is not None:
        kind = given.order.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise DataTypeError(f"column {name!r} holds {kind}; lists are ordered by numbers: cast it")
        # Arrow does not sort by float16
        columns["order"] = given.order.cast(pa.float32()) if pa.types.is_float16(kind) else given.order
        keys.append(("order", "descending" if highest_first else "ascending"))
    # a stable sort, so that equal ones keep their order, and quicker than numpy's lexsort
    rows: npt.NDArray[Any] = pc.sort_indices(pa.table(columns), keys).to_numpy()
    return rows


def _ranked(users_L: IntArray, items_L: IntArray, num_users: int, max_ranks: int | None) -> IntArray:
    """Returns the lists, int64 ``[U, C]``, best first; shorter ones end in -1.

    Args:
        users_L: whose each row is, ascending; -1 for nobody's.
        items_L: their items, for each user from the top of the list on.
        num_users: U.
        max_ranks: where to cut the lists, if anywhere.
    """
    first = np.searchsorted(users_L, 0)  # the first row that is somebody's
    users, items = users_L[first:], items_L[first:]
    lengths_U = np.bincount(users, minlength=num_users)
    ranks = np.arange(len(users)) - (lengths_U.cumsum() - lengths_U)[users]
    width = int(lengths_U.max() if max_ranks is None else min(lengths_U.max(), max_ranks))
    ranked_UC = np.full((num_users, width), -1)
    counts = ranks < width
    ranked_UC[users[counts], ranks[counts]] = items[counts]
    return ranked_UC


def _ranks_that_count(metrics: Sequence[Metric]) -> int | None:
    """Returns how many recommendations the metrics look at; None if one does not say."""
    cutoffs = [metric.k for metric in metrics if isinstance(metric, MetricAtK)]
    return max(cutoffs) if len(cutoffs) == len(metrics) else None


def _log_lists(ranked_UC: IntArray, metrics: Sequence[Metric]) -> None:
    longest = ranked_UC.shape[1]
    beyond = [metric.metric_name for metric in metrics if isinstance(metric, MetricAtK) and metric.k > longest]
    if beyond:
        _log.warning("the longest list holds %d items; %s would look at more", longest, ", ".join(beyond))
    repeats = np.count_nonzero(ranked_UC >= 0) - np.count_nonzero(without_repeats(ranked_UC) >= 0)
    if repeats:
        _log.warning("%d recommendations repeat an item further up in the same list; they count as no hits", repeats)
