"""From recommended lists, some users at a time, to the values of metrics.

Sizes: B users at a time, C ranks, M metrics, N items of the catalogue.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from recoder.data.id_map import IdMap
from recoder.errors import ConfigError, DataTypeError, ShapeError
from recoder.metrics.custom import Submit, UserLists, check_can_be_sent, custom_metric_runner
from recoder.metrics.hits import hits_of_rows
from recoder.metrics.lists import without_repeats
from recoder.metrics.metric import CatalogueMetric, CutoffMetric, ListMetric, Metric
from recoder.metrics.names import named_metric
from recoder.metrics.ranking import FloatArray, IntArray
from recoder.metrics.result import EvaluationResult

__all__ = ["Judge", "check_can_judge", "distinct_metrics", "judging", "workers_for"]

_log = logging.getLogger("recoder.metrics")


def distinct_metrics(metrics: Iterable[Metric | str]) -> list[Metric]:
    """Returns the metrics, or those of these names, each once.

    Raises:
        ConfigError: if there are none, there is none of a name, or different ones have the same name.
        DataTypeError: if they are not metrics.
    """
    if isinstance(metrics, Metric | str) or not isinstance(metrics, Iterable):
        raise DataTypeError(f"metrics is {metrics!r}; pass a list of metrics, such as [NDCG(k=100)]")
    by_name: dict[str, Metric] = {}
    for given in metrics:
        metric = named_metric(given) if isinstance(given, str) else given
        if not isinstance(metric, Metric):
            raise DataTypeError(
                f"metrics must be recoder.metrics.Metric objects, or names such as 'NDCG@100', not {metric!r}"
            )
        known = by_name.setdefault(metric.metric_name, metric)
        if known is not metric and known != metric:
            raise ConfigError(f"two different metrics are named {metric}; give each its own metric_name")
    if not by_name:
        raise ConfigError("metrics is empty; pass at least one, such as NDCG(k=100)")
    return list(by_name.values())


@contextlib.contextmanager
def judging(metrics: Sequence[Metric], num_items: int, num_workers: int = 0) -> Iterator[Judge]:
    """Yields a judge by these metrics; with ``num_workers``, processes evaluate the custom ones meanwhile.

    Raises:
        ShapeError: if a metric knows of a catalogue of another size.
        ConfigError: if a custom metric cannot be sent to a process.
    """
    check_can_judge(metrics, num_items)
    custom = [metric for metric in metrics if _is_custom(metric)]
    if num_workers:
        check_can_be_sent(custom)
    with custom_metric_runner(custom, num_workers) as submit:
        yield Judge(metrics, num_items, submit)


def check_can_judge(metrics: Sequence[Metric], num_items: int) -> None:
    """Checks what metrics know of the catalogue, before there is anything to judge.

    Raises:
        ShapeError: as ``judging``.
    """
    for metric in metrics:
        if isinstance(metric, ListMetric) and metric.num_items not in (None, num_items):
            raise ShapeError(
                f"{metric} was made for {metric.num_items} items, but {num_items} can be recommended; "
                "give it an entry for each item of the catalogue"
            )


def workers_for(metrics: Sequence[Metric], num_workers: int) -> int:
    """Returns how many processes can evaluate these metrics: none, which is logged, where one cannot be sent to them.

    For callers whose workers are there for something else too.
    """
    try:
        check_can_be_sent([metric for metric in metrics if _is_custom(metric)] if num_workers else [])
    except ConfigError as error:
        _log.info("metrics are evaluated in this process: %s", error)
        return 0
    return num_workers


class Judge:
    """Gathers metrics of lists that are added some users at a time; the result does not depend on how many.

    Args:
        metrics: different ones.
        num_items: N.
        submit: evaluates the custom metrics among them.
    """

    def __init__(self, metrics: Sequence[Metric], num_items: int, submit: Submit) -> None:
        self._metrics = metrics
        self._num_items = num_items
        self._submit = submit
        self._from_hits = [m for m in metrics if isinstance(m, CutoffMetric) and not _is_custom(m)]
        self._from_lists = [m for m in metrics if isinstance(m, ListMetric) and not _is_custom(m)]
        self._from_counts = [m for m in metrics if isinstance(m, CatalogueMetric)]
        self._counts: dict[int, IntArray] = {m.k: np.zeros(num_items, np.int64) for m in self._from_counts}
        self._pending: list[tuple[FloatArray, Callable[[], FloatArray]]] = []

    def add(self, lists: UserLists) -> None:
        """Judges the lists of more users."""
        submitted = self._submit(lists)
        known_MB = np.empty((len(self._from_hits) + len(self._from_lists), len(lists.ranked_BC)))
        for row_B, (metric, values_B) in zip(known_MB, self._known_values(lists), strict=True):
            if np.shape(values_B) != row_B.shape:
                raise ShapeError(
                    f"{metric} was asked for {len(row_B)} users and returned an array of shape {np.shape(values_B)}; "
                    "a value for each user is needed"
                )
            row_B[:] = values_B
        self._pending.append((known_MB, submitted))

    def result(self, users: IntArray, user_ids: IdMap | None = None) -> EvaluationResult:
        """Returns the values of all users so far; for the arguments see ``EvaluationResult``."""
        values_MU = np.concatenate([np.vstack([known_MB, wait()]) for known_MB, wait in self._pending], axis=1)
        custom = [metric for metric in self._metrics if _is_custom(metric)]
        by_metric = dict(zip([*self._from_hits, *self._from_lists, *custom], values_MU, strict=True))
        return EvaluationResult(
            {metric: by_metric[metric] for metric in self._metrics if metric in by_metric},
            users,
            catalogue={metric: metric.from_counts(self._counts[metric.k]) for metric in self._from_counts},
            user_ids=user_ids,
        )

    def _known_values(self, lists: UserLists) -> Iterator[tuple[Metric, FloatArray]]:
        """Yields the metrics of hits, then those of lists, each with its values."""
        yield from zip(self._from_hits, self._values_of_hits(lists), strict=True)
        yield from zip(self._from_lists, self._values_of_lists(lists), strict=True)

    def _values_of_hits(self, lists: UserLists) -> list[FloatArray]:
        if not self._from_hits:
            return []
        ranked_BC = lists.ranked_BC[:, : max(metric.k for metric in self._from_hits)]
        hits_BC = hits_of_rows(ranked_BC, lists.offsets, lists.cols, self._num_items)
        n_relevant_B = np.diff(lists.offsets)
        return [metric.from_hits(hits_BC, n_relevant_B) for metric in self._from_hits]

    def _values_of_lists(self, lists: UserLists) -> list[FloatArray]:
        """Returns the values of list metrics, and counts for those of the catalogue."""
        cutoffs = [metric.k for metric in [*self._from_lists, *self._from_counts]]
        if not cutoffs:
            return []
        ranked_BC = without_repeats(lists.ranked_BC[:, : max(cutoffs)])
        for k, counts_N in self._counts.items():
            counts_N += _counts(ranked_BC[:, :k], self._num_items)
        return [metric.from_lists(ranked_BC[:, : metric.k]) for metric in self._from_lists]


def _is_custom(metric: Metric) -> bool:
    """Returns whether a metric is known only by its ``evaluate``, which a subclass, say of Recall, may bring too."""
    if isinstance(metric, CatalogueMetric):
        return False
    return type(metric).evaluate not in (CutoffMetric.evaluate, ListMetric.evaluate)


def _counts(ranked_BC: IntArray, num_items: int) -> npt.NDArray[np.intp]:
    # one cell more in front, for ranks without an item
    return np.bincount(ranked_BC.ravel() + 1, minlength=num_items + 1)[1:]
