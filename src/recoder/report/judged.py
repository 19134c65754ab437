"""Held-out users and what the model, and most-popular, recommend to them. Sizes: U users, K recommendations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from recoder.api.answering import Answering
from recoder.api.fitted import FittedModel
from recoder.api.judging import DEFAULT_METRICS
from recoder.data import HeldOut, Interactions, RecommendationDataset
from recoder.metrics import (
    MRR,
    AveragePopularity,
    Coverage,
    EvaluationResult,
    Gini,
    HitRate,
    Metric,
    Novelty,
    RecommenderEvaluator,
)
from recoder.metrics.comparison import mean_of_known, standard_error
from recoder.metrics.ranking import FloatArray, IntArray
from recoder.nn import Popularity
from recoder.recommender.base import Scorer
from recoder.recommender.inference import InferenceRecommender
from recoder.report.popularity import most_popular

__all__ = ["ACCURACY", "LIST_LENGTH", "MAIN_METRIC", "Interval", "Judged"]

LIST_LENGTH = 20
"""Of the lists that are looked at beyond accuracy."""

ACCURACY: tuple[Metric, ...] = (*DEFAULT_METRICS, HitRate(10), MRR(10))
MAIN_METRIC = DEFAULT_METRICS[-1].metric_name

_RANKED = 100
_USERS_PER_BLOCK = 4096


@dataclass(frozen=True)
class Interval:
    """A mean over users and its 95 % confidence interval, by Student's t; NaN where there are too few users."""

    mean: float
    low: float
    high: float

    @staticmethod
    def of(values_U: FloatArray) -> Interval:
        """Returns that of values ``[U]``; users whose value is NaN do not count."""
        num_known = int(np.count_nonzero(~np.isnan(values_U)))
        return Interval.around(mean_of_known(values_U), standard_error(values_U), num_known)

    @staticmethod
    def around(mean: float, stderr: float, num_users: int) -> Interval:
        """Returns that of a mean over so many users with this standard error."""
        margin = float(special.stdtrit(max(1, num_users - 1), 0.975)) * stderr
        return Interval(mean, mean - margin, mean + margin)

    @property
    def text(self) -> str:
        """The interval, ``0.2347 to 0.3407``; nothing where it is not known."""
        return "" if math.isnan(self.low) or self.low == self.high else f"{self.low:.4f} to {self.high:.4f}"


@dataclass(frozen=True, eq=False)
class Judged:
    """Held-out users, judged.

    Attributes:
        held_out: who they are, over the model's items.
        result: of the model.
        popular: of most-popular, over the same users; None where the model is that itself, or popularity is not known.
        answering: what ranks items for users of ``held_out``, by their rows there.
        ranked_UK: what the model recommends to the users of the result, as the evaluator takes it.
        popular_UK: what most-popular does.
    """

    held_out: HeldOut
    result: EvaluationResult
    popular: EvaluationResult | None
    answering: Answering
    ranked_UK: IntArray
    popular_UK: IntArray | None

    @staticmethod
    def of(model: FittedModel, test: HeldOut | Interactions) -> Judged:
        """Returns a model judged by users.

        Raises:
            DataTypeError, EmptyDataError, NotInitializedError, UnknownIdError: as ``FittedModel.evaluate``.
        """
        held_out, answering = model.judging(test, unknown=None)
        metrics: list[Metric] = [*ACCURACY, Coverage(LIST_LENGTH), Gini(LIST_LENGTH)]
        if model.item_counts.any():
            metrics += [Novelty(LIST_LENGTH, model.item_counts), AveragePopularity(LIST_LENGTH, model.item_counts)]
        result = _evaluated(answering, metrics, held_out.dataset)
        ranked = _ranked(answering, held_out.dataset, result.users)
        if isinstance(model.recoder.model, Popularity) or not model.item_counts.any():
            return Judged(held_out, result, None, answering, ranked, None)
        baseline = most_popular(model.item_counts)
        popular = _evaluated(baseline, metrics, held_out.dataset)
        popular_UK = _ranked(baseline, held_out.dataset, result.users)
        return Judged(held_out, result, popular, answering, ranked, popular_UK)


def _evaluated(scorer: Scorer, metrics: list[Metric], dataset: RecommendationDataset) -> EvaluationResult:
    return RecommenderEvaluator(InferenceRecommender(scorer, _RANKED), metrics).evaluate(dataset)


def _ranked(scorer: Scorer, dataset: RecommendationDataset, users: IntArray) -> IntArray:
    blocks = range(0, len(users), _USERS_PER_BLOCK)
    return np.concatenate(
        [scorer.ranked(dataset[users[start : start + _USERS_PER_BLOCK]][0], LIST_LENGTH) for start in blocks]
    )
