"""Metrics of recommended lists, and the evaluators that judge a recommender, or a data frame, by them."""

from recoder.metrics.catalogue_metrics import Coverage, Gini
from recoder.metrics.comparison import Comparison, PairedDifference
from recoder.metrics.evaluator import RecommenderEvaluator
from recoder.metrics.frames import evaluate_frame
from recoder.metrics.hit_metrics import (
    MRR,
    NDCG,
    AveragePrecision,
    HitRate,
    Precision,
    Recall,
    RPrecision,
    average_precision,
    dcg,
    ndcg,
    recall,
)
from recoder.metrics.list_metrics import AveragePopularity, IntraListDiversity, Novelty
from recoder.metrics.metric import CatalogueMetric, CutoffMetric, ListMetric, Metric
from recoder.metrics.result import EvaluationResult, compare

__all__ = [
    "MRR",
    "NDCG",
    "AveragePopularity",
    "AveragePrecision",
    "CatalogueMetric",
    "Comparison",
    "Coverage",
    "CutoffMetric",
    "EvaluationResult",
    "Gini",
    "HitRate",
    "IntraListDiversity",
    "ListMetric",
    "Metric",
    "Novelty",
    "PairedDifference",
    "Precision",
    "RPrecision",
    "Recall",
    "RecommenderEvaluator",
    "average_precision",
    "compare",
    "dcg",
    "evaluate_frame",
    "ndcg",
    "recall",
]
