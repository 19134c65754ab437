"""Judging a recommender: from a data set with targets to a value for each metric and user."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeGuard

import numpy as np
from tqdm.auto import tqdm

from recoder._checks import whole_number
from recoder.data.datasets import RecommendationDataset
from recoder.errors import ConfigError, DataTypeError, EmptyDataError, ShapeError, UnknownIdError
from recoder.metrics.custom import UserLists, custom_metric_runner
from recoder.metrics.hits import hits_of_rows
from recoder.metrics.metric import CutoffMetric, Metric
from recoder.metrics.ranking import FloatArray, IntArray
from recoder.metrics.result import EvaluationResult
from recoder.recommender.base import Recommender

__all__ = ["RecommenderEvaluator"]


class RecommenderEvaluator:
    """Evaluates a recommender on the users of a data set.

    Args:
        recommender: what to judge.
        metrics: the metrics to judge it by; one that is repeated counts once.

    Raises:
        ConfigError: if there are no metrics, or different ones have the same name.
        DataTypeError: if the recommender or a metric is of another kind.
    """

    def __init__(self, recommender: Recommender, metrics: Iterable[Metric]) -> None:
        if not isinstance(recommender, Recommender):
            raise DataTypeError(
                f"recommender must be a recoder.recommender.Recommender, not {type(recommender).__name__}; "
                "wrap a model in InferenceRecommender"
            )
        self.recommender = recommender
        self.metrics = _distinct(metrics)

    def evaluate(
        self,
        eval_dataset: RecommendationDataset,
        batch_size: int = 1,
        num_users: int | None = None,
        num_workers: int = 0,
        *,
        progress: bool = False,
    ) -> EvaluationResult:
        """Returns each metric's value for each user who has a target, in the order of the data set.

        Args:
            eval_dataset: the users' histories, which the recommender sees, and targets, which it should find.
            batch_size: users handed to the recommender at a time; more, if it says by its
                ``preferred_batch_size`` that it serves more at once. The values do not depend on it.
            num_users: stop after the first this many users *who have a target*; all of them if there are
                fewer, or by default.
            num_workers: processes that evaluate custom metrics, those that have only ``Metric.evaluate``,
                while the recommender goes on; 0: none. The built-in metrics are computed for many users at
                once and need none.
            progress: show a progress bar.

        Raises:
            ConfigError: if the data set has no target, a metric's ``k`` is beyond the recommender's number of
                recommendations, another argument is out of range, or a custom metric cannot be sent to a
                process.
            EmptyDataError: if no user has a target.
            ShapeError: if the recommender does not return a list for each user.
            UnknownIdError: if it returns an item outside the data set's.
        """
        self._check_cutoffs()
        batch_size = whole_number("batch_size", batch_size, 1)
        num_workers = whole_number("num_workers", num_workers, 0)
        users = _users_with_target(eval_dataset, num_users)
        step = max(batch_size, self.recommender.preferred_batch_size)
        from_hits = [metric for metric in self.metrics if _follows_from_hits(metric)]
        custom = [metric for metric in self.metrics if not _follows_from_hits(metric)]

        pending = []
        with (
            custom_metric_runner(custom, num_workers) as submit,
            tqdm(total=len(users), desc="evaluate", unit="user", disable=not progress) as bar,
        ):
            for start in range(0, len(users), step):
                lists = self._lists(eval_dataset, users[start : start + step])
                pending.append((_hit_values(from_hits, lists, eval_dataset.num_items), submit(lists)))
                bar.update(len(lists.ranked_BC))
            values = np.concatenate([np.vstack([known, wait()]) for known, wait in pending], axis=1)
        by_metric = dict(zip([*from_hits, *custom], values, strict=True))
        return EvaluationResult({metric: by_metric[metric] for metric in self.metrics}, users)

    def _check_cutoffs(self) -> None:
        limit = self.recommender.num_recommendations
        for metric in self.metrics:
            if limit is not None and isinstance(metric, CutoffMetric) and metric.k > limit:
                raise ConfigError(
                    f"{metric} looks at {metric.k} recommendations, but num_recommendations is {limit}; "
                    f"ask for at least {metric.k}, or lower k"
                )

    def _lists(self, dataset: RecommendationDataset, users: IntArray) -> UserLists:
        history, target = dataset[users]
        assert target is not None  # checked with the users
        ranked_BC = np.asarray(self.recommender.ranked(history))
        if ranked_BC.ndim != 2 or len(ranked_BC) != len(users):
            raise ShapeError(
                f"{type(self.recommender).__name__} was asked for {len(users)} users and returned an array "
                f"of shape {ranked_BC.shape}; a row for each user is needed"
            )
        if ranked_BC.size and ranked_BC.max() >= dataset.num_items:
            raise UnknownIdError(
                f"{type(self.recommender).__name__} recommends item {ranked_BC.max()}, outside the data "
                f"set's {dataset.num_items} items; build the data set over the recommender's catalogue"
            )
        matrix = target.interactions_matrix
        return UserLists(ranked_BC.astype(np.int64), matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64))


def _distinct(metrics: Iterable[Metric]) -> list[Metric]:
    if isinstance(metrics, Metric) or not isinstance(metrics, Iterable):
        raise DataTypeError(f"metrics is {metrics!r}; pass a list of metrics, such as [NDCG(k=100)]")
    by_name: dict[str, Metric] = {}
    for metric in metrics:
        if not isinstance(metric, Metric):
            raise DataTypeError(f"metrics must be recoder.metrics.Metric objects, not {metric!r}")
        known = by_name.setdefault(metric.metric_name, metric)
        if known is not metric and known != metric:
            raise ConfigError(f"two different metrics are named {metric}; give each its own metric_name")
    if not by_name:
        raise ConfigError("metrics is empty; pass at least one, such as NDCG(k=100)")
    return list(by_name.values())


def _follows_from_hits(metric: Metric) -> TypeGuard[CutoffMetric]:
    # a subclass that brings an evaluate of its own, say of Recall, is judged by that one
    return isinstance(metric, CutoffMetric) and type(metric).evaluate is CutoffMetric.evaluate


def _hit_values(metrics: Sequence[CutoffMetric], lists: UserLists, num_items: int) -> FloatArray:
    """Returns the values of built-in metrics: float64 ``[M, B]``."""
    if not metrics:
        return np.empty((0, len(lists.ranked_BC)))
    ranked_BK = lists.ranked_BC[:, : max(metric.k for metric in metrics)]
    hits_BK = hits_of_rows(ranked_BK, lists.offsets, lists.cols, num_items)
    n_relevant_B = np.diff(lists.offsets)
    return np.stack([metric.from_hits(hits_BK, n_relevant_B) for metric in metrics])


def _users_with_target(dataset: RecommendationDataset, num_users: int | None) -> IntArray:
    if not isinstance(dataset, RecommendationDataset):
        raise DataTypeError(f"eval_dataset must be a recoder.data.RecommendationDataset, not {type(dataset).__name__}")
    if num_users is not None:
        num_users = whole_number("num_users", num_users, 1)
    target = dataset.target_interactions_matrix
    if target is None:
        raise ConfigError(
            "the data set has no target to judge against; build it with target_interactions_matrix, "
            "the interactions that the recommender should find"
        )
    users = np.flatnonzero(np.diff(target.indptr)).astype(np.int64)
    if users.size == 0:
        raise EmptyDataError(
            f"none of the data set's {len(dataset)} users has a target; "
            "pass a target_interactions_matrix that holds interactions"
        )
    return users[:num_users]
