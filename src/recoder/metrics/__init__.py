"""Ranking metrics, and the evaluator that judges a recommender by them."""

from recoder.metrics.comparison import Comparison, PairedDifference
from recoder.metrics.evaluator import RecommenderEvaluator
from recoder.metrics.metric import (
    NDCG,
    AveragePrecision,
    CutoffMetric,
    Metric,
    Recall,
    average_precision,
    dcg,
    ndcg,
    recall,
)
from recoder.metrics.result import EvaluationResult

__all__ = [
    "NDCG",
    "AveragePrecision",
    "Comparison",
    "CutoffMetric",
    "EvaluationResult",
    "Metric",
    "PairedDifference",
    "Recall",
    "RecommenderEvaluator",
    "average_precision",
    "dcg",
    "ndcg",
    "recall",
]
