"""Metrics by the names that results have them under."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from recoder.cli.conversion import nearest
from recoder.errors import ConfigError
from recoder.metrics import MRR, NDCG, AveragePrecision, HitRate, Metric, Precision, Recall, RPrecision

__all__ = ["named_metrics"]

_ALL: tuple[Callable[[int], Metric], ...] = (Recall, NDCG, Precision, HitRate, MRR, AveragePrecision, RPrecision)
_MAKERS: Mapping[str, Callable[[int], Metric]] = {str(make(1)).partition("@")[0]: make for make in _ALL}


def named_metrics(names: Iterable[str]) -> list[Metric]:
    """Returns the metrics of these names, such as ``NDCG@100``.

    Raises:
        ConfigError: if one is no such name.
    """
    metrics = []
    for name in names:
        kind, _, cutoff = name.partition("@")
        if kind not in _MAKERS:
            raise ConfigError(f"there is no metric {name!r}; {nearest(kind, list(_MAKERS))}, as in NDCG@100")
        if not cutoff.isdecimal() or int(cutoff) < 1:
            raise ConfigError(f"the metric {name!r} needs a number of recommendations, as in {kind}@100")
        metrics.append(_MAKERS[kind](int(cutoff)))
    return metrics
