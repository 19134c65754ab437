"""A value for each metric, found by the metric or by its name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from recoder.errors import UnknownIdError
from recoder.metrics.metric import Metric

__all__ = ["PerMetric", "aligned_table", "margin_text"]

V = TypeVar("V")


class PerMetric(Mapping[Metric, V], Generic[V]):
    """A read-only mapping from metrics to values; ``v["NDCG@100"]`` does as well as ``v[NDCG(100)]``.

    Raises:
        UnknownIdError: a ``KeyError``, if there is no such metric.
    """

    def __init__(self, values: Mapping[Metric, V]) -> None:
        self._values = dict(values)
        self._by_name = {metric.metric_name: value for metric, value in self._values.items()}

    def __getitem__(self, metric: Metric | str) -> V:
        try:
            return self._by_name[metric] if isinstance(metric, str) else self._values[metric]
        except KeyError:
            names = ", ".join(self._by_name)
            raise UnknownIdError(f"there is no metric {metric} here; there are: {names}") from None

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._values})"


def aligned_table(rows: Sequence[Sequence[str]]) -> str:
    """Returns the rows, the head first, as aligned lines: first column to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def margin_text(stderr: float) -> str:
    """Returns ``± 0.1234``; nothing for NaN."""
    return "" if math.isnan(stderr) else f"± {stderr:.4f}"
