"""What an evaluation found: a value for each metric and user."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from recoder._html import html_table
from recoder.data.id_map import IdMap
from recoder.data.native_frames import checked_library, make_frame
from recoder.errors import ConfigError, DataError, DataTypeError, EmptyDataError, ShapeError, UnknownIdError
from recoder.metrics.comparison import Comparison, PairedDifference, mean_of_known, standard_error
from recoder.metrics.metric import CatalogueMetric, Metric
from recoder.metrics.per_metric import PerMetric, aligned_table, margin_text
from recoder.metrics.ranking import FloatArray, IntArray

__all__ = ["EvaluationResult", "compare"]

_HEAD = ["metric", "mean", "± stderr", "users"]


class EvaluationResult(PerMetric[FloatArray]):
    """A mapping from each metric to its values, one for each user who was judged; printed, it is a small table.

    ``result[NDCG(100)]`` and ``result["NDCG@100"]`` are the same float64 ``[U]``; so it is with ``mean`` and
    ``stderr``. A value is NaN where the user does not count, as in the diversity of a list of one item; means and
    standard errors are over the users who do. Metrics of all lists together, such as ``Coverage``, have no values
    of users: they stand in ``mean`` only.

    Args:
        values: each metric's values, ``[U]``.
        users: int64 ``[U]``: the row in the data set of each user.
        catalogue: the numbers of metrics of all lists together.
        user_ids: the users' raw ids ``[U]``, in the order of the values.

    Attributes:
        users: as passed.
        user_ids: as passed; None where users are known by their rows only.

    Raises:
        EmptyDataError: if there are no users.
        ShapeError: if a metric does not have one value for each user, or there are not as many raw ids.
    """

    users: IntArray
    user_ids: IdMap | None

    def __init__(
        self,
        values: Mapping[Metric, npt.ArrayLike],
        users: npt.ArrayLike,
        *,
        catalogue: Mapping[CatalogueMetric, float] | None = None,
        user_ids: IdMap | None = None,
    ) -> None:
        super().__init__({metric: np.asarray(array, dtype=np.float64) for metric, array in values.items()})
        self.users = np.asarray(users, dtype=np.int64)
        self.user_ids = user_ids
        self._catalogue: dict[Metric, float] = {metric: float(value) for metric, value in (catalogue or {}).items()}
        if self.users.size == 0:
            raise EmptyDataError("a result needs at least one user")
        for metric, array in self.items():
            if array.shape != self.users.shape:
                raise ShapeError(f"{metric} has values of shape {array.shape} for users of shape {self.users.shape}")
        if user_ids is not None and len(user_ids) != len(self.users):
            raise ShapeError(f"there are {len(user_ids)} user_ids for {len(self.users)} users; pass one for each")

    @property
    def mean(self) -> PerMetric[float]:
        """Each metric's mean over the users who count, and the number of a metric of all lists together."""
        means: dict[Metric, float] = {metric: mean_of_known(values_U) for metric, values_U in self.items()}
        return PerMetric(means | self._catalogue)

    @property
    def stderr(self) -> PerMetric[float]:
        """Each mean's standard error, ``sd / sqrt(U)`` with the sample's sd over the U users who count.

        NaN for fewer than two users, and for a metric of all lists together, which is no mean over users.
        """
        errors: dict[Metric, float] = {metric: standard_error(values_U) for metric, values_U in self.items()}
        return PerMetric(errors | dict.fromkeys(self._catalogue, math.nan))

    def with_user_ids(self, user_ids: IdMap) -> EvaluationResult:
        """Returns the same result with the users' raw ids, ``[U]``, in the order of the values.

        Raises:
            ShapeError: if they are not as many as users.
        """
        catalogue = {metric: mean for metric, mean in self._catalogue.items() if isinstance(metric, CatalogueMetric)}
        return EvaluationResult(self, self.users, catalogue=catalogue, user_ids=user_ids)

    def to_frame(self, library: str = "pandas") -> Any:
        """Returns a data frame with a row for each user: ``user_id`` and a column for each metric.

        Where the users' raw ids are not known, ``user_id`` is their row in the data set.

        Args:
            library: whose data frames; where it is not installed, it is a pyarrow table.

        Raises:
            ConfigError: if there is no such library.
        """
        ids = self.users if self.user_ids is None else self.user_ids.ids
        values = {metric.metric_name: values_U for metric, values_U in self.items()}
        return make_frame({"user_id": ids, **values}, checked_library(library))

    def compare(self, other: EvaluationResult) -> Comparison:
        """Returns how much higher this result is in each metric that both have; see ``recoder.metrics.compare``.

        Raises:
            DataError: if the results are not of the same users in the same order.
            ConfigError: if they have no metric in common.
        """
        return compare(self, other)

    def __getitem__(self, metric: Metric | str) -> FloatArray:
        try:
            return super().__getitem__(metric)
        except UnknownIdError:
            if metric in self.mean:
                raise UnknownIdError(
                    f"{metric} is a number of all lists together and has no value for each user; "
                    "it stands in result.mean"
                ) from None
            raise

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, EvaluationResult)
            and list(self.mean) == list(other.mean)
            and np.array_equal(self.users, other.users)
            and self.user_ids == other.user_ids
            and np.array_equal(list(self.mean.values()), list(other.mean.values()), equal_nan=True)
            and all(np.array_equal(self[metric], other[metric], equal_nan=True) for metric in self)
        )

    def __str__(self) -> str:
        return aligned_table([_HEAD, *self._rows()])

    def _repr_html_(self) -> str:
        return html_table(_HEAD, self._rows())

    def _rows(self) -> list[list[str]]:
        stderr, whole = self.stderr, len(self.users)
        return [
            [
                metric.metric_name,
                f"{mean:.4f}",
                margin_text(stderr[metric]),
                str(np.count_nonzero(~np.isnan(self[metric])) if metric in self else whole),
            ]
            for metric, mean in self.mean.items()
        ]

    def __repr__(self) -> str:
        return f"EvaluationResult({len(self.users)} users, {', '.join(m.metric_name for m in self.mean)})"


