"""Metrics by the names that results have them under."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from recoder._checks import nearest
from recoder.errors import ConfigError
from recoder.metrics.catalogue_metrics import Coverage, Gini
from recoder.metrics.hit_metrics import MRR, NDCG, AveragePrecision, HitRate, Precision, Recall, RPrecision
from recoder.metrics.metric import Metric

__all__ = ["named_metric"]

_ALL: tuple[Callable[[int], Metric], ...] = (
    Recall,
    NDCG,
    Precision,
    HitRate,
    MRR,
    AveragePrecision,
    RPrecision,
    Coverage,
    Gini,
)
_MAKERS: Mapping[str, Callable[[int], Metric]] = {str(make(1)).partition("@")[0]: make for make in _ALL}


def named_metric(name: str) -> Metric:
    """Returns the metric of this name, such as ``NDCG@100``: one that needs nothing but a number of recommendations.

    Raises:
        ConfigError: if it is no such name.
    """
    kind, _, cutoff = name.partition("@")
    if kind not in _MAKERS:
        raise ConfigError(f"there is no metric {name!r}; {nearest(kind, list(_MAKERS))}, as in NDCG@100")
    if not cutoff.isdecimal() or int(cutoff) < 1:
        raise ConfigError(f"the metric {name!r} needs a number of recommendations, as in {kind}@100")
    return _MAKERS[kind](int(cutoff))
