"""Judging a recommender: from a data set with targets to a value for each metric and user."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from recoder._checks import whole_number
from recoder._progress import passing_bar
from recoder.data.datasets import RecommendationDataset
from recoder.errors import ConfigError, DataTypeError, EmptyDataError, ShapeError, UnknownIdError
from recoder.metrics.custom import UserLists
from recoder.metrics.judging import distinct_metrics, judging
from recoder.metrics.metric import Metric, list_length
from recoder.metrics.ranking import IntArray
from recoder.metrics.result import EvaluationResult
from recoder.recommender.base import Recommender, ranked_by

__all__ = ["RecommenderEvaluator"]


class RecommenderEvaluator:
    """Evaluates a recommender on the users of a data set.

    Args:
        recommender: what to judge.
        metrics: the metrics to judge it by, or their names, such as ``"NDCG@100"``; one that is repeated counts once.

    Raises:
        ConfigError: if there are no metrics, or different ones have the same name.
        DataTypeError: if the recommender or a metric is of another kind.
    """

    def __init__(self, recommender: Recommender, metrics: Iterable[Metric | str]) -> None:
        if not isinstance(recommender, Recommender):
            raise DataTypeError(
                f"recommender must be a recoder.recommender.Recommender, not {type(recommender).__name__}; "
                "wrap a model in InferenceRecommender"
            )
        self.recommender = recommender
        self.metrics = distinct_metrics(metrics)

    def evaluate(
        self,
        eval_dataset: RecommendationDataset,
        batch_size: int = 1,
        num_users: int | None = None,
        num_workers: int = 0,
        *,
        progress: bool | None = False,
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
            progress: show a progress bar. None: on a terminal or in a notebook, if it takes longer than a second.

        Raises:
            ConfigError: if the data set has no target, a metric's ``k`` is beyond the recommender's number of
                recommendations, another argument is out of range, or a custom metric cannot be sent to a
                process.
            EmptyDataError: if no user has a target.
            ShapeError: if the recommender does not return a list for each user, or a metric was made for a
                catalogue of another size.
            UnknownIdError: if it returns an item outside the data set's.
        """
        limit = self.recommender.num_recommendations
        if limit is not None:
            list_length(self.metrics, limit, "num_recommendations")
        batch_size = whole_number("batch_size", batch_size, 1)
        num_workers = whole_number("num_workers", num_workers, 0)
        users = _users_with_target(eval_dataset, num_users)
        step = max(batch_size, self.recommender.preferred_batch_size)
        with (
            judging(self.metrics, eval_dataset.num_items, num_workers) as judge,
            _bar(len(users), progress) as bar,
        ):
            for start in range(0, len(users), step):
                lists = self._lists(eval_dataset, users[start : start + step])
                judge.add(lists)
                bar.update(len(lists.ranked_BC))
            return judge.result(users)

    def _lists(self, dataset: RecommendationDataset, users: IntArray) -> UserLists:
        history, target = dataset[users]
        assert target is not None  # checked with the users
        ranked_BC = np.asarray(ranked_by(self.recommender, history))
        if ranked_BC.ndim != 2 or len(ranked_BC) != len(users):
            raise ShapeError(
                f"{type(self.recommender).__name__} was asked for {len(users)} users and returned an array "
                f"of shape {ranked_BC.shape}; a row for each user is needed"
            )
        if ranked_BC.size and ranked_BC.dtype.kind not in "iu":
            raise DataTypeError(
                f"{type(self.recommender).__name__} returned an array of {ranked_BC.dtype}; items are whole numbers, "
                "and -1 where a list has ended"
            )
        if ranked_BC.size and ranked_BC.max() >= dataset.num_items:
            raise UnknownIdError(
                f"{type(self.recommender).__name__} recommends item {ranked_BC.max()}, outside the data "
                f"set's {dataset.num_items} items; build the data set over the recommender's catalogue"
            )
        matrix = target.interactions_matrix
        return UserLists(ranked_BC.astype(np.int64), matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64))


def _bar(num_users: int, progress: bool | None) -> Any:
    if progress is None:
        return passing_bar("evaluate", total=num_users, unit="user")
    return tqdm(total=num_users, desc="evaluate", unit="user", disable=not progress)


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