def compare(first: EvaluationResult, second: EvaluationResult) -> Comparison:
    """Returns how much higher the first result is in each metric that both have: a paired t-test over users.

    Both must come from the same data; that the users are the same is checked, what stands in their rows is not. Of a
    metric of all lists together, such as ``Coverage``, there is only the difference.

    Raises:
        DataTypeError: if they are not results.
        DataError: if they are not of the same users in the same order, or only one has the users' raw ids.
        ConfigError: if they have no metric in common.
    """
    for result in (first, second):
        if not isinstance(result, EvaluationResult):
            raise DataTypeError(f"compare takes two EvaluationResults, not {type(result).__name__}")
    _check_same_users(first, second)
    shared = [metric for metric in first.mean if metric in second.mean]
    if not shared:
        raise ConfigError(f"the results share no metric: {list(first.mean)} against {list(second.mean)}")
    return Comparison({metric: _difference(metric, first, second) for metric in shared})


def _difference(metric: Metric, first: EvaluationResult, second: EvaluationResult) -> PairedDifference:
    if metric in first:
        return PairedDifference.of(first[metric], second[metric])
    return PairedDifference(first.mean[metric] - second.mean[metric], math.nan, math.nan, math.nan, math.nan)


def _check_same_users(first: EvaluationResult, second: EvaluationResult) -> None:
    if (first.user_ids is None) != (second.user_ids is None):
        raise DataError(
            "one result knows its users by their raw ids, the other by rows, which cannot be matched; give both ids, "
            "as in EvaluationResult(result, result.users, user_ids=split.test.user_ids)"
        )
    if first.user_ids is not None and second.user_ids is not None:
        one, other = first.user_ids.ids.to_pylist(), second.user_ids.ids.to_pylist()
    else:
        one, other = first.users.tolist(), second.users.tolist()
    if one == other:
        return
    differing = len(set(one) ^ set(other))
    how = f"{differing} users are in only one of them" if differing else "the users stand in another order"
    raise DataError(
        f"a paired comparison needs results of the same users, but {how}; "
        "evaluate both on the same data, in the same order, with the same num_users"
    )
